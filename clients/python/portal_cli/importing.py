"""`portal import`: takes over what another portal has."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from portal_cli import options, source
from portal_cli.documents import ClientTypeDocument, ProviderDocument
from portal_cli.errors import CommandError, Exit
from portal_cli.output import printable
from portal_cli.plan import CHANGE, CREATE, Planner, Step
from portal_cli.source import BadRow, Row, Source
from portal_client import (
    PermissionDenied,
    Portal,
    PortalError,
    Provider,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)


def import_(
    context: typer.Context,
    from_: Annotated[str, typer.Option("--from", help="The portal's address: https://old-portal.")],
    key: Annotated[
        str,
        typer.Option(
            envvar="PORTAL_IMPORT_KEY", show_envvar=True, help="A key of that portal; it may read."
        ),
    ],
    timeout: Annotated[
        float, typer.Option(help="Seconds to wait for each of its answers.", min=0.001)
    ] = 30.0,
    per_page: Annotated[int, typer.Option(help="Rows to ask it for at a time.", min=1)] = 100,
) -> None:
    """Read an existing portal over its REST API and have the same here.

    Provider by provider, by name as `apply` does: what is there is brought up to date, nothing is
    doubled, nothing deleted. It can be stopped and started again at any time. Rows that cannot be
    taken over are listed, and make the exit code 3.
    """
    console = Console(stderr=True, markup=False, highlight=False, emoji=False)
    told = _teller(console)
    with (
        options.of(context).portal() as portal,
        closing(Source(from_, key, timeout, per_page, told=told)) as old,
        _progress(console) as progress,
    ):
        taking = _Import(portal, old, told)
        bar = progress.add_task("providers", total=None)
        there = _by_name(portal)
        rows = old.providers()
        progress.update(bar, total=len(rows))
        for row in rows:
            taking.take(row, there)
            progress.advance(bar)
    console.print(taking.summary)
    if taking.refused:
        raise typer.Exit(Exit.INCOMPLETE)


@contextmanager
def _progress(console: Console) -> Iterator[Progress]:
    columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=console) as progress:
        yield progress


def _teller(console: Console) -> Callable[[str], None]:
    return lambda text: console.print(printable(text), soft_wrap=True)


def _by_name(portal: Portal) -> dict[str, list[Provider]]:
    found: dict[str, list[Provider]] = {}
    for provider in portal.list_providers():
        found.setdefault(provider.name, []).append(provider)
    return found


class _Import:
    """Takes over one provider after the other, and counts."""

    def __init__(self, portal: Portal, old: Source, told: Callable[[str], None]) -> None:
        self._portal = portal
        self._old = old
        self._told = told
        self._planner = Planner(portal)
        self._done = {CREATE: 0, CHANGE: 0}
        self._same = 0
        self.refused = 0

    @property
    def summary(self) -> str:
        """What became of the rows, in one line."""
        return (
            f"{self._done[CREATE]} created, {self._done[CHANGE]} changed, {self._same} as they were"
            f", {self.refused} not taken over. Registration access tokens cannot be read from a "
            "portal: give them by `portal providers update`."
        )

    def take(self, row: Row, there: dict[str, list[Provider]]) -> None:
        """Take a provider over, with its client types."""
        try:
            document = source.provider(row)
            client_types = self._old.client_types(row)
        except BadRow as error:
            self._refuse(str(error))
            return
        document.client_types = list(self._client_types(client_types, row))
        same_name = there.get(document.name)
        self._run(document, same_name.pop(0) if same_name else None)

    def _client_types(self, rows: list[Row], provider: Row) -> Iterator[ClientTypeDocument]:
        for row in rows:
            try:
                yield source.client_type(row, provider)
            except BadRow as error:
                self._refuse(str(error))

    def _run(self, document: ProviderDocument, found: Provider | None) -> None:
        steps = self._planner.of_provider(document, found)
        self._same += 1 + len(document.client_types) - len(steps)
        for number, step in enumerate(steps):
            try:
                step.run(self._portal)
            except (Unavailable, ResourceExhausted, Unauthenticated, PermissionDenied) as error:
                # The next step would fare no better.
                raise CommandError(f"{step.what}: {error}; start again to go on") from None
            except PortalError as error:
                self._refuse(f"{_of(step, document)}: {error}")
                if found is None and not step.provider:
                    # Without the provider its client types have no place.
                    for left in steps[number + 1 :]:
                        self._refuse(f"{_of(left, document)}: its provider was not taken over")
                    return
            else:
                self._done[step.sign] += 1

    def _refuse(self, text: str) -> None:
        self.refused += 1
        self._told(f"not taken over: {text}")


def _of(step: Step, document: ProviderDocument) -> str:
    return f"{step.what} of provider {document.name!r}" if step.provider else step.what

"""`portal import`: copies the providers and client types of another portal."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from portal_cli import options, source
from portal_cli.documents import ProviderDocument
from portal_cli.errors import CommandError, Exit
from portal_cli.output import printable
from portal_cli.plan import CHANGE, CREATE, Planner, Step, match
from portal_cli.source import CID, BadRow, Resource, Row, Source
from portal_client import (
    ClientType,
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
    from_: Annotated[
        str, typer.Option("--from", help="URL of the other portal, such as https://old-portal.")
    ],
    key: Annotated[
        str,
        typer.Option(
            envvar="PORTAL_IMPORT_KEY",
            show_envvar=True,
            help="API key of the other portal; needs read access only.",
        ),
    ],
    timeout: Annotated[
        float, typer.Option(help="Seconds to wait for each response.", min=0.001)
    ] = 30.0,
    per_page: Annotated[int, typer.Option(help="Rows in a page.", min=1)] = 100,
) -> None:
    """Copy providers and client types from another portal over its REST API.

    Creates and updates resources, found by uid (CID there) or by name as in `apply`; never deletes
    any. It is idempotent: an interrupted import can be run again. Rows that cannot be imported are
    listed, and the exit code is then 3.
    """
    console = Console(stderr=True, markup=False, highlight=False, emoji=False)
    notify = _notifier(console)
    with (
        options.of(context).portal() as portal,
        closing(Source(from_, key, timeout, per_page, notify)) as old,
        _progress(console) as progress,
    ):
        run = _Import(portal, old, notify)
        bar = progress.add_task("providers", total=None)
        rows = run.readable(old.providers())
        existing, _ = match([provider for _, provider in rows], portal.list_providers())
        progress.update(bar, total=len(rows))
        for (row, provider), found in zip(rows, existing, strict=True):
            run.provider(row, provider, found)
            progress.advance(bar)
    notify(run.summary)
    if run.rejected:
        raise typer.Exit(Exit.INCOMPLETE)


@contextmanager
def _progress(console: Console) -> Iterator[Progress]:
    columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=console) as progress:
        yield progress


def _notifier(console: Console) -> Callable[[str], None]:
    return lambda text: console.print(printable(text), soft_wrap=True)


class _Import:
    """Imports one provider after the other, and counts.

    Attributes:
        rejected: how many rows could not be imported.
    """

    def __init__(self, portal: Portal, old: Source, notify: Callable[[str], None]) -> None:
        self._portal = portal
        self._old = old
        self._notify = notify
        self._planner = Planner(portal)
        self._done = {CREATE: 0, CHANGE: 0}
        self._unchanged = 0
        self._lost_cids = 0
        self.rejected = 0

    @property
    def summary(self) -> str:
        """The counts, in one line."""
        cids = (
            f" {self._lost_cids} CIDs are not UUIDs and were not kept." if self._lost_cids else ""
        )
        return (
            f"{self._done[CREATE]} created, {self._done[CHANGE]} changed, {self._unchanged} "
            f"unchanged, {self.rejected} not imported.{cids} Registration access tokens cannot be "
            "imported: set them with `portal providers update`."
        )

    def readable(self, rows: list[Row]) -> list[tuple[Row, Provider]]:
        """The rows that are providers. Reports the others."""
        found = []
        for row in rows:
            try:
                found.append((row, self._counted(row, source.provider(row))))
            except BadRow as error:
                self._reject(str(error))
        return found

    def provider(self, row: Row, provider: Provider, found: Provider | None) -> None:
        """Import a provider and its client types; `found` is the existing one."""
        try:
            rows = self._old.client_types(row)
        except BadRow as error:
            self._reject(str(error))
            return
        document = ProviderDocument(provider, list(self._client_types(rows, row)))
        self._run(document, found)

    def _client_types(self, rows: list[Row], parent: Row) -> Iterator[ClientType]:
        for row in rows:
            try:
                yield self._counted(row, source.client_type(row, parent))
            except BadRow as error:
                self._reject(str(error))

    def _counted(self, row: Row, resource: Resource) -> Resource:
        self._lost_cids += bool(row.get(CID)) and not resource.uid
        return resource

    def _run(self, document: ProviderDocument, found: Provider | None) -> None:
        steps = self._planner.of_provider(document, found)
        self._unchanged += 1 + len(document.client_types) - len(steps)
        for number, step in enumerate(steps):
            try:
                step.run(self._portal)
            except (Unavailable, ResourceExhausted, Unauthenticated, PermissionDenied) as error:
                # The next step would fail for the same reason.
                raise CommandError(
                    f"{step.what}: {error}; run the command again to continue"
                ) from None
            except PortalError as error:
                self._reject(f"{_title(step, document)}: {error}")
                if found is None and not step.provider:
                    # Client types cannot be created without their provider.
                    for left in steps[number + 1 :]:
                        self._reject(f"{_title(left, document)}: its provider was not imported")
                    return
            else:
                self._done[step.sign] += 1

    def _reject(self, text: str) -> None:
        self.rejected += 1
        self._notify(f"not imported: {text}")


def _title(step: Step, document: ProviderDocument) -> str:
    provider = document.provider.name
    return f"{step.what} of provider {provider!r}" if step.provider else step.what

"""`portal import`: copies the providers and client types of another portal."""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Annotated, Final

import typer
from rich.console import Console

from portal_cli import options, source, wording
from portal_cli.applying import show
from portal_cli.documents import ProviderDocument
from portal_cli.errors import CommandError, Exit, exit_code
from portal_cli.output import printable
from portal_cli.plan import CHANGE, CREATE, Planner, Step, match
from portal_cli.plan_output import count
from portal_cli.progress import progress, stderr
from portal_cli.source import CID, BadRow, Resource, Row, Source
from portal_cli.validation import Validation
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

_OVERALL: Final = (Unavailable, ResourceExhausted, Unauthenticated, PermissionDenied)


def import_(
    context: typer.Context,
    from_: Annotated[
        str, typer.Option("--from", help="URL of the other portal, such as https://old-portal.")
    ],
    from_key: Annotated[
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
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Only show what would be written; exit code 2 if that is not empty.",
        ),
    ] = False,
) -> None:
    """Copy providers and client types from another portal over its REST API.

    Creates and updates resources, found by uid (CID there) or by name as in `apply`; never deletes
    any. It is idempotent: an interrupted import can be run again. Rows that cannot be imported are
    listed, and the exit code is then 3. With `--dry-run`, the server checks each resource, and
    nothing is written; `-o json` shows the plan for programs.
    """
    common = options.of(context)
    console = stderr()
    notify = _notifier(console)
    with (
        common.portal() as portal,
        closing(Source(from_, from_key, timeout, per_page, notify)) as old,
    ):
        run = _Import(portal, old, notify, validate_only=dry_run)
        rows = run.readable(old.providers())
        existing, _ = match([provider for _, provider in rows], portal.list_providers())
        with progress("providers", len(rows), console) as advance:
            for (row, provider), found in zip(rows, existing, strict=True):
                run.provider(row, provider, found)
                advance()
    if dry_run:
        show(run.done, common.output)
    notify(run.summary)
    if run.rejected:
        raise typer.Exit(Exit.INCOMPLETE)
    if dry_run and run.done:
        raise typer.Exit(Exit.WOULD_CHANGE)


def _notifier(console: Console) -> Callable[[str], None]:
    return lambda text: console.print(printable(text), soft_wrap=True)


class _Import:
    """Imports one provider after the other, or only validates it, and counts.

    Attributes:
        done: the steps that were done, or that would be.
        rejected: how many rows could not be imported.
    """

    def __init__(
        self,
        portal: Portal,
        old: Source,
        notify: Callable[[str], None],
        *,
        validate_only: bool = False,
    ) -> None:
        self._portal = portal
        self._validation = Validation(portal) if validate_only else None
        self._old = old
        self._notify = notify
        self._planner = Planner(portal)
        self.done: list[Step] = []
        self._unchanged = 0
        self._lost_cids = 0
        self.rejected = 0

    @property
    def summary(self) -> str:
        """The counts, in one line."""
        cids = (
            f" {self._lost_cids} CIDs are not UUIDs and were not kept." if self._lost_cids else ""
        )
        done = count(self.done)
        created, changed = (
            ("to create", "to change") if self._validation else ("created", "changed")
        )
        return (
            f"{done[CREATE]} {created}, {done[CHANGE]} {changed}, {self._unchanged} unchanged, "
            f"{self.rejected} {self._not_imported}.{cids} Registration access tokens cannot be "
            "imported: set them with `portal providers update`."
        )

    @property
    def _not_imported(self) -> str:
        return "cannot be imported" if self._validation else "not imported"

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
                failure = self._do(step)
            except _OVERALL as error:
                # The next step would fail for the same reason.
                text = f"{step.what}: {wording.text(error)}; run the command again to continue"
                raise CommandError(text, exit_code(error)) from None
            if not failure:
                self.done.append(step)
                continue
            self._reject(f"{_title(step, document)}: {failure}")
            if found is None and not step.parent:
                # Client types cannot be created without their provider.
                without = f"its provider {'' if self._validation else 'was '}{self._not_imported}"
                for left in steps[number + 1 :]:
                    self._reject(f"{_title(left, document)}: {without}")
                return

    def _do(self, step: Step) -> str:
        """Do a step, or have the server check it; returns why it fails, if it does.

        Raises: PortalError (one of `_OVERALL`).
        """
        if self._validation:
            return "; ".join(problem.text for problem in self._validation.problems_of(step))
        try:
            step.run(self._portal)
        except _OVERALL:
            raise
        except PortalError as error:
            return wording.text(error)
        return ""

    def _reject(self, text: str) -> None:
        self.rejected += 1
        self._notify(f"{self._not_imported}: {text}")


def _title(step: Step, document: ProviderDocument) -> str:
    provider = document.provider.name
    return f"{step.what} of provider {provider!r}" if step.parent else step.what

"""`portal apply` and `portal export`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.text import Text

from portal_cli import documents, options
from portal_cli.documents import ClientTypeDocument, PortalDocument, ProviderDocument
from portal_cli.errors import CommandError, Exit
from portal_cli.plan import CHANGE, CREATE, DELETE, Planner, Step, lines
from portal_cli.providers import Yes, confirm
from portal_client import Portal, PortalError

_COLOURS: Final = {CREATE: "green", CHANGE: "yellow", DELETE: "red"}
_HEADER: Final = "# Written by `portal export`; `portal apply -f FILE` makes a portal so.\n"


def apply(
    context: typer.Context,
    file: Annotated[Path, typer.Option("--file", "-f", help="The YAML file; - is standard input.")],
    prune: Annotated[
        bool, typer.Option("--prune", help="Also delete what the file does not name.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Show the plan only; exit code 2 when it is not empty."),
    ] = False,
    yes: Yes = False,
) -> None:
    """Make the portal as a YAML file says: show the plan, ask, do it."""
    document = documents.load(documents.read(file), str(file))
    with options.of(context).portal() as portal:
        steps = Planner(portal, prune=prune).plan(document.providers)
        show(steps)
        if not steps:
            return
        if dry_run:
            raise typer.Exit(Exit.WOULD_CHANGE)
        confirm("Do that?", yes=yes)
        run(portal, steps)
    typer.echo(f"Done: {_counted(steps)}.", err=True)


def run(portal: Portal, steps: Sequence[Step]) -> None:
    """Do the steps in their order.

    Raises:
        CommandError: one failed; the text says which, and how many were done before.
    """
    for done, step in enumerate(steps):
        try:
            step.run(portal)
        except PortalError as error:
            raise CommandError(
                f"{step.what}: {error} (done before: {done} of {len(steps)} steps;"
                " apply again for the rest)"
            ) from None


def show(steps: Sequence[Step]) -> None:
    """Print a plan."""
    console = Console(markup=False, highlight=False, emoji=False, soft_wrap=True)
    for sign, line in lines(steps):
        console.print(Text(line, _COLOURS.get(sign, "")))
    console.print(f"Plan: {_counted(steps)}." if steps else "Nothing to change.")


def _counted(steps: Sequence[Step]) -> str:
    count = {sign: sum(step.sign == sign for step in steps) for sign in _COLOURS}
    return f"{count[CREATE]} to create, {count[CHANGE]} to change, {count[DELETE]} to delete"


def export(
    context: typer.Context,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="Where to; by default standard output.")
    ] = None,
) -> None:
    """Write all providers and client types as a YAML file for `apply`; no secrets, no ids."""
    with options.of(context).portal() as portal:
        found = PortalDocument.model_construct(
            providers=[
                ProviderDocument.of(
                    provider,
                    [ClientTypeDocument.of(one) for one in portal.list_client_types(provider.id)],
                )
                for provider in portal.list_providers()
            ]
        )
    text = _HEADER + documents.dump(found.model_dump(exclude_defaults=True))
    if file is None:
        typer.echo(text, nl=False)
        return
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}") from None

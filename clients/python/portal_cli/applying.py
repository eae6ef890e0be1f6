"""`portal apply` and `portal export`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.text import Text

from portal_cli import documents, options
from portal_cli.errors import CommandError, Exit
from portal_cli.options import Yes, confirm
from portal_cli.plan import CHANGE, CREATE, DELETE, Planner, Step, lines
from portal_client import Portal, PortalError, Provider

_COLORS: Final = {CREATE: "green", CHANGE: "yellow", DELETE: "red"}
_HEADER: Final = (
    "# Written by `portal export`. Apply it with `portal apply -f FILE`.\n"
    "# Remove the uid of a copy of a resource: apply finds resources by uid, then by name.\n"
)


def apply(
    context: typer.Context,
    file: Annotated[Path, typer.Option("--file", "-f", help="YAML file; - is standard input.")],
    prune: Annotated[
        bool, typer.Option("--prune", help="Delete resources that are not in the file.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only show the plan; exit code 2 if it is not empty."),
    ] = False,
    yes: Yes = False,
) -> None:
    """Make the portal match a YAML file: show the plan, ask for confirmation, run it."""
    wanted = documents.load(documents.read(file), str(file))
    with options.of(context).portal() as portal:
        steps = Planner(portal, prune=prune).plan(wanted)
        show(steps)
        if not steps:
            return
        if dry_run:
            raise typer.Exit(Exit.WOULD_CHANGE)
        confirm("Apply this plan?", yes=yes)
        run(portal, steps)
    typer.echo(f"Done: {_counted(steps)}.", err=True)


def run(portal: Portal, steps: Sequence[Step]) -> None:
    """Run the steps in order.

    Raises:
        CommandError: a step failed; the text names it and the number of steps before it.
    """
    for done, step in enumerate(steps):
        try:
            step.run(portal)
        except PortalError as error:
            raise CommandError(
                f"{step.what}: {error} ({done} of {len(steps)} steps done;"
                " run apply again for the rest)"
            ) from None


def show(steps: Sequence[Step]) -> None:
    """Print a plan."""
    console = Console(markup=False, highlight=False, emoji=False, soft_wrap=True)
    for sign, line in lines(steps):
        console.print(Text(line, _COLORS.get(sign, "")))
    console.print(f"Plan: {_counted(steps)}." if steps else "No changes.")


def _counted(steps: Sequence[Step]) -> str:
    count = {sign: sum(step.sign == sign for step in steps) for sign in _COLORS}
    return f"{count[CREATE]} to create, {count[CHANGE]} to change, {count[DELETE]} to delete"


def export(
    context: typer.Context,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="Output file; default: standard output.")
    ] = None,
) -> None:
    """Write all providers and client types as a YAML file for `apply`, without secrets."""
    with options.of(context).portal() as portal:
        providers = [_plain(portal, provider) for provider in portal.list_providers()]
    text = _HEADER + documents.dump({"providers": providers})
    if file is None:
        typer.echo(text, nl=False)
        return
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}") from None


def _plain(portal: Portal, provider: Provider) -> dict[str, Any]:
    client_types = [documents.plain(one) for one in portal.list_client_types(provider.id)]
    return documents.plain(provider) | ({"client_types": client_types} if client_types else {})

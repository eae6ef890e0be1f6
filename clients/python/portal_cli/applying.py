"""`portal apply` and `portal export`."""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer
from rich.console import Console
from rich.text import Text

from portal_cli import documents, files, options, wording
from portal_cli.errors import CommandError, Exit
from portal_cli.options import Output, Yes, confirm
from portal_cli.output import encoded, printable, report, write_values
from portal_cli.plan import CHANGE, CREATE, DELETE, Planner, Step
from portal_cli.plan_output import ACTIONS, as_data, count, lines
from portal_cli.progress import progress
from portal_cli.validation import OF_STEP, Validation
from portal_client import (
    DeadlineExceeded,
    PermissionDenied,
    Portal,
    PortalError,
    Provider,
    Unavailable,
)

_COLORS: Final = {CREATE: "green", CHANGE: "yellow", DELETE: "red"}
_DONE: Final = {CREATE: "created", CHANGE: "changed", DELETE: "deleted"}
_NOTHING: Final = "nothing was written"
_HEADER: Final = (
    "# Written by `portal export`. Apply it with `portal apply -f FILE`.\n"
    "# Remove the uid of a copy of a resource: apply finds resources by uid, then by name.\n"
)


def apply(
    context: typer.Context,
    file: Annotated[
        list[Path],
        typer.Option(
            "--file",
            "-f",
            help="YAML file, or folder with YAML files; - is standard input. Repeat the option for"
            " more: together they describe the portal.",
        ),
    ],
    prune: Annotated[
        bool, typer.Option("--prune", help="Delete resources that are not in the files.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only show the plan; exit code 2 if it is not empty."),
    ] = False,
    yes: Yes = False,
) -> None:
    """Make the portal match YAML files: show the plan, ask for confirmation, run it.

    The server checks the whole plan before the first write. `-o json` shows it for programs. An
    API key that may not write can only show the plan, and the server does not check that.
    """
    common = options.of(context)
    try:
        wanted = files.load(file)
    except files.InvalidFiles as error:
        _reject(error.problems, common.output)
    with common.portal() as portal:
        with _reporting_that_nothing_was_written():
            steps = Planner(portal, prune=prune).plan(wanted)
            checked = _check(portal, steps, common.output, dry_run=dry_run)
        show(steps, common.output, checked=checked)
        if not steps:
            return
        if dry_run:
            raise typer.Exit(Exit.WOULD_CHANGE)
        confirm("Apply this plan?", yes=yes)
        run(portal, steps)
    typer.echo(f"Done: {_done(count(steps))}.", err=True)


def _check(portal: Portal, steps: Sequence[Step], output: Output, *, dry_run: bool) -> bool:
    """Have the server check all steps, without a write.

    False if it did not, because the API key may not write: a dry run still shows the plan.

    Raises:
        CommandError: it would reject some; all problems are on standard error.
        PortalError: it cannot check them; the plan is on standard output.
    """
    with progress("checking", len(steps)) as advance:
        try:
            problems = Validation(portal).problems(steps, advance)
        except PortalError as error:
            if dry_run and isinstance(error, PermissionDenied):
                return False
            show(steps, output, checked=False)
            raise
    if problems:
        _reject([str(problem) for problem in problems], output)
    return True


def run(portal: Portal, steps: Sequence[Step]) -> None:
    """Run the steps in order.

    If a step fails or the user stops the command, standard error says what was done and what not.

    Raises:
        CommandError: the server rejected a step; the text names it.
        PortalError: the server cannot be reached.
    """
    done = 0
    # The progress is inside, so that Ctrl-C is reported as soon as it is shown.
    try:
        with progress("applying", len(steps)) as advance:
            for step in steps:
                step.run(portal)
                done += 1
                advance()
    except BaseException as error:
        if isinstance(error, OF_STEP):
            raise CommandError(
                f"{steps[done].title}: {wording.text(error)}. {_state(steps, done, error)}"
            ) from None
        typer.echo(printable(_state(steps, done, error)), err=True)
        raise


def _state(steps: Sequence[Step], done: int, error: BaseException) -> str:
    """What was done and what was not when a step ended with this error."""
    left = steps[done:]
    counted = count(left)
    plan = ", ".join(f"{counted[sign]} to {action}" for sign, action in ACTIONS.items())
    # After other errors of the server, nothing was done.
    certain = isinstance(error, PortalError) and not isinstance(
        error, (Unavailable, DeadlineExceeded)
    )
    in_doubt = "" if certain or not left else f" It is unknown whether {left[0].title} was written."
    first = f", from {left[0].title} on" if left else ""
    return (
        f"Done: {_done(count(steps[:done]))}. Not done: {plan}{first}.{in_doubt}"
        " Run apply again for the rest."
    )


def _done(counted: Counter[str]) -> str:
    return ", ".join(f"{counted[sign]} {action}" for sign, action in _DONE.items())


@contextmanager
def _reporting_that_nothing_was_written() -> Iterator[None]:
    try:
        yield
    except (CommandError, typer.Exit):
        raise
    except BaseException:
        typer.echo(_NOTHING.capitalize() + ".", err=True)
        raise


def _reject(problems: Sequence[str], output: Output) -> NoReturn:
    """Report problems: one in the error, several in lines before it; all in an error in JSON."""
    text = problems[0] if len(problems) == 1 else f"{len(problems)} errors"
    if len(problems) > 1 and output is not Output.JSON:
        for problem in problems:
            print(printable(problem), file=sys.stderr)
    raise CommandError(f"{text}; {_NOTHING}", problems=list(problems))


def show(steps: Sequence[Step], output: Output, *, checked: bool = True) -> None:
    """Print a plan. `checked` is whether the server has checked it."""
    if output is not Output.TABLE:
        write_values(as_data(steps) | {"checked": checked}, output)
        return
    console = Console(markup=False, highlight=False, emoji=False, soft_wrap=True)
    for sign, line in lines(steps):
        console.print(Text(line, _COLORS.get(sign, "")))
    counted = count(steps)
    plan = ", ".join(f"{counted[sign]} to {action}" for sign, action in ACTIONS.items())
    console.print(f"Plan: {plan}." if steps else "No changes.")
    if not checked:
        report("the server has not checked the plan: the API key may not write")


def export(
    context: typer.Context,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="Output file; default: standard output.")
    ] = None,
) -> None:
    """Write all providers and client types as a file for `apply`, without secrets.

    It is YAML, or JSON with `-o json`, which is valid YAML. A file that exists is replaced.
    """
    common = options.of(context)
    with common.portal() as portal:
        providers = [_plain(portal, provider) for provider in portal.list_providers()]
    whole = {"providers": providers}
    as_json = common.output is Output.JSON
    text = f"{encoded(whole, Output.JSON)}\n" if as_json else _HEADER + documents.dump(whole)
    if file is None:
        typer.echo(text, nl=False)
        return
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}") from None
    client_types = sum(len(one.get("client_types", ())) for one in providers)
    report(f"wrote {len(providers)} providers and {client_types} client types to {file}")


def _plain(portal: Portal, provider: Provider) -> dict[str, Any]:
    client_types = [documents.plain(one) for one in portal.list_client_types(provider.id)]
    return documents.plain(provider) | ({"client_types": client_types} if client_types else {})

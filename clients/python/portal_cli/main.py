"""The command `portal`: commands of the client, and of the server if that is installed."""

import json
import os
import sys
from contextlib import suppress
from importlib.metadata import entry_points, version
from itertools import pairwise
from typing import Annotated, Any, Final

import typer
from typer._completion_classes import completion_init

from portal_cli import (
    applying,
    audit,
    client_types,
    clients,
    completing,
    context_commands,
    importing,
    keys,
    processes,
    providers,
    status,
    wording,
)
from portal_cli.commands import Commands, LocalCommand
from portal_cli.errors import CommandError, Exit, exit_code
from portal_cli.options import Given, Output
from portal_cli.output import printable
from portal_client import PortalError

# The entry points of packages that add commands: each is a typer application.
_PLUGINS: Final = "portal.commands"
# What typer raises for an invalid command line. typer vendors click and does not export the class;
# `click.UsageError` is a different one.
_UsageError: Final[Any] = typer.BadParameter.__base__

# Without typer's own options for completion, which find out the shell from the parent process.
completion_init()
app = Commands(name="portal", help="OAuth 2.0 client types as a service.")
app.add_typer(providers.app, name="providers")
app.add_typer(client_types.app, name="client-types")
app.add_typer(clients.app, name="clients")
app.add_typer(keys.app, name="keys")
app.add_typer(audit.app, name="audit")
app.add_typer(context_commands.app, name="contexts")
app.command(
    examples=(
        "portal status",
        "portal status --target staging:50051 -o json",
        "portal status >/dev/null && echo up",
    )
)(status.status)
app.command(
    examples=(
        "portal watch",
        "portal watch clients --provider 1 --filter 'type = CHANGE_TYPE_DELETED'",
    )
)(audit.watch)
app.command(
    examples=(
        "portal apply -f portal.yaml --dry-run    # exit code 2 if it would change",
        "portal export | portal apply -f - --target staging:50051",
    )
)(applying.apply)
app.command(examples=("portal export -f portal.yaml",))(applying.export)
app.command("import", examples=("portal import --from https://old-portal",))(importing.import_)
app.command(
    examples=(
        "source <(portal completion bash)     # in ~/.bashrc",
        "source <(portal completion zsh)      # in ~/.zshrc, after compinit",
        "portal completion fish | source      # in ~/.config/fish/config.fish",
    ),
    cls=LocalCommand,
)(completing.completion)
for plugin in entry_points(group=_PLUGINS):
    app.add_typer(plugin.load())


def _version(wanted: bool) -> None:  # noqa: FBT001 - an option
    if wanted:
        typer.echo(f"portal {version('oauth-portal')}")
        raise typer.Exit


@app.callback(
    epilog="Exit codes: 0 success, 1 error, 2 a dry run would change something, 3 rows were not"
    " imported, 64 invalid command line, 65 problems in the database, 66 not found, 69 no server,"
    " 74 output failed, 77 not permitted; 129, 130 and 143 ended by a signal.\n\n"
    "`portal COMMAND -h` shows examples."
)
def options(
    _version_wanted: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """OAuth 2.0 client types as a service."""


def run() -> None:
    """Run the command line and exit with a code of `Exit`. An error is one line on stderr."""
    processes.open_missing_streams()
    given = Given()
    try:
        with processes.ending_signals():
            code = _run(given)
            sys.stdout.flush()
    except (CommandError, PortalError, _UsageError) as error:
        code = _failed(error, given)
    except OSError as error:
        code = _output_failed(error, given)
    except (typer.Abort, EOFError, KeyboardInterrupt):
        code = _report("stopped", Exit.INTERRUPTED, given)
    except processes.Ended as ended:
        code = _report("stopped", ended.code, given)
    sys.exit(code)


def _run(given: Given) -> int:
    command: Any = typer.main.get_command(app)
    wanted = os.environ.get(completing.VARIABLE)
    if wanted:  # the script of `portal completion` asks for values
        return completing.respond(command, given, wanted)
    try:
        # Not `app()`: it exits on a closed pipe, and handles Ctrl-C.
        with command.make_context("portal", sys.argv[1:], obj=given) as context:
            command.invoke(context)
    except typer.Exit as ended:
        return ended.exit_code
    return Exit.DONE


def _failed(error: Any, given: Given) -> int:
    if isinstance(error, PortalError):
        return _report(wording.text(error), exit_code(error), given, **_details(error))
    if isinstance(error, CommandError):
        return _report(error, error.code, given, **error.details)
    text = error.format_message().strip().replace(" Value error, ", " ")
    end = "" if text.endswith((".", "?")) else "."
    hint = f"{end} Try '{error.ctx.command_path} -h'." if error.ctx else ""
    return _report(f"{text}{hint}", Exit.USAGE, given)


def _details(error: PortalError) -> dict[str, Any]:
    """What a program needs to know about an error of the server."""
    violations = [
        {"field": one.field, "reason": one.reason_name, "description": one.description}
        for one in error.violations
    ]
    found = {
        "status": error.code.name,
        "reason": error.reason_name,
        "violations": violations,
        "metadata": error.metadata,
    }
    return {name: value for name, value in found.items() if value}


def _output_failed(error: OSError, given: Given) -> int:
    processes.discard_output()
    if isinstance(error, BrokenPipeError):  # `portal … | head`
        return Exit.DONE
    text = f"{error.filename or 'standard output'}: {error.strerror}"
    return _report(text, Exit.OUTPUT, given)


def _report(error: object, code: Exit, given: Given, **details: Any) -> int:
    """Write the error; returns the exit code."""
    text = " ".join(str(error).split())
    if _wants_json(given):
        report = {"error": {"message": text, "exit_code": int(code)} | details}
        line = json.dumps(report, ensure_ascii=False)
    else:
        line = f"portal: {printable(text)}"
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)
    return code


def _wants_json(given: Given) -> bool:
    """Whether `-o json` was given, even on a command line that cannot be parsed."""
    arguments = sys.argv[1:]
    return (
        given.output is Output.JSON
        or not {"-ojson", "--output=json"}.isdisjoint(arguments)
        or not {("-o", "json"), ("--output", "json")}.isdisjoint(pairwise(arguments))
    )

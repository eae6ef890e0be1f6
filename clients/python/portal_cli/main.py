"""The command `portal`: commands of the client, and of the server if that is installed."""

import sys
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from portal_cli import applying, client_types, clients, importing, providers
from portal_cli.errors import CommandError, Exit
from portal_cli.options import Options, Output
from portal_cli.output import printable
from portal_client import PortalError
from portal_client.connection import TARGET, TIMEOUT_S

# The entry points of packages that add commands: each is a typer application.
_PLUGINS: Final = "portal.commands"
# What typer raises for an invalid command line. typer vendors click and does not export the class;
# `click.UsageError` is a different one.
_UsageError: Final[Any] = typer.BadParameter.__base__

app = typer.Typer(
    name="portal",
    help="OAuth 2.0 client types as a service.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(providers.app, name="providers")
app.add_typer(client_types.app, name="client-types")
app.add_typer(clients.app, name="clients")
app.command()(applying.apply)
app.command()(applying.export)
app.command("import")(importing.import_)
for plugin in entry_points(group=_PLUGINS):
    app.add_typer(plugin.load())


def _version(wanted: bool) -> None:  # noqa: FBT001 - an option
    if wanted:
        typer.echo(f"portal {version('oauth-portal')}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    target: Annotated[
        str, typer.Option(envvar="PORTAL_TARGET", help="gRPC address of the portal: host:port.")
    ] = TARGET,
    key: Annotated[
        str | None,
        typer.Option(
            envvar="PORTAL_KEY", help="API key. Prefer PORTAL_KEY: other users can see arguments."
        ),
    ] = None,
    tls: Annotated[bool, typer.Option("--tls", envvar="PORTAL_TLS", help="Use TLS.")] = False,
    ca: Annotated[
        Path | None,
        typer.Option(
            envvar="PORTAL_CA", help="PEM file with CA certificates to trust; implies --tls."
        ),
    ] = None,
    timeout: Annotated[
        float, typer.Option(help="Seconds that a request may take, including retries.", min=0.001)
    ] = TIMEOUT_S,
    output: Annotated[
        Output, typer.Option("--output", "-o", help="Format of results.")
    ] = Output.TABLE,
    _version_wanted: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Keep the options that all commands share."""
    context.obj = Options(target, key, tls, ca, timeout, output)


def run() -> None:
    """Run the command line and exit with a code of `Exit`. An error is one line on stderr."""
    sys.exit(_run())


def _run() -> int:
    try:
        return app(standalone_mode=False) or Exit.DONE
    except _UsageError as error:
        _report(error.format_message())
        return Exit.USAGE
    except CommandError as error:
        _report(error)
        return error.code
    except PortalError as error:
        _report(error)
        return Exit.FAILED
    except (typer.Abort, KeyboardInterrupt):
        _report("stopped")
        return Exit.INTERRUPTED
    except BrokenPipeError:  # `portal … | head`
        sys.stderr.close()
        return Exit.DONE


def _report(error: object) -> None:
    print(f"portal: {printable(' '.join(str(error).split()))}", file=sys.stderr)

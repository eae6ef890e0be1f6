"""The server's commands of `portal`.

What they do is imported when one of them is run: it is slow to import, and the
client's commands are beside them.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from portal_server.domain.errors import OperatorError, PortalError
from portal_server.domain.keys import Role

app = typer.Typer(
    help="OAuth 2.0 client types as a service.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
keys = typer.Typer(help="Make, list and revoke API keys.", no_args_is_help=True)
app.add_typer(keys, name="keys")


@app.command()
def up() -> None:
    """Run everything in the foreground: migrate, then serve REST and gRPC through Envoy.

    SIGTERM and Ctrl-C finish the calls in flight and stop everything. SIGHUP (kill -HUP)
    restarts the gRPC servers one after the other; no call fails.
    """
    with _errors_in_one_line():
        from portal_server.run import commands  # noqa: PLC0415 - see above

        commands.up()


@app.command()
def serve(
    socket: Annotated[
        Path | None, typer.Option(help="The path of a Unix socket to make and listen on.")
    ] = None,
    worker: Annotated[
        int, typer.Option(help="Which of several servers it is, from 0: it stays on a core.", min=0)
    ] = 0,
) -> None:
    """Run a gRPC server alone, on a database that is migrated.

    It listens on --socket, on the TCP port PORTAL_DIRECT_GRPC_PORT, or on both.
    """
    with _errors_in_one_line():
        from portal_server.run import commands  # noqa: PLC0415

        commands.serve(socket, worker)


@app.command()
def migrate(
    timeout: Annotated[
        int, typer.Option(help="Seconds that the migration may take.", min=1)
    ] = 3600,
) -> None:
    """Bring the database to this version's schema."""
    with _errors_in_one_line():
        from portal_server.run import commands  # noqa: PLC0415

        commands.migrate(timeout)


@keys.command()
def create(
    role: Annotated[Role, typer.Option(help="What the key may do.")] = Role.ADMIN,
    note: Annotated[str, typer.Option(help="Who has it, what for.")] = "",
) -> None:
    """Make a key and print it: it is not kept and cannot be shown again."""
    with _errors_in_one_line():
        from portal_server.run import commands  # noqa: PLC0415

        with commands.keyring() as keyring:
            typer.echo(keyring.create(role, note))


@keys.command("list")
def list_() -> None:
    """List the keys by name; a key is `oap_<name>_<secret>`."""
    with _errors_in_one_line():
        from portal_server.run import commands  # noqa: PLC0415

        with commands.keyring() as keyring:
            typer.echo(f"{'NAME':<10}{'ROLE':<8}{'MADE':<18}{'REVOKED':<18}NOTE")
            for key in keyring.list():
                made = f"{key.create_time:%Y-%m-%d %H:%M}"
                revoked = f"{key.revoke_time:%Y-%m-%d %H:%M}" if key.revoke_time else "-"
                typer.echo(f"{key.key_id:<10}{key.role:<8}{made:<18}{revoked:<18}{key.note}")


@keys.command()
def revoke(name: Annotated[str, typer.Argument(help="The key's name, from `keys list`.")]) -> None:
    """Revoke a key: calls with it are refused from now on."""
    with _errors_in_one_line():
        from portal_server.run import commands  # noqa: PLC0415

        with commands.keyring() as keyring:
            if not keyring.revoke(name):
                _fail(f"no key {name} that is good")


@contextmanager
def _errors_in_one_line() -> Iterator[None]:
    try:
        yield
    except (OperatorError, PortalError) as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{error.filename or 'system'}: {error.strerror}")


def _fail(message: str) -> None:
    typer.echo(f"portal: {message}", err=True)
    sys.exit(1)


if __name__ == "__main__":
    app()

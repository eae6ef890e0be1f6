"""The command `portal`."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from portal_server.domain.errors import OperatorError, PortalError
from portal_server.domain.keys import Role
from portal_server.keyring import KeyRing
from portal_server.settings import Settings, configure_logging, load
from portal_server.storage.engine import open_engine
from portal_server.storage.schema import migrate, require_newest
from portal_server.storage.store import Store

app = typer.Typer(
    help="OAuth 2.0 client types as a service.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
keys = typer.Typer(help="Make, list and revoke API keys.", no_args_is_help=True)
app.add_typer(keys, name="keys")


@app.command()
def up() -> None:
    """Run everything in the foreground: migrate, then serve gRPC, and REST through Envoy."""
    from portal_server.up import up as run  # noqa: PLC0415 - slow to import

    _run(run)


@app.command()
def serve(
    worker: Annotated[int, typer.Option(hidden=True)] = 0,
    socket: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """Run the gRPC server alone, on a database that is migrated."""
    from portal_server.server import Worker  # noqa: PLC0415 - slow to import
    from portal_server.server import serve as run  # noqa: PLC0415

    _run(lambda settings: run(settings, Worker(worker, socket) if socket else None))


@app.command("migrate")
def migrate_() -> None:
    """Bring the database to this version's schema."""
    _run(lambda settings: migrate(open_engine(settings.database)))


@keys.command()
def create(
    role: Annotated[Role, typer.Option(help="What the key may do.")] = Role.ADMIN,
    note: Annotated[str, typer.Option(help="Who has it, what for.")] = "",
) -> None:
    """Make a key and print it: it is not kept and cannot be shown again."""
    with _keyring() as keyring:
        typer.echo(keyring.create(role, note))


@keys.command("list")
def list_() -> None:
    """List the keys by name; a key is `oap_<name>_<secret>`."""
    with _keyring() as keyring:
        typer.echo(f"{'NAME':<10}{'ROLE':<8}{'MADE':<18}{'REVOKED':<18}NOTE")
        for key in keyring.list():
            made = f"{key.create_time:%Y-%m-%d %H:%M}"
            revoked = f"{key.revoke_time:%Y-%m-%d %H:%M}" if key.revoke_time else "-"
            typer.echo(f"{key.key_id:<10}{key.role:<8}{made:<18}{revoked:<18}{key.note}")


@keys.command()
def revoke(name: Annotated[str, typer.Argument(help="The key's name, from `keys list`.")]) -> None:
    """Revoke a key: calls with it are refused from now on."""
    with _keyring() as keyring:
        if not keyring.revoke(name):
            _fail(f"no key {name} that is good")


@contextmanager
def _keyring() -> Iterator[KeyRing]:
    with _errors_in_one_line():
        engine = open_engine(load().database)
        require_newest(engine)
        store = Store(engine)
        try:
            yield KeyRing(store)
        finally:
            store.close()


def _run(command: Callable[[Settings], None]) -> None:
    with _errors_in_one_line():
        settings = load()
        configure_logging(settings.log_level)
        command(settings)


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

"""The commands of the server.

Each command imports what it needs when it runs, after it has read the settings: the imports take
a second, and the client's commands load this module too.
"""

import functools
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ParamSpec

import typer

from portal_server.domain.errors import OperatorError, PortalError
from portal_server.domain.keys import Role

if TYPE_CHECKING:
    from portal_server.catalog.keyring import KeyRing
    from portal_server.run.settings import Settings

Parameters = ParamSpec("Parameters")

app = typer.Typer(
    help="OAuth 2.0 client types as a service.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
keys = typer.Typer(help="Create, list and revoke API keys.", no_args_is_help=True)
app.add_typer(keys, name="keys")
encryption = typer.Typer(
    help="Create encryption keys, and encrypt secrets again.", no_args_is_help=True
)
app.add_typer(encryption, name="encryption")


def one_line_errors(command: Callable[Parameters, None]) -> Callable[Parameters, None]:
    """Print an error that an operator can fix as one line, and exit with 1."""

    @functools.wraps(command)
    def run(*arguments: Parameters.args, **options: Parameters.kwargs) -> None:
        try:
            command(*arguments, **options)
        except (OperatorError, PortalError) as error:
            sys.exit(f"portal: {error}")
        except OSError as error:
            sys.exit(f"portal: {error.filename or 'system'}: {error.strerror}")

    return run


@app.command()
@one_line_errors
def up() -> None:
    """Run the whole system in the foreground: migrate, then serve REST and gRPC through Envoy.

    SIGTERM and Ctrl-C finish the calls in flight and stop everything. SIGHUP (kill -HUP)
    restarts the gRPC servers one after the other without failing a call.
    """
    settings = _logged_settings()
    from portal_server.run.up import up

    up(settings)


@app.command()
@one_line_errors
def serve(
    socket: Annotated[
        Path | None, typer.Option(help="Path of a Unix socket to create and listen on.")
    ] = None,
    worker: Annotated[
        int, typer.Option(help="Number of this server, from 0; selects its CPU core.", min=0)
    ] = 0,
) -> None:
    """Run one gRPC server, on a migrated database.

    It listens on --socket, on the TCP port PORTAL_DIRECT_GRPC_PORT, or on both.
    """
    settings = _logged_settings()
    from portal_server.run.server import Listen, serve

    serve(settings, Listen(socket, worker))


@app.command()
@one_line_errors
def migrate(
    timeout: Annotated[
        int, typer.Option(help="Seconds that a statement of the migration may take.", min=1)
    ] = 3600,
) -> None:
    """Migrate the database to the schema of this version."""
    settings = _logged_settings()
    from portal_server.run.encryption_keys import vault_of
    from portal_server.storage.sql import migrations
    from portal_server.storage.sql.first_connection import open_connected
    from portal_server.storage.stored_secrets import require_keys

    engine, vault = open_connected(settings.database), vault_of(settings)
    require_keys(engine, vault)
    migrations.migrate(engine, timeout_s=timeout, seal=vault.seal)


@keys.command()
@one_line_errors
def create(
    role: Annotated[Role, typer.Option(help="What the key may do.")] = Role.ADMIN,
    note: Annotated[str, typer.Option(help="Who uses the key, and what for.")] = "",
) -> None:
    """Create an API key and print it. It is not stored and cannot be shown again."""
    with _keyring() as keyring:
        typer.echo(keyring.create(role, note))


@keys.command("list")
@one_line_errors
def list_() -> None:
    """List the API keys by name; a key is `oap_<name>_<secret>`."""
    with _keyring() as keyring:
        typer.echo(f"{'NAME':<10}{'ROLE':<8}{'CREATED':<18}{'REVOKED':<18}NOTE")
        for key in keyring.list():
            created = f"{key.create_time:%Y-%m-%d %H:%M}"
            revoked = f"{key.revoke_time:%Y-%m-%d %H:%M}" if key.revoke_time else "-"
            typer.echo(f"{key.key_id:<10}{key.role:<8}{created:<18}{revoked:<18}{key.note}")


@keys.command()
@one_line_errors
def revoke(name: Annotated[str, typer.Argument(help="Name of the key, from `keys list`.")]) -> None:
    """Revoke an API key: calls with it are rejected from now on."""
    with _keyring() as keyring:
        if not keyring.revoke(name):
            raise OperatorError(f"no active key named {name}")


@encryption.command("new-key")
@one_line_errors
def new_key() -> None:
    """Print a new key for PORTAL_ENCRYPTION_KEYS or its file. It is stored nowhere."""
    from portal_server.storage.encryption import new_key

    typer.echo(new_key())


@encryption.command()
@one_line_errors
def rotate() -> None:
    """Encrypt all secrets that are not encrypted with the first key, while servers run.

    It can be interrupted and run again.
    """
    from portal_server.catalog.rotation import encrypt_again
    from portal_server.run.encryption_keys import vault_of
    from portal_server.storage.sql import schema
    from portal_server.storage.sql.engine import overwrite_deleted
    from portal_server.storage.sql.first_connection import open_connected
    from portal_server.storage.store import Store
    from portal_server.storage.stored_secrets import require_keys

    settings = _settings()
    vault = vault_of(settings)
    if not vault:
        raise OperatorError("no encryption key: set PORTAL_ENCRYPTION_KEYS")
    engine = open_connected(settings.database)
    overwrite_deleted(engine)
    schema.require_known(engine)
    require_keys(engine, vault)
    store = Store(engine, vault)
    try:
        problems = encrypt_again(
            store, lambda table, count: typer.echo(f"{table}: {count} secrets encrypted")
        )
    finally:
        store.close()
    if problems:
        raise OperatorError("; ".join(problems))


@contextmanager
def _keyring() -> "Iterator[KeyRing]":
    """The API keys in the database."""
    settings = _settings()
    from portal_server.catalog.keyring import KeyRing
    from portal_server.storage.sql import schema
    from portal_server.storage.sql.first_connection import open_connected
    from portal_server.storage.store import Store

    engine = open_connected(settings.database)
    schema.require_known(engine)
    store = Store(engine)
    try:
        yield KeyRing(store)
    finally:
        store.close()


def _logged_settings() -> "Settings":
    from portal_server.run.logs import configure_logging

    settings = _settings()
    configure_logging(settings.log_level)
    return settings


def _settings() -> "Settings":
    from portal_server.run.settings import load

    # Files that a command creates, such as the database or a socket, are for its user only.
    os.umask(0o077)
    return load()


if __name__ == "__main__":
    app()

"""The commands of the server.

Each command imports what it needs when it runs, after it has read the settings: the imports take
a second, and the client's commands load this module too.
"""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated

import typer

from portal_cli import key_places
from portal_cli.commands import Commands, LocalCommand, LocalGroup
from portal_cli.errors import CommandError
from portal_cli.key_places import Place
from portal_server.domain.calls import Call, Origin
from portal_server.domain.errors import OperatorError
from portal_server.run import audit_cli, database_cli, tls_cli
from portal_server.run.commands import (
    load_settings,
    logged_settings,
    one_line_errors,
)

app = Commands(help="OAuth 2.0 client types as a service.", cls=LocalGroup)
encryption = Commands(help="Create encryption keys, and encrypt secrets again.", cls=LocalGroup)
app.add_typer(encryption, name="encryption")
app.add_typer(database_cli.app)
app.add_typer(audit_cli.app, name="audit")
app.add_typer(tls_cli.app, name="tls")


@app.command(cls=LocalCommand, examples=("portal up", "PORTAL_HTTP_PORT=8080 portal up"))
@one_line_errors
def up() -> None:
    """Run the whole system in the foreground: migrate, then serve REST and gRPC through Envoy.

    SIGTERM and Ctrl-C finish the calls in flight and stop everything. SIGHUP (kill -HUP)
    restarts the gRPC servers one after the other without failing a call.
    """
    settings = logged_settings()
    from portal_server.run.up import up

    up(settings)


@app.command(cls=LocalCommand, examples=("PORTAL_DIRECT_GRPC_PORT=50052 portal serve",))
@one_line_errors
def serve(
    socket: Annotated[
        Path | None, typer.Option(help="Path of a Unix socket to create and listen on.")
    ] = None,
    worker: Annotated[
        int, typer.Option(help="Number of this server, from 0; selects its CPU core.", min=0)
    ] = 0,
    servers: Annotated[
        int, typer.Option(help="How many servers share the limits of API keys.", min=1)
    ] = 1,
) -> None:
    """Run one gRPC server, on a migrated database.

    It listens on --socket, on the TCP port PORTAL_DIRECT_GRPC_PORT, or on both.
    """
    settings = logged_settings()
    from portal_server.run.server import Listen, serve

    serve(settings, Listen(socket, worker, servers))


@app.command(
    cls=LocalCommand,
    examples=("PORTAL_DATABASE_URL=postgresql://portal@db/portal portal migrate",),
)
@one_line_errors
def migrate(
    timeout: Annotated[
        int, typer.Option(help="Seconds that a statement of the migration may take.", min=1)
    ] = 3600,
    service_role: Annotated[
        str,
        typer.Option(
            help="PostgreSQL: also grant this role what a server needs. It cannot change the"
            " audit log.",
            show_default=False,
        ),
    ] = "",
) -> None:
    """Migrate the database to the schema of this version."""
    settings = logged_settings()
    from portal_server.run.encryption_keys import vault_of
    from portal_server.storage.sql import migrations, roles, schema
    from portal_server.storage.sql.first_connection import open_connected
    from portal_server.storage.stored_secrets import require_keys

    engine, vault = open_connected(settings.database), vault_of(settings)
    require_keys(engine, vault)
    before = migrations.migrate(engine, timeout_s=timeout, seal=vault.seal)
    if service_role:
        roles.grant(engine, service_role)
    now = schema.HEAD if before is None or before in schema.REVISIONS else before
    change = "" if before == now else f"; before: {before or 'none'}"
    typer.echo(f"portal: {settings.database_name} has schema {now}{change}", err=True)


@encryption.command("new-key", cls=LocalCommand, examples=("portal encryption new-key >>keys",))
@one_line_errors
def new_key() -> None:
    """Print a new key for PORTAL_ENCRYPTION_KEYS or its file. It is stored nowhere."""
    from portal_server.storage.encryption import new_key

    typer.echo(new_key())


@encryption.command(cls=LocalCommand, examples=("portal encryption rotate",))
@one_line_errors
def rotate() -> None:
    """Encrypt all secrets that are not encrypted with the first key, while servers run.

    It can be interrupted and run again.
    """
    from portal_server.catalog.rotation import encrypt_again
    from portal_server.run.encryption_keys import vault_of
    from portal_server.run.existing import open_existing
    from portal_server.storage.sql import schema
    from portal_server.storage.sql.engine import overwrite_deleted
    from portal_server.storage.store import Store
    from portal_server.storage.stored_secrets import require_keys

    settings = load_settings()
    vault = vault_of(settings)
    if not vault:
        raise OperatorError("no encryption key: set PORTAL_ENCRYPTION_KEYS")
    engine = open_existing(settings)
    overwrite_deleted(engine)
    schema.require_known(engine)
    require_keys(engine, vault)
    store = Store(engine, vault)
    try:
        problems = encrypt_again(
            store,
            _command("encryption rotate"),
            lambda table, count: typer.echo(f"{table}: {count} secrets encrypted"),
        )
    finally:
        store.close()
    if problems:
        raise OperatorError("; ".join(problems))


def _command(name: str) -> Call:
    """The work of a command on the database, for its audit events."""
    return Call(origin=Origin(f"portal {name}"))


def _database_keys() -> AbstractContextManager[Place]:
    """The API keys in the database of the settings."""
    from portal_server.run.database_keys import opened

    try:
        return opened(load_settings())
    except OperatorError as error:
        raise CommandError(str(error)) from None


# `portal keys` is a command of the client: with a server it also works on the database.
key_places.add_database(_database_keys)


if __name__ == "__main__":
    app()

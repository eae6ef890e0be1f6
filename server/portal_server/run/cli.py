"""The commands of the server.

Each command imports what it needs when it runs, after it has read the settings: the imports take
a second, and the client's commands load this module too.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from portal_cli import options
from portal_cli.commands import Commands, LocalCommand, LocalGroup
from portal_cli.durations import end_after
from portal_server.domain.api_key import ApiKey, ApiKeyDraft
from portal_server.domain.calls import Call, Origin
from portal_server.domain.errors import OperatorError, PortalError
from portal_server.domain.keys import Role
from portal_server.run import database_cli, tls_cli
from portal_server.run.commands import load_settings, logged_settings, one_line_errors

if TYPE_CHECKING:
    from portal_server.catalog.api_keys import ApiKeys
    from portal_server.run.settings import Settings

app = Commands(help="OAuth 2.0 client types as a service.", cls=LocalGroup)
keys = Commands(help="Create, list and revoke API keys, in the database.", cls=LocalGroup)
app.add_typer(keys, name="keys")
encryption = Commands(help="Create encryption keys, and encrypt secrets again.", cls=LocalGroup)
app.add_typer(encryption, name="encryption")
app.add_typer(database_cli.app)
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
) -> None:
    """Run one gRPC server, on a migrated database.

    It listens on --socket, on the TCP port PORTAL_DIRECT_GRPC_PORT, or on both.
    """
    settings = logged_settings()
    from portal_server.run.server import Listen, serve

    serve(settings, Listen(socket, worker))


@app.command(
    cls=LocalCommand,
    examples=("PORTAL_DATABASE_URL=postgresql://portal@db/portal portal migrate",),
)
@one_line_errors
def migrate(
    timeout: Annotated[
        int, typer.Option(help="Seconds that a statement of the migration may take.", min=1)
    ] = 3600,
) -> None:
    """Migrate the database to the schema of this version."""
    settings = logged_settings()
    from portal_server.run.encryption_keys import vault_of
    from portal_server.storage.sql import migrations, schema
    from portal_server.storage.sql.first_connection import open_connected
    from portal_server.storage.stored_secrets import require_keys

    engine, vault = open_connected(settings.database), vault_of(settings)
    require_keys(engine, vault)
    before = migrations.migrate(engine, timeout_s=timeout, seal=vault.seal)
    now = schema.HEAD if before is None or before in schema.REVISIONS else before
    change = "" if before == now else f"; before: {before or 'none'}"
    typer.echo(f"portal: {_named(settings)} has schema {now}{change}", err=True)


@keys.command(
    cls=LocalCommand,
    examples=(
        "portal keys create --role viewer --note dashboard",
        "portal keys create --role registrar --expires 90d",
        "PORTAL_DATABASE_URL=postgresql://portal@db/portal portal keys create",
    ),
)
@one_line_errors
def create(
    role: Annotated[Role, typer.Option(help="What the key may do.")] = Role.ADMIN,
    note: Annotated[str, typer.Option(help="Who uses the key, and what for.")] = "",
    expires: Annotated[
        str, typer.Option(help="When it ends: after 90d, 12h or 30m; default: never.")
    ] = "",
) -> None:
    """Create an API key and print it. It is not stored and cannot be shown again.

    It is created in the database of PORTAL_DATABASE_URL. The database must exist.
    """
    expire_time = end_after(expires, "--expires") if expires else None
    with _api_keys() as (api_keys, database):
        draft = ApiKeyDraft(role=role, note=note, expire_time=expire_time)
        made = api_keys.create(_command("keys create"), draft)
        typer.echo(made.text)
        typer.echo(f"portal: created the {role} key {made.key.id} in {database}", err=True)


@keys.command("list", cls=LocalCommand, examples=("portal keys list", "portal keys list -o json"))
@one_line_errors
def list_(context: typer.Context) -> None:
    """List the API keys by name; a key is `oap_<name>_<secret>`."""
    output = options.given(context).output
    with _api_keys() as (api_keys, _):
        found = api_keys.list(Call())
    if output is not options.Output.TABLE:
        from portal_cli.output import encoded

        typer.echo(encoded([_plain(key) for key in found], output))
        return
    typer.echo(f"{'NAME':<10}{'ROLE':<11}{'CREATED':<18}{'EXPIRES':<18}{'REVOKED':<18}NOTE")
    for key in found:
        times = (key.create_time, key.expire_time, key.revoke_time)
        shown = "".join(f"{time:%Y-%m-%d %H:%M}  " if time else f"{'-':<18}" for time in times)
        typer.echo(f"{key.id:<10}{key.role:<11}{shown}{key.note}")


def _plain(key: ApiKey) -> dict[str, str | None]:
    return {
        "name": key.id,
        "role": key.role.value,
        "create_time": key.create_time.isoformat(),
        "expire_time": key.expire_time.isoformat() if key.expire_time else None,
        "revoke_time": key.revoke_time.isoformat() if key.revoke_time else None,
        "note": key.note,
    }


def _names(_context: typer.Context) -> list[tuple[str, str]]:
    """Completes the name of a key that is not revoked."""
    try:
        with _api_keys() as (api_keys, _):
            return [(key.id, key.note) for key in api_keys.list(Call()) if not key.revoke_time]
    except (OperatorError, PortalError, OSError):
        return []


@keys.command(cls=LocalCommand, examples=("portal keys revoke 3fR0aQ2x",))
@one_line_errors
def revoke(
    name: Annotated[
        str, typer.Argument(help="Name of the key, from `keys list`.", autocompletion=_names)
    ],
) -> None:
    """Revoke an API key: calls with it are rejected from now on."""
    with _api_keys() as (api_keys, database):
        if not api_keys.revoke(_command("keys revoke"), name):
            raise OperatorError(f"no active key named {name} in {database}")
        typer.echo(f"portal: revoked the key {name} in {database}", err=True)


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
    from portal_server.storage.sql import schema
    from portal_server.storage.sql.engine import overwrite_deleted
    from portal_server.storage.sql.first_connection import open_connected
    from portal_server.storage.store import Store
    from portal_server.storage.stored_secrets import require_keys

    settings = load_settings()
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


@contextmanager
def _api_keys() -> "Iterator[tuple[ApiKeys, str]]":
    """The API keys in the database, and its name. It must exist: servers create theirs."""
    settings = load_settings()
    from portal_server.catalog.api_keys import ApiKeys
    from portal_server.storage.sql import schema
    from portal_server.storage.sql.first_connection import open_connected
    from portal_server.storage.store import Store

    database = _named(settings)
    url = settings.database
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
        raise OperatorError(
            f"no database {database}: set PORTAL_DATABASE_URL to the database of the server"
        )
    engine = open_connected(url)
    try:
        schema.require_known(engine)
    except schema.SchemaMismatch as error:
        raise OperatorError(f"{database}: {error}") from None
    store = Store(engine)
    try:
        yield ApiKeys(store), database
    finally:
        store.close()


def _named(settings: "Settings") -> str:
    """The database for people: the path of a file, or a URL without its password."""
    url = settings.database
    if url.get_backend_name() == "sqlite":
        return str(Path(url.database or "").absolute())
    return url.set(drivername="postgresql").render_as_string(hide_password=True)


if __name__ == "__main__":
    app()

"""Checks whether the rows of a database are consistent, beyond what the database ensures.

A damaged disk, a file that was copied while in use or a statement that a person ran can break
what the server relies on. Each problem is a sentence without a secret.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine, Table, func, select
from sqlmodel import SQLModel

from portal_server.domain.errors import OperatorError, Precondition
from portal_server.domain.fields import Sealed
from portal_server.storage import transaction  # noqa: F401 - fills the metadata
from portal_server.storage.backup.rows import rows_of
from portal_server.storage.encryption import ENCRYPTED, KEY_ID_DIGITS, Vault, secret_columns_of
from portal_server.storage.sql import dialects, schema
from portal_server.storage.sql.failures import translated
from portal_server.storage.sql.types import SecretText

Row = dict[str, Any]
RowCheck = Callable[[Row], str | None]
"""What is wrong with a row, or None."""

_BATCH = 1000
_KEY_ID = slice(len(ENCRYPTED), len(ENCRYPTED) + KEY_ID_DIGITS)


def problems(engine: Engine, vault: Vault, checks: Mapping[str, RowCheck]) -> Iterator[str]:
    """Check everything, in one snapshot; `checks` has a further check for rows of some tables.

    Raises:
        PortalError: the storage failed.
    """
    with translated(), engine.connect() as connection:
        found = schema.revision_of(connection)
        if found != schema.HEAD:
            yield _schema_problem(found)
            return
        connection.exec_driver_sql(dialects.of(engine.dialect).begin_read)
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        rows = rows_of(connection)
        if damage := list(rows.damage()):
            # What else could be read is not reliable.
            yield from damage
            return
        yield from _differences(connection)
        yield from rows.broken_references()
        yield from _other_providers(connection)
        for table in SQLModel.metadata.sorted_tables:
            yield from _repeated_uids(connection, table)
            last = rows.last_id(table)
            if "id" in table.c and _is_behind(last, connection.scalar(func.max(table.c.id))):
                yield f"{table.name}: the sequence of ids is at {last}, below the largest id"
            check = checks.get(table.name, lambda _: None)
            yield from _unreadable(connection, table, vault, check)
        connection.exec_driver_sql("COMMIT")


def _schema_problem(found: str | None) -> str:
    if found is None or found in schema.REVISIONS:
        has = f"schema {found}" if found else "no schema"
        return f"the database has {has}, not {schema.HEAD}: run `portal migrate`"
    return f"the database has schema {found}: check it with the version that has this schema"


def _differences(connection: Connection) -> Iterator[str]:
    """Tables, columns and indexes that are not those of this version."""
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    for difference in compare_metadata(context, SQLModel.metadata):
        change = difference[0] if isinstance(difference, list) else difference
        kind, *what = change
        names = ".".join(str(getattr(part, "name", part)) for part in what if part is not None)
        yield f"the schema differs from that of this version: {kind} {names}"


def _other_providers(connection: Connection) -> Iterator[str]:
    tables = SQLModel.metadata.tables
    client, client_type = tables["client"], tables["client_type"]
    query = select(func.count(), func.min(client.c.id)).select_from(
        client.join(client_type, client.c.client_type_id == client_type.c.id)
    )
    count, first = connection.execute(
        query.where(client.c.provider_id != client_type.c.provider_id)
    ).one()
    if count:
        yield f"client: {count} rows have a client type of another provider, such as id {first}"


def _repeated_uids(connection: Connection, table: Table) -> Iterator[str]:
    if not any(index.unique and index.columns.keys() == ["uid"] for index in table.indexes):
        return
    query = select(table.c.uid).group_by(table.c.uid).having(func.count() > 1).limit(10)
    for uid in connection.scalars(query):
        yield f"{table.name}: several rows have the uid {uid}"


def _is_behind(last: int | None, largest: int | None) -> bool:
    return largest is not None and (last is None or last < largest)


def _unreadable(
    connection: Connection, table: Table, vault: Vault, check: RowCheck
) -> Iterator[str]:
    """Values that are not of the type of their column, and secrets that cannot be decrypted."""
    columns = secret_columns_of(table)
    key = [column.name for column in table.primary_key]
    dialect = connection.dialect
    conversions = {
        column.name: convert
        for column in table.c
        if (convert := column.type.dialect_impl(dialect).result_processor(dialect, None))
        and not isinstance(column.type, SecretText)
    }
    missing: Counter[tuple[str, str]] = Counter()
    query = select(*table.c).order_by(*table.primary_key).compile(dialect=dialect)
    found = connection.exec_driver_sql(
        str(query), execution_options={"stream_results": True, "yield_per": _BATCH}
    )
    names = table.c.keys()
    for values in found:
        row = dict(zip(names, values, strict=True))
        where = f"{table.name} {' '.join(str(row[name]) for name in key)}"
        for name, convert in conversions.items():
            try:
                row[name] = convert(row[name])
            except (ValueError, TypeError, LookupError):
                yield f"{where}: {name} has a value that this version does not know"
        for name, secret_column in columns.items():
            secret = row[name]
            if secret and not secret.startswith(ENCRYPTED):
                yield f"{where}: {name} is not encrypted: run `portal encryption rotate`"
                continue
            try:
                vault.open(secret_column, row["uid"], Sealed(secret))
            except Precondition:
                missing[name, secret[_KEY_ID]] += 1
            except OperatorError as error:
                yield str(error)
        if problem := check(row):
            yield f"{where}: {problem}"
    for (name, id_), count in missing.items():
        yield f"{table.name}.{name}: {count} secrets need the key {id_}, which is not given"

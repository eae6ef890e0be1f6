"""Which keys the secrets of a database need, for any schema: checked at startup."""

from collections.abc import Iterator

from sqlalchemy import Connection, Engine, String, column, func, inspect, select
from sqlalchemy import table as sql_table
from sqlmodel import SQLModel

from portal_server.domain.errors import OperatorError
from portal_server.storage import transaction  # noqa: F401 - fills the metadata
from portal_server.storage.encryption import ENCRYPTED, KEY_ID_DIGITS, Vault
from portal_server.storage.sql.failures import translated
from portal_server.storage.sql.types import SecretText

_BEGIN = len(ENCRYPTED) + KEY_ID_DIGITS + 1


class KeyMissing(OperatorError):
    """The database has secrets that none of the encryption keys can decrypt."""


def require_keys(engine: Engine, vault: Vault) -> None:
    """Accept a database whose secrets the keys of this vault can decrypt.

    Raises:
        KeyMissing: there is no key, or not the one of a secret.
        PortalError: the storage failed.
    """
    if id_ := unknown_key(engine, vault):
        raise KeyMissing(
            f"the database has secrets that are encrypted with the key {id_}, which is not in"
            " PORTAL_ENCRYPTION_KEYS or the file PORTAL_ENCRYPTION_KEYS_FILE"
        )
    if not vault and _has_secrets(engine):
        raise KeyMissing(
            "the database has secrets, but there is no encryption key: set PORTAL_ENCRYPTION_KEYS"
            " or PORTAL_ENCRYPTION_KEYS_FILE; `portal encryption new-key` prints a new key"
        )


def unknown_key(engine: Engine, vault: Vault) -> str | None:
    """The id of a key that has encrypted a secret and is not in this vault.

    Raises: PortalError (the storage failed).
    """
    with translated(), engine.connect() as connection:
        for table, name in _columns(connection):
            secret = column(name, String)
            begin = func.substr(secret, 1, _BEGIN)
            query = select(begin).select_from(sql_table(table, secret)).limit(1)
            encrypted = func.substr(secret, 1, len(ENCRYPTED)) == ENCRYPTED
            found = connection.scalar(query.where(encrypted, begin.not_in(vault.begins)))
            if found:
                return str(found).removeprefix(ENCRYPTED).rstrip(":")
    return None


def _has_secrets(engine: Engine) -> bool:
    with translated(), engine.connect() as connection:
        for table, name in _columns(connection):
            secret = column(name, String)
            query = select(secret).select_from(sql_table(table, secret)).where(secret != "")
            if connection.scalar(query.limit(1)):
                return True
    return False


def _columns(connection: Connection) -> Iterator[tuple[str, str]]:
    """Table and name of each column with secrets that the database has."""
    found = inspect(connection)
    for table in SQLModel.metadata.sorted_tables:
        ours = [each.name for each in table.c if isinstance(each.type, SecretText)]
        if ours and found.has_table(table.name):
            theirs = {each["name"] for each in found.get_columns(table.name)}
            yield from ((table.name, name) for name in ours if name in theirs)

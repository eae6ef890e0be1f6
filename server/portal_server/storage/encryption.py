"""Encrypts secrets with AES-256-GCM (NIST SP 800-38D), each for one column of one row.

A stored secret is `enc:v1:<key id>:<base64 of nonce and ciphertext>`. The key id is
derived from the key. The column and the uid of the row are authenticated with it, so
that a copy in another column or row is rejected. Stored text without the prefix was
written by a version without encryption.
"""

import base64
import binascii
import secrets
from collections.abc import Mapping, Sequence
from enum import StrEnum
from hashlib import blake2b
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Table

from portal_server.domain.errors import OperatorError, Precondition, Reason
from portal_server.domain.fields import Sealed
from portal_server.storage.sql.types import SecretText

KEY_BYTES = 32
ENCRYPTED = "enc:v1:"
"""How each encrypted secret begins."""
KEY_ID_DIGITS = 8

_NONCE_BYTES = 12


class SecretColumn(StrEnum):
    """The columns with secrets, as table and column. Stored secrets depend on these texts."""

    PROVIDER_TOKEN = "provider.registration_access_token"  # noqa: S105 - a column
    PROVIDER_CLIENT_SECRET = "provider.credential_client_secret"  # noqa: S105
    CLIENT_SECRET = "client.client_secret"  # noqa: S105
    CLIENT_SECRET_DIGEST = "client.client_secret_digest"  # noqa: S105
    CLIENT_TOKEN = "client.registration_access_token"  # noqa: S105


class SecretNotReadable(OperatorError):
    """A stored secret was changed, or copied from another row. The text has no secret."""


class Vault:
    """Seals and opens secrets. The first key encrypts, all decrypt."""

    def __init__(self, keys: Sequence[bytes] = ()) -> None:
        """Each key has `KEY_BYTES` bytes. Without keys only "" can be stored."""
        self._keys = {key_id(key): AESGCM(key) for key in keys}
        self.begins = tuple(f"{ENCRYPTED}{id_}:" for id_ in self._keys)
        """The prefix of the secrets of each key, in the order of the keys."""

    def __bool__(self) -> bool:
        """Whether there is a key."""
        return bool(self._keys)

    def seal(self, column: SecretColumn, uid: str, text: str) -> Sealed:
        """Encrypt a secret of the row with this uid; "" stays "".

        Raises:
            Precondition: there is no key.
        """
        if not text:
            return Sealed()
        for id_, key in self._keys.items():
            nonce = secrets.token_bytes(_NONCE_BYTES)
            sealed = nonce + key.encrypt(nonce, text.encode(), _bound_to(column, uid))
            return Sealed(f"{ENCRYPTED}{id_}:{base64.b64encode(sealed).decode()}")
        text = "the server has no encryption key, so it stores no secrets; set"
        raise Precondition(Reason.NO_ENCRYPTION_KEY, f"{text} PORTAL_ENCRYPTION_KEYS")

    def open(self, column: SecretColumn, uid: str, secret: str) -> str:
        """The text of a secret; a secret that is not `Sealed` is returned unchanged.

        Raises:
            Precondition: it is encrypted with a key that this vault does not have.
            SecretNotReadable: it was changed, or belongs to another column or row.
        """
        if not isinstance(secret, Sealed) or not secret.startswith(ENCRYPTED):
            return str(secret)
        id_, _, encoded = secret.removeprefix(ENCRYPTED).partition(":")
        key = self._keys.get(id_)
        if key is None:
            raise Precondition(
                Reason.NO_ENCRYPTION_KEY,
                f"a secret is encrypted with the key {id_[:16]}, which the server does not have;"
                " add it to PORTAL_ENCRYPTION_KEYS",
            )
        try:
            sealed = base64.b64decode(encoded, validate=True)
            nonce, text = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
            return key.decrypt(nonce, text, _bound_to(column, uid)).decode()
        except (InvalidTag, ValueError):
            problem = "was changed or copied from another row: write it again"
            raise SecretNotReadable(f"{column} of {uid} {problem}") from None

    def stored(self, column: SecretColumn, uid: str, secret: str) -> Sealed:
        """A secret as it is stored in the row with this uid; a secret of the row stays unchanged.

        Raises:
            Precondition, SecretNotReadable: as `seal` and `open`.
        """
        if isinstance(secret, Sealed) and secret.startswith(ENCRYPTED):
            self.open(column, uid, secret)  # rejects one of another row
            return secret
        return self.seal(column, uid, secret)


class Secrets:
    """The secrets in the rows of one table."""

    def __init__(self, table: Table, vault: Vault) -> None:
        self._vault = vault
        self._columns = secret_columns_of(table)

    def sealed(self, uid: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values of a row with its secrets as they are stored. Raises: as `Vault.stored`."""
        return {
            **values,
            **{
                name: self._vault.stored(column, uid, values[name])
                for name, column in self._columns.items()
            },
        }


def secret_columns_of(table: Table) -> dict[str, SecretColumn]:
    """The columns of a table with secrets, by name."""
    return {
        column.name: SecretColumn(column.type.column)
        for column in table.c
        if isinstance(column.type, SecretText)
    }


def key_id(key: bytes) -> str:
    """The id of a key, which reveals nothing about the key."""
    return blake2b(key, digest_size=KEY_ID_DIGITS // 2, person=b"portal-key-id").hexdigest()


def new_key() -> str:
    """A new key, in base64."""
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def parse_key(text: str) -> bytes:
    """A key from its base64 (RFC 4648, section 4 or 5).

    Raises:
        ValueError: it is not a key. The text contains no part of it.
    """
    try:
        key = base64.b64decode(text.translate(str.maketrans("-_", "+/")), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise ValueError(f"is not the base64 of {KEY_BYTES} bytes")
    return key


def _bound_to(column: SecretColumn, uid: str) -> bytes:
    return f"{column} {uid}".encode()

"""API keys: their format, their stored form, and their roles.

A key is `oap_<id of 8 characters>_<secret of 32 characters>`, in base 62. The prefix
is for secret scanners, the id for finding the row, and the secret has 190 random bits.
Only the SHA-256 of a key is stored: a slow hash protects passwords that people choose,
but here it would only let attackers use up the CPU.
"""

import hmac
import re
import secrets
import string
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from hashlib import sha256

from portal_server.domain.errors import Forbidden, Reason

_ALPHABET = string.ascii_letters + string.digits
_KEY = re.compile(r"oap_([A-Za-z0-9]{8})_[A-Za-z0-9]{32}")


class Role(StrEnum):
    """What the holder of a key may do."""

    ADMIN = "admin"
    """Everything."""
    VIEWER = "viewer"
    """Get and List."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key as it is stored. Times are UTC; `revoke_time` is None while it is valid."""

    key_id: str
    digest: bytes = field(repr=False)
    role: Role
    note: str
    create_time: datetime
    revoke_time: datetime | None


@dataclass(frozen=True, slots=True)
class Caller:
    """The sender of a call: the id of the API key, never the key, and its role."""

    key_id: str
    role: Role

    def require(self, *, write: bool) -> None:
        """Accept a call that writes, or one that only reads.

        Raises:
            Forbidden: the role does not allow it.
        """
        if write and self.role is not Role.ADMIN:
            text = f"an API key with the role {self.role} may not write"
            raise Forbidden(Reason.ROLE_NOT_ALLOWED, text)


SYSTEM = Caller("", Role.ADMIN)
"""The portal itself: its background tasks, and its commands on the database."""


def generate() -> tuple[str, str]:
    """Generate a key; returns its id and its text. The text is a secret."""
    key_id, secret = (
        "".join(secrets.choice(_ALPHABET) for _ in range(length)) for length in (8, 32)
    )
    return key_id, f"oap_{key_id}_{secret}"


def key_id_of(text: str) -> str | None:
    """The id in a key's text, or None if the text is not a key."""
    match = _KEY.fullmatch(text)
    return match and match[1]


def digest(text: str) -> bytes:
    """The stored form of a key's text."""
    return sha256(text.encode()).digest()


def matches(given: bytes, stored: bytes) -> bool:
    """Whether two digests are the same; takes the same time either way."""
    return hmac.compare_digest(given, stored)

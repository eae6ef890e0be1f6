"""API keys: what one looks like, what is kept of it, what it may do.

A key is `oap_<8 characters that name it>_<32 characters that are the secret>`,
all base 62: the prefix is for secret scanners, the name for finding the row,
the 190 random bits for security. Only its SHA-256 is kept: a slow hash guards
words that people choose, and would here only let strangers burn CPU.
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
    """What a key may do."""

    ADMIN = "admin"
    """Everything."""
    VIEWER = "viewer"
    """Get and List."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key as it is kept. Times are UTC; `revoke_time` is None while it is good."""

    key_id: str
    digest: bytes = field(repr=False)
    role: Role
    note: str
    create_time: datetime
    revoke_time: datetime | None


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a call: the name of the key, never the key, and its role."""

    key_id: str
    role: Role

    def require(self, *, write: bool) -> None:
        """Accept a call that writes, or one that only reads.

        Raises:
            Forbidden: the role does not allow it.
        """
        if write and self.role is not Role.ADMIN:
            text = f"a key with the role {self.role} may not write"
            raise Forbidden(Reason.ROLE_NOT_ALLOWED, text)


def generate() -> tuple[str, str]:
    """Make a key; returns its name and its text. The text is a secret."""
    key_id, secret = (
        "".join(secrets.choice(_ALPHABET) for _ in range(length)) for length in (8, 32)
    )
    return key_id, f"oap_{key_id}_{secret}"


def key_id_of(text: str) -> str | None:
    """The name in a key's text, or None where the text is no key."""
    match = _KEY.fullmatch(text)
    return match and match[1]


def digest(text: str) -> bytes:
    """What is kept of a key's text."""
    return sha256(text.encode()).digest()


def matches(text: str, kept: bytes) -> bool:
    """Whether a text is the key that is kept; takes the same time either way."""
    return hmac.compare_digest(digest(text), kept)

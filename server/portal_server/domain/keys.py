"""API keys: their text, their roles, and who a caller is.

An API key is `oap_<id of 8 characters>_<secret of 32 characters><checksum of 6 characters>`,
in base 62. The prefix is for secret scanners, the id for finding the row, and the secret has
190 random bits. The checksum is the CRC-32 of all characters before it: a mistyped key is
rejected without a query. Keys that earlier versions created have no checksum.

Only the SHA-256 of a key is stored: a slow hash protects passwords that people choose,
but here it would only let attackers use up the CPU.
"""

import hmac
import re
import secrets
import string
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from zlib import crc32

from portal_server.domain.errors import Forbidden, Reason

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_ID, _SECRET, _CHECKSUM = 8, 32, 6
_KEY_ID = re.compile(rf"[A-Za-z0-9]{{{_ID}}}")
_KEY = re.compile(
    rf"(oap_([A-Za-z0-9]{{{_ID}}})_[A-Za-z0-9]{{{_SECRET}}})([A-Za-z0-9]{{{_CHECKSUM}}})?"
)


MAX_PROVIDERS = 100
"""To how many providers a key may be limited."""


class Role(StrEnum):
    """What the holder of a key may do: each role may do what those before it may."""

    VIEWER = "viewer"
    """Read."""
    REGISTRAR = "registrar"
    """Register, change and delete clients."""
    EDITOR = "editor"
    """Write providers and client types."""
    ADMIN = "admin"
    """Everything."""


_RANKS = {role: rank for rank, role in enumerate(Role)}


@dataclass(frozen=True, slots=True)
class Caller:
    """The sender of a call: the id of the API key, never the key, and what it may do.

    It may use the providers with the ids `provider_ids`, or all if there are none. It has the
    limits of the settings unless it has its own.
    """

    key_id: str
    role: Role
    expire_time: datetime | None = None
    provider_ids: frozenset[int] = frozenset()
    requests_per_second: int | None = None
    burst: int | None = None

    def require(self, needed: Role) -> None:
        """Accept a call that needs this role.

        Raises:
            Forbidden: the role does not include it.
        """
        if _RANKS[self.role] < _RANKS[needed]:
            text = f"this needs the role {needed}; the API key has the role {self.role}"
            raise Forbidden(Reason.ROLE_NOT_ALLOWED, text)

    def require_all_providers(self) -> None:
        """Accept a call that is not about a stored provider.

        Raises:
            Forbidden: the key is limited to some providers.
        """
        if self.provider_ids:
            text = "the API key is limited to some providers: it can neither create nor test others"
            raise Forbidden(Reason.KEY_LIMITED_TO_PROVIDERS, text)


SYSTEM = Caller("", Role.ADMIN)
"""The portal itself: its background tasks, and its commands on the database."""


def generate(key_id: str | None = None) -> tuple[str, str]:
    """Generate a key, with this id or a new one; returns its id and its text, a secret."""
    key_id = key_id or _random(_ID)
    text = f"oap_{key_id}_{_random(_SECRET)}"
    return key_id, text + _checksum(text)


def key_id_of(text: str) -> str | None:
    """The id in a key's text; None if the text is not a key, or its checksum is wrong."""
    match = _KEY.fullmatch(text)
    if match is None:
        return None
    checked, key_id, checksum = match.groups()
    return key_id if checksum in (None, _checksum(checked)) else None


def is_id(text: str) -> bool:
    """Whether a text has the form of a key's id."""
    return bool(_KEY_ID.fullmatch(text))


def digest(text: str) -> bytes:
    """The stored form of a key's text."""
    return sha256(text.encode()).digest()


def matches(given: bytes, stored: bytes) -> bool:
    """Whether two digests are the same; takes the same time either way."""
    return hmac.compare_digest(given, stored)


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _checksum(text: str) -> str:
    rest, found = crc32(text.encode()), ""
    for _ in range(_CHECKSUM):
        rest, digit = divmod(rest, len(_ALPHABET))
        found = _ALPHABET[digit] + found
    return found

"""Access tokens of an issuer (RFC 9068): which are accepted, and whose they are."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from portal_server.domain.errors import Forbidden, Reason
from portal_server.domain.keys import Caller, Role

MAX_LENGTH = 8192
"""How long a token may be."""
# Three parts in base64url (RFC 7515, section 7.1).
_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


def is_token(text: str) -> bool:
    """Whether a text has the form of a signed token."""
    return len(text) <= MAX_LENGTH and bool(_TOKEN.fullmatch(text))


@dataclass(frozen=True, slots=True)
class TokenRules:
    """Which tokens are accepted: of this issuer, for one of these audiences.

    `role_claim` is the path to the claim with roles, and `roles` maps its values.
    """

    issuer: str
    audiences: tuple[str, ...]
    role_claim: tuple[str, ...]
    roles: Mapping[str, Role]

    def caller(self, claims: Mapping[str, Any]) -> Caller:
        """Who sends a token with these claims, which are verified.

        Its id is the same for all tokens of a subject, and does not show who that is.

        Raises:
            Forbidden: the token has none of the roles.
        """
        given = self._given_roles(claims)
        order = list(Role)
        found = sorted((self.roles[name] for name in given if name in self.roles), key=order.index)
        if not found:
            text = f"the access token has no role for this portal in {'.'.join(self.role_claim)}"
            raise Forbidden(Reason.ROLE_NOT_ALLOWED, text)
        end = datetime.fromtimestamp(claims["exp"], UTC)
        return Caller(subject_id(self.issuer, claims["sub"]), found[-1], end)

    def _given_roles(self, claims: Mapping[str, Any]) -> list[str]:
        value: Any = claims
        for name in self.role_claim:
            value = value.get(name) if isinstance(value, Mapping) else None
        if isinstance(value, str):  # as in `scope` (RFC 8693, section 4.2)
            return value.split()
        return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def subject_id(issuer: str, subject: str) -> str:
    """The id of a subject in logs and audit events."""
    text = f"{issuer}\n{subject}"
    return f"jwt:{sha256(text.encode()).hexdigest()[:16]}"

"""Verifies access tokens of an issuer (RFC 9068, section 4), instead of API keys."""

import time
from typing import Any, Protocol

import jwt

from portal_server.domain.access_tokens import TokenRules
from portal_server.domain.errors import Reason, Unauthenticated, Unavailable
from portal_server.domain.keys import Caller

ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)
"""Only asymmetric ones: a symmetric one would sign with a public key (RFC 8725, section 2.1)."""
CLOCK_SKEW_S = 10
"""How much the clock of the issuer may be ahead."""
_TYPES = ("at+jwt", "application/at+jwt")
_OPTIONS: Any = {"require": ["iss", "aud", "sub", "exp", "iat"]}


class Key(Protocol):
    """A public key; `algorithm` is the only one that it is for, or ""."""

    @property
    def public_key(self) -> Any:
        """The key."""

    @property
    def algorithm(self) -> str:
        """The name of the algorithm (RFC 7518, section 3.1)."""


class Keys(Protocol):
    """The public keys of the issuer."""

    @property
    def known(self) -> bool:
        """Whether there are valid keys."""

    def find(self, key_id: str) -> Key | None:
        """The key with this `kid`; it never waits."""


class AccessTokens:
    """The access tokens of one issuer."""

    def __init__(self, rules: TokenRules, keys: Keys) -> None:
        self._rules = rules
        self._keys = keys

    def verify(self, text: str) -> tuple[Caller, float]:
        """The caller with this token, and how many seconds it is still valid.

        Raises:
            Unauthenticated: it is not a valid token.
            Unavailable: the keys of the issuer are not known yet.
            Forbidden: it is valid, and has no role for this portal.
        """
        try:
            claims = self._claims(text)
            left = claims["exp"] - time.time()
            # The skew is only for times in the future.
            if left <= 0:
                raise Unauthenticated
            return self._rules.caller(claims), left
        # A hostile header can be JSON that is nested too deeply. A signed claim can be a time
        # after the year 9999, or a text that is not Unicode.
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
            raise Unauthenticated from None

    def _claims(self, text: str) -> dict[str, Any]:
        header = jwt.get_unverified_header(text)
        if str(header.get("typ")).lower() not in _TYPES or "crit" in header:
            raise Unauthenticated
        if not self._keys.known:
            message = "the keys of the issuer of access tokens are not known; retry later"
            raise Unavailable(Reason.ISSUER_UNAVAILABLE, message)
        key_id = header.get("kid")
        key = self._keys.find(key_id) if isinstance(key_id, str) else None
        if key is None:
            raise Unauthenticated
        algorithms = [key.algorithm] if key.algorithm in ALGORITHMS else []
        claims = jwt.decode(
            text,
            key.public_key,
            algorithms=algorithms if key.algorithm else ALGORITHMS,
            issuer=self._rules.issuer,
            audience=self._rules.audiences,
            leeway=CLOCK_SKEW_S,
            options=_OPTIONS,
        )
        # With `cnf`, it is bound to a key of its client, whose proof a header would have
        # (RFC 9449, RFC 8705).
        if not claims["sub"] or "cnf" in claims:
            raise Unauthenticated
        return claims

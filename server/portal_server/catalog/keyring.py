"""Authenticates API keys. `catalog.api_keys` creates and changes them."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime

from portal_server.catalog.access_tokens import AccessTokens
from portal_server.catalog.last_uses import LastUses
from portal_server.domain import keys
from portal_server.domain.access_tokens import is_token
from portal_server.domain.calls import Call
from portal_server.domain.errors import Unauthenticated
from portal_server.domain.keys import Caller, Role
from portal_server.storage.store import Store

# Compared if the key does not exist, so that the check takes the same time.
_NO_KEY = keys.digest("")
# The admin key of the settings.
_SETTINGS = Caller("settings", Role.ADMIN)
# How long a valid key is cached. The lookup takes a fifth of a call, with PostgreSQL a third.
# `ApiKeys.revoke` waits until no server has the key in its cache.
REMEMBERED_S = 1.0
MAX_REMEMBERED = 10_000
"""How many keys are cached; 10,000 take 3 MiB."""
_NOBODY = (Caller("", Role.VIEWER), 0.0)


def text_of(authorization: Sequence[str]) -> str | None:
    """The API key in the values of the header; None if there is not exactly one value.

    A value is the key alone, or `Bearer` and the key (RFC 6750, section 2.1).
    """
    if len(authorization) != 1:
        return None
    text = authorization[0].strip()
    scheme, _, rest = text.partition(" ")
    return rest.strip() if scheme.lower() == "bearer" else text


class KeyRing:
    """The valid API keys of one portal.

    `admin_key` is the admin key of the settings, a secret. It is valid while it is set,
    and is not stored. `uses` notes when keys are used. With `tokens`, access tokens are accepted
    too, in the same header.
    """

    def __init__(
        self,
        store: Store,
        admin_key: str | None = None,
        uses: LastUses | None = None,
        tokens: AccessTokens | None = None,
    ) -> None:
        self._store = store
        self._uses = uses
        self._tokens = tokens
        self._admin_digest = keys.digest(admin_key) if admin_key else None
        # By digest: the caller, and when to look the key up again.
        self._remembered: dict[bytes, tuple[Caller, float]] = {}

    def authenticate(self, call: Call, authorization: Sequence[str]) -> Caller:
        """The caller behind the values of the `authorization` header (see `text_of`).

        Raises:
            Unauthenticated: there is not exactly one value, or it is not a valid API key.
            Unavailable, Forbidden: see `AccessTokens.verify`.
        """
        text = text_of(authorization)
        if text is None:
            raise Unauthenticated
        digest = keys.digest(text)
        if self._admin_digest and keys.matches(digest, self._admin_digest):
            return _SETTINGS
        # Before the lookup: the key may be revoked right after it.
        now = time.monotonic()
        caller, until = self._remembered.get(digest, _NOBODY)
        if now < until:
            return caller
        caller, valid_s = self._look_up(call, text, digest)
        if len(self._remembered) >= MAX_REMEMBERED:
            self._remembered.clear()
        self._remembered[digest] = caller, now + min(REMEMBERED_S, valid_s)
        return caller

    def _look_up(self, call: Call, text: str, digest: bytes) -> tuple[Caller, float]:
        """The caller with this key, and how many seconds the key is still valid."""
        key_id = keys.key_id_of(text)
        if key_id is None:
            if self._tokens and is_token(text):
                return self._tokens.verify(text)
            raise Unauthenticated
        key = self._store.read_latest(call, lambda tx: tx.api_keys.find(key_id))
        if key is None:
            keys.matches(digest, _NO_KEY)
            raise Unauthenticated
        end, now = key.end_of(digest), datetime.now(UTC)
        if end is None or end <= now:
            raise Unauthenticated
        if self._uses:
            self._uses.note(key)
        return key.caller, (end - now).total_seconds()

    def known_digests(self) -> dict[bytes, Caller]:
        """The callers with valid keys by the digests of their secrets: see `keys.digest`.

        Only to choose the queue of a call cheaply, not to authenticate it.
        """
        found = self._store.read_latest(Call(), lambda tx: tx.api_keys.all())
        now = datetime.now(UTC)
        valid = {digest: key.caller for key in found for digest in key.digests(now)}
        if self._admin_digest:
            valid[self._admin_digest] = _SETTINGS
        return valid

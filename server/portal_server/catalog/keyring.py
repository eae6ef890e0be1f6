"""API keys: creates, lists, revokes and checks them."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from portal_server.domain import keys
from portal_server.domain.calls import Call
from portal_server.domain.errors import Unauthenticated
from portal_server.domain.keys import Caller, Key, Role
from portal_server.storage.store import Store, Transaction

# Compared if the key does not exist, so that the check takes the same time.
_NO_KEY = keys.digest("")
# The id of the admin key of the settings.
_SETTINGS = "settings"
# How long a valid key is cached. The lookup takes a fifth of a call, with PostgreSQL a third.
# `revoke` waits until no server has the key in its cache.
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
    """The API keys of one portal.

    `admin_key` is the admin key of the settings, a secret. It is valid while it is set,
    and is not stored.
    """

    def __init__(self, store: Store, admin_key: str | None = None) -> None:
        self._store = store
        self._admin_digest = keys.digest(admin_key) if admin_key else None
        # By digest: the caller, and when to look the key up again.
        self._remembered: dict[bytes, tuple[Caller, float]] = {}

    def authenticate(self, call: Call, authorization: Sequence[str]) -> Caller:
        """The caller behind the values of the `authorization` header (see `text_of`).

        Raises:
            Unauthenticated: there is not exactly one value, or it is not a valid API key.
        """
        text = text_of(authorization)
        if text is None:
            raise Unauthenticated
        digest = keys.digest(text)
        if self._admin_digest and keys.matches(digest, self._admin_digest):
            return Caller(_SETTINGS, Role.ADMIN)
        # Before the lookup: the key may be revoked right after it.
        now = time.monotonic()
        caller, until = self._remembered.get(digest, _NOBODY)
        if now < until:
            return caller
        caller = self._look_up(call, text, digest)
        if len(self._remembered) >= MAX_REMEMBERED:
            self._remembered.clear()
        self._remembered[digest] = caller, now + REMEMBERED_S
        return caller

    def _look_up(self, call: Call, text: str, digest: bytes) -> Caller:
        key_id = keys.key_id_of(text)
        if key_id is None:
            raise Unauthenticated
        key = self._store.read_latest(call, lambda tx: tx.api_keys.find(key_id))
        matches = keys.matches(digest, key.digest if key else _NO_KEY)
        if key is None or not matches or key.revoke_time:
            raise Unauthenticated
        return Caller(key.key_id, key.role)

    def known_digests(self) -> dict[bytes, str]:
        """The ids of the valid keys by their digests: see `keys.digest`.

        Only to choose the queue of a call cheaply, not to authenticate it.
        """
        valid = {key.digest: key.key_id for key in self.list() if not key.revoke_time}
        if self._admin_digest:
            valid[self._admin_digest] = _SETTINGS
        return valid

    def create(self, role: Role, note: str) -> str:
        """Create a key; returns its text, a secret that cannot be read again."""
        key_id, text = keys.generate()
        key = Key(key_id, keys.digest(text), role, note, datetime.now(UTC), None)
        self._store.write(Call(), lambda tx: tx.api_keys.add(key))
        return text

    def create_first(self, note: str, keep: Callable[[str], object] = lambda _: None) -> str | None:
        """Create an admin key where there is no key yet; returns its text, or None.

        `keep` gets the text before it is stored, even if another process is first.
        """
        if self.list():
            return None
        key_id, text = keys.generate()
        key = Key(key_id, keys.digest(text), Role.ADMIN, note, datetime.now(UTC), None)

        keep(text)

        def work(tx: Transaction) -> str | None:
            tx.api_keys.lock()
            if tx.api_keys.list():
                return None
            tx.api_keys.add(key)
            return text

        return self._store.write(Call(), work)

    def list(self) -> list[Key]:
        """All keys, revoked ones too, oldest first."""
        return self._store.read_latest(Call(), lambda tx: tx.api_keys.list())

    def revoke(self, key_id: str) -> bool:
        """Revoke a key; False if there is no valid one with this id.

        When this returns, every server rejects the key: it takes REMEMBERED_S.
        """
        revoked = self._store.write(
            Call(), lambda tx: tx.api_keys.revoke(key_id, datetime.now(UTC))
        )
        if revoked:
            time.sleep(REMEMBERED_S)
        return revoked

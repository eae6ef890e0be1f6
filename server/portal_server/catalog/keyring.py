"""Who may call: makes, lists, revokes and checks API keys."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from portal_server.domain import keys
from portal_server.domain.errors import Unauthenticated
from portal_server.domain.keys import Caller, Key, Role
from portal_server.storage.store import Store, Transaction

# Compared with when there is no such key, so that the answer takes as long.
_NO_KEY = keys.digest("")
# The name of the admin key of the settings.
_SETTINGS = "settings"


def text_of(authorization: Sequence[str]) -> str | None:
    """The key's text, in the values of the header; None where there is not exactly one value.

    A value is the bare key, or `Bearer` and the key (RFC 6750, section 2.1).
    """
    if len(authorization) != 1:
        return None
    text = authorization[0].strip()
    scheme, _, rest = text.partition(" ")
    return rest.strip() if scheme.lower() == "bearer" else text


class KeyRing:
    """The keys of one portal."""

    def __init__(self, store: Store, admin_key: str | None = None) -> None:
        """Take the store that keeps them, and the admin key of the settings.

        `admin_key` is a secret. It is good as long as it is set, and is not
        stored.
        """
        self._store = store
        self._admin_digest = keys.digest(admin_key) if admin_key else None

    def authenticate(self, authorization: Sequence[str]) -> Caller:
        """The caller behind the values of the `authorization` header (see `text_of`).

        Raises:
            Unauthenticated: there is not exactly one value, or it is no good key.
        """
        text = text_of(authorization)
        if text is None:
            raise Unauthenticated
        if self._admin_digest and keys.matches(text, self._admin_digest):
            return Caller(_SETTINGS, Role.ADMIN)
        key_id = keys.key_id_of(text)
        if key_id is None:
            raise Unauthenticated
        key = self._store.read_latest(lambda tx: tx.api_keys.find(key_id))
        good = keys.matches(text, key.digest if key else _NO_KEY)
        if key is None or not good or key.revoke_time:
            raise Unauthenticated
        return Caller(key.key_id, key.role)

    def known_digests(self) -> dict[bytes, str]:
        """The digest of each good key, with the key's name: see `keys.digest`.

        For guessing cheaply whose a call is, not for letting it in.
        """
        good = {key.digest: key.key_id for key in self.list() if not key.revoke_time}
        if self._admin_digest:
            good[self._admin_digest] = _SETTINGS
        return good

    def create(self, role: Role, note: str) -> str:
        """Make a key; returns its text, a secret that cannot be had again."""
        key_id, text = keys.generate()
        key = Key(key_id, keys.digest(text), role, note, datetime.now(UTC), None)
        self._store.write(lambda tx: tx.api_keys.add(key))
        return text

    def create_first(self, note: str, keep: Callable[[str], object] = lambda _: None) -> str | None:
        """Make an admin key where there is no key at all; returns its text, or None.

        `keep` gets the text before it is stored. Another process may be first even so.
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

        return self._store.write(work)

    def list(self) -> list[Key]:
        """All keys, revoked ones too, oldest first."""
        return self._store.read_latest(lambda tx: tx.api_keys.list())

    def revoke(self, key_id: str) -> bool:
        """Revoke a key; False when there is no good one of this name."""
        return self._store.write(lambda tx: tx.api_keys.revoke(key_id, datetime.now(UTC)))

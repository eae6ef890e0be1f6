"""The use cases of API keys. `catalog.keyring` authenticates them."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

from portal_server.catalog.keyring import REMEMBERED_S
from portal_server.catalog.updates import now
from portal_server.domain import keys
from portal_server.domain.api_key import API_KEY, ApiKey, ApiKeyDraft, check_api_key
from portal_server.domain.calls import Call
from portal_server.domain.errors import Rule, Violation
from portal_server.domain.fields import Unknown, values_of
from portal_server.domain.keys import Role
from portal_server.storage.store import Store, Transaction


@dataclass(frozen=True, slots=True)
class NewSecret:
    """An API key with a new secret: `text` is the whole key, which cannot be read again."""

    key: ApiKey
    text: str = field(repr=False)


class ApiKeys:
    """The API keys of one portal."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def create(self, call: Call, draft: ApiKeyDraft) -> NewSecret:
        """Create an API key. Raises: Invalid."""
        made = _made(draft)
        self._store.write(call, lambda tx: _add(tx, call, made.key))
        return made

    def create_first(
        self, call: Call, note: str, keep: Callable[[str], object] = lambda _: None
    ) -> str | None:
        """Create an admin key where there is no key yet; returns its text, or None.

        `keep` gets the text before it is stored, even if another process is first.
        """
        if self.list(call):
            return None
        made = _made(ApiKeyDraft(role=Role.ADMIN, note=note))
        keep(made.text)

        def work(tx: Transaction) -> str | None:
            tx.api_keys.lock()
            if tx.api_keys.list():
                return None
            _add(tx, call, made.key)
            return made.text

        return self._store.write(call, work)

    def list(self, call: Call) -> list[ApiKey]:
        """All API keys, revoked ones too, oldest first."""
        return self._store.read_latest(call, lambda tx: tx.api_keys.list())

    def revoke(self, call: Call, key_id: str) -> bool:
        """Revoke an API key; False if there is no valid one with this id.

        When this returns, every server rejects the key: it takes REMEMBERED_S.
        """

        def work(tx: Transaction) -> bool:
            present = now()
            key = tx.api_keys.find(key_id)
            if key is None or not tx.api_keys.revoke(key_id, present):
                return False
            tx.audit.add(call, key, replace(key, revoke_time=present))
            return True

        revoked = self._store.write(call, work)
        if revoked:
            time.sleep(REMEMBERED_S)
        return revoked


def _add(tx: Transaction, call: Call, key: ApiKey) -> None:
    tx.api_keys.add(key)
    tx.audit.add(call, None, key)


def _made(draft: ApiKeyDraft) -> NewSecret:
    """A new key. Raises: Invalid."""
    present = now()
    spec = check_api_key(draft, _past(draft.expire_time, present))
    key_id, text = keys.generate()
    key = ApiKey(
        **values_of(spec, API_KEY),
        id=key_id,
        digest=keys.digest(text),
        create_time=present,
        update_time=present,
    )
    return NewSecret(key, text)


def _past(time: datetime | Unknown | None, present: datetime) -> list[Violation]:
    """The violation of an `expire_time` that is not in the future."""
    if not isinstance(time, datetime) or time > present:
        return []
    return [Violation("expire_time", Rule.OUT_OF_RANGE, "must be in the future")]

"""The use cases of API keys. `catalog.keyring` authenticates them.

Servers cache a valid key for `REMEMBERED_S`. Each change of a key waits that long, so that all
servers apply it when the call returns.
"""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from portal_server.catalog.idempotency import Idempotency
from portal_server.catalog.keyring import REMEMBERED_S
from portal_server.catalog.updates import Change, Etags, merged, now, now_after, require_etag
from portal_server.domain import keys
from portal_server.domain.api_key import (
    API_KEY,
    MAX_OVERLAP,
    MAX_PREVIOUS_SECRETS,
    ApiKey,
    ApiKeyDraft,
    PreviousSecret,
    check_api_key,
)
from portal_server.domain.calls import Call
from portal_server.domain.errors import (
    Invalid,
    NotFound,
    Precondition,
    Reason,
    Resource,
    Rule,
    Violation,
)
from portal_server.domain.fields import Unknown, quote, values_of
from portal_server.domain.keys import Role
from portal_server.storage.store import Store, Transaction


@dataclass(frozen=True, slots=True)
class NewSecret:
    """An API key with a new secret.

    `text` is the whole key, which cannot be read again; empty in the response to a retry.
    """

    api_key: ApiKey
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Rotation:
    """How a key is rotated: how long its secret stays valid, and the new expiry, if any."""

    overlap_s: float = 0.0
    expire_time: datetime | Unknown | None = None
    etags: Etags = None


@dataclass(frozen=True, slots=True)
class ApiKeyPage:
    """Some keys, and whether there are more."""

    items: list[ApiKey]
    more: bool


class ApiKeys:
    """The API keys of one portal."""

    def __init__(self, store: Store, idempotency: Idempotency | None = None) -> None:
        self._store = store
        self._idempotency = idempotency or Idempotency(store)

    def create(self, call: Call, draft: ApiKeyDraft) -> NewSecret:
        """Create an API key. Raises: Invalid."""
        made = _made(draft)

        def work(tx: Transaction) -> ApiKey:
            _require_providers(tx, made.api_key.provider_ids)
            return _added(tx, call, made.api_key)

        return _new(self._idempotency.write(call, work, ApiKey), made.text)

    def create_first(
        self, call: Call, note: str, keep: Callable[[str], object] = lambda _: None
    ) -> str | None:
        """Create an admin key where there is no key yet; returns its text, or None.

        `keep` gets the text before it is stored, even if another process is first.
        """
        if self.page(call, 0, 1).items:
            return None
        made = _made(ApiKeyDraft(role=Role.ADMIN, note=note))
        keep(made.text)

        def work(tx: Transaction) -> str | None:
            tx.api_keys.lock()
            if tx.api_keys.page(0, 1):
                return None
            _added(tx, call, made.api_key)
            return made.text

        return self._store.write(call, work)

    def get(self, call: Call, key_id: str) -> ApiKey:
        """Get an API key. Raises: NotFound."""
        _require_id(key_id)
        found = self._store.read_latest(call, lambda tx: tx.api_keys.find(key_id))
        if found is None:
            raise NotFound(Resource.API_KEY, key_id)
        return found

    def page(self, call: Call, offset: int, limit: int) -> ApiKeyPage:
        """Some API keys, revoked ones too, oldest first."""
        found = self._store.read_latest(call, lambda tx: tx.api_keys.page(offset, limit + 1))
        return ApiKeyPage(found[:limit], len(found) > limit)

    def update(self, call: Call, key_id: str, change: Change[ApiKeyDraft]) -> ApiKey:
        """Write fields of an API key; a change without fields writes nothing.

        Raises: NotFound, Aborted (another etag), Invalid, Precondition (it is revoked).
        """
        _require_id(key_id)

        def work(tx: Transaction) -> ApiKey:
            stored = tx.api_keys.get(key_id)
            require_etag(stored, change.etags)
            if not change.fields:
                return stored
            _require_not_revoked(stored)
            draft = merged(stored, change)
            others = _past(draft.expire_time) if "expire_time" in change.fields else ()
            spec = check_api_key(draft, others)
            if "provider_ids" in change.fields:
                _require_providers(tx, spec.provider_ids)
            changed = replace(stored, **values_of(spec, API_KEY))
            return _saved(tx, call, stored, changed)

        return self._changed(call, work)

    def rotate(self, call: Call, key_id: str, rotation: Rotation) -> NewSecret:
        """Give an API key a new secret; the current one stays valid for a time.

        Raises: NotFound, Aborted (another etag), Invalid, Precondition (it is revoked or has
        expired, or too many of its previous secrets are valid).
        """
        _require_id(key_id)
        overlap = _overlap(rotation)
        _, text = keys.generate(key_id)

        def work(tx: Transaction) -> ApiKey:
            stored = tx.api_keys.get(key_id)
            require_etag(stored, rotation.etags)
            _require_not_revoked(stored)
            present = now()
            end = stored.expire_time
            if end and end <= present:
                raise _wrong_state(stored, "has expired; create another one")
            valid = [one for one in stored.previous_secrets if one.expire_time > present]
            if overlap:
                until = min(present + overlap, end) if end else present + overlap
                valid.append(PreviousSecret(digest=stored.digest, expire_time=until))
            if len(valid) > MAX_PREVIOUS_SECRETS:
                problem = f"has {MAX_PREVIOUS_SECRETS} valid previous secrets; use no overlap"
                raise _wrong_state(stored, problem)
            expire_time = rotation.expire_time or end
            draft = merged(stored, Change(ApiKeyDraft(expire_time=expire_time), ("expire_time",)))
            spec = check_api_key(draft)
            changed = replace(
                stored,
                **values_of(spec, API_KEY),
                digest=keys.digest(text),
                previous_secrets=tuple(valid),
            )
            return _saved(tx, call, stored, changed)

        return _new(self._changed(call, work), text)

    def revoke(self, call: Call, key_id: str, etags: Etags = None) -> ApiKey:
        """Revoke an API key; one that is revoked already stays as it is.

        Raises: NotFound, Aborted (another etag).
        """
        _require_id(key_id)

        def work(tx: Transaction) -> ApiKey:
            stored = tx.api_keys.get(key_id)
            require_etag(stored, etags)
            if stored.revoke_time:
                return stored
            return _saved(tx, call, stored, replace(stored, revoke_time=now()))

        return self._changed(call, work)

    def _changed(self, call: Call, work: Callable[[Transaction], ApiKey]) -> ApiKey:
        key = self._idempotency.write(call, work, ApiKey)
        time.sleep(REMEMBERED_S)
        return key


def _made(draft: ApiKeyDraft) -> NewSecret:
    """A new key. Raises: Invalid."""
    spec = check_api_key(draft, _past(draft.expire_time))
    key_id, text = keys.generate()
    present = now()
    key = ApiKey(
        **values_of(spec, API_KEY),
        id=key_id,
        digest=keys.digest(text),
        create_time=present,
        update_time=present,
    )
    return NewSecret(key, text)


def _new(key: ApiKey, text: str) -> NewSecret:
    """The key with its text, if it was written now: the result of a retry has no digest."""
    return NewSecret(key, text if key.digest == keys.digest(text) else "")


def _require_id(key_id: str) -> None:
    """Accept a text that may be the id of a key. Raises: NotFound."""
    if not keys.is_id(key_id):
        raise NotFound(Resource.API_KEY, quote(key_id))


def _added(tx: Transaction, call: Call, key: ApiKey) -> ApiKey:
    tx.api_keys.add(key)
    tx.audit.add(call, None, key)
    return key


def _saved(tx: Transaction, call: Call, stored: ApiKey, key: ApiKey) -> ApiKey:
    saved = replace(key, update_time=now_after(key.update_time))
    tx.api_keys.save(saved)
    tx.audit.add(call, stored, saved)
    return saved


def _require_providers(tx: Transaction, ids: Collection[int]) -> None:
    """Accept ids of stored providers. Raises: Invalid."""
    for id_ in ids:
        try:
            tx.providers.get(id_)
        except NotFound as error:
            raise Invalid(Violation("provider_ids", Rule.UNKNOWN_VALUE, error.message)) from None


def _require_not_revoked(key: ApiKey) -> None:
    if key.revoke_time:
        raise _wrong_state(key, "is revoked")


def _wrong_state(key: ApiKey, text: str) -> Precondition:
    return Precondition(Reason.API_KEY_STATE, f"the API key {key.id} {text}")


def _past(time: datetime | Unknown | None) -> list[Violation]:
    """The violation of an `expire_time` that is not in the future."""
    if not isinstance(time, datetime) or time > now():
        return []
    return [Violation("expire_time", Rule.OUT_OF_RANGE, "must be in the future")]


def _overlap(rotation: Rotation) -> timedelta:
    """How long the current secret stays valid. Raises: Invalid."""
    violations = _past(rotation.expire_time)
    if not 0 <= rotation.overlap_s <= MAX_OVERLAP.total_seconds():
        text = f"must be from 0 seconds to {MAX_OVERLAP.days} days"
        violations.append(Violation("overlap", Rule.OUT_OF_RANGE, text))
    if violations:
        raise Invalid(*violations)
    return timedelta(seconds=rotation.overlap_s)

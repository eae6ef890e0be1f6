"""Audit events: who changed what, and the seals that put them into their final order.

docs/audit.md explains the order and the seals.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any, NamedTuple, Protocol

from pydantic import TypeAdapter, ValidationError

from portal_server.domain.api_key import ApiKey
from portal_server.domain.calls import Call
from portal_server.domain.client import Client, ClientState
from portal_server.domain.client_type import ClientType
from portal_server.domain.lists import Comparison, Condition
from portal_server.domain.provider import Provider

MAX_EVENT_ID = 2**62
"""Far above the ID of any event."""
GENESIS = "0" * 64
"""The hash before the first seal."""


class AuditKind(StrEnum):
    """What an event is about."""

    PROVIDER = "provider"
    CLIENT_TYPE = "client_type"
    CLIENT = "client"
    API_KEY = "api_key"
    DATABASE = "database"


class AuditAction(StrEnum):
    """What was done; MAINTAIN is a command on the database."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    MAINTAIN = "maintain"


class AuditOutcome(StrEnum):
    """What was known of the write when its event was stored."""

    DONE = "done"
    PENDING = "pending"
    """A call to the provider follows."""
    UNKNOWN = "unknown"
    """It is not known whether the provider did it."""
    FAILED = "failed"
    """It was undone, because the provider did not do it."""


class ResourceKind(StrEnum):
    """The kinds of resources whose changes are streamed."""

    PROVIDER = AuditKind.PROVIDER
    CLIENT_TYPE = AuditKind.CLIENT_TYPE
    CLIENT = AuditKind.CLIENT


class ChangeType(StrEnum):
    """What was done with a resource, as a stream of changes has it."""

    CREATED = AuditAction.CREATE
    UPDATED = AuditAction.UPDATE
    DELETED = AuditAction.DELETE


class Resource(Protocol):
    """A stored resource with an event."""

    @property
    def etag(self) -> str:
        """The entity tag."""

    def redacted(self) -> Any:
        """The same without its secrets."""


_Identity = tuple[int, str, int]
"""The ID, the uid and the provider's ID of a resource; 0 where there is none."""


def _identity_in_provider(resource: ClientType | Client) -> _Identity:
    return resource.id, resource.uid, resource.provider_id


@dataclass(frozen=True, slots=True)
class _Described:
    """How the resources of one kind are stored in events."""

    kind: AuditKind
    to_json: TypeAdapter[Any]
    identity: Callable[[Any], _Identity]
    without: frozenset[str] | None = None
    """Fields that are not stored."""


# A new kind of resource needs only its line here.
_DESCRIBED: Mapping[type[Any], _Described] = {
    Provider: _Described(
        AuditKind.PROVIDER,
        TypeAdapter(Provider),
        lambda provider: (provider.id, provider.uid, provider.id),
    ),
    ClientType: _Described(
        AuditKind.CLIENT_TYPE,
        TypeAdapter(ClientType),
        _identity_in_provider,
        frozenset({"findings"}),
    ),
    Client: _Described(
        AuditKind.CLIENT,
        TypeAdapter(Client),
        _identity_in_provider,
        frozenset({"client_secret_digest"}),
    ),
    ApiKey: _Described(
        AuditKind.API_KEY,
        TypeAdapter(ApiKey),
        lambda key: (0, key.id, 0),
        frozenset({"digest", "previous_secrets", "last_use_time"}),
    ),
}

_OUTCOMES = {
    ClientState.REGISTERING: AuditOutcome.PENDING,
    ClientState.UPDATING: AuditOutcome.PENDING,
    ClientState.DELETING: AuditOutcome.PENDING,
    ClientState.UNKNOWN: AuditOutcome.UNKNOWN,
}
"""What is known of a write after which a client has this state; of any other: DONE."""


class Event(NamedTuple):
    """One write. `before` and `after` are the resource in JSON, "" where there is none.

    The time is UTC.

    A tuple, because each write makes one, and a frozen dataclass takes ten times as long to make.
    """

    create_time: datetime
    resource_id: int
    provider_id: int
    key_id: str
    address: str
    trace_id: str
    method: str
    kind: AuditKind
    action: AuditAction
    outcome: AuditOutcome
    uid: str
    etag_before: str
    etag_after: str
    before: str
    after: str

    def digest(self) -> str:
        """The SHA-256 of the values in their order, separated by NUL, in hexadecimal.

        No value contains NUL: PostgreSQL has no such text, and JSON escapes it.
        """
        time, resource_id, provider_id, *texts = self
        parts = [time.isoformat(), str(resource_id), str(provider_id), *texts]
        return sha256("\0".join(parts).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """An event with its ID and the digest that was stored with it."""

    id: int
    event: Event
    digest: str


@dataclass(frozen=True, slots=True)
class Place:
    """A position in the final order, from 1, and the hash of its seal; 0 is before the first."""

    position: int
    hash: str


START = Place(0, GENESIS)


@dataclass(frozen=True, slots=True)
class Placed:
    """An event at its final place."""

    place: Place
    event: Event


Range = tuple[int, int]
"""The first and the last of consecutive IDs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """The final order of `count` events: the last one has this position.

    `ids` are their IDs in their order. `last_id` is the highest ID so far, and `missing` has the
    IDs below it whose transactions may still be committed. `content_hash` is the hash of the
    digests of the events, and `hash` that of everything here and the previous `hash`.
    """

    position: int
    count: int
    ids: Sequence[Range]
    last_id: int
    missing: Sequence[Range]
    create_time: datetime
    content_hash: str
    hash: str

    def expected_hash(self, previous: str) -> str:
        """The hash that it must have after a seal with the hash `previous`."""
        return _hash(
            [
                previous,
                self.position,
                self.count,
                [list(each) for each in self.ids],
                self.last_id,
                [list(each) for each in self.missing],
                self.create_time.astimezone(UTC).isoformat(),
                self.content_hash,
            ]
        )


def event_of(
    call: Call, before: Resource | None, after: Resource | None, outcome: AuditOutcome | None = None
) -> Event:
    """The event of a write by this call: None before is a create, None after a deletion."""
    given: Any = before if after is None else after
    described = _DESCRIBED[type(given)]
    resource_id, uid, provider_id = described.identity(given)
    return Event(
        # The database then converts one time, not two.
        create_time=datetime.now(UTC) if after is None else given.update_time,
        resource_id=resource_id,
        provider_id=provider_id,
        key_id=call.caller.key_id,
        address=call.origin.address,
        trace_id=call.origin.trace_id,
        method=call.origin.method,
        kind=described.kind,
        action=_action(before, after),
        outcome=outcome or _outcome(after),
        uid=uid,
        etag_before="" if before is None else before.etag,
        etag_after="" if after is None else after.etag,
        before="" if before is None else _json_of(described, before),
        after="" if after is None else _json_of(described, after),
    )


def maintenance(call: Call, facts: Mapping[str, str | int]) -> Event:
    """The event of a command on the database; `facts` are what it did, without secrets."""
    return Event(
        create_time=datetime.now(UTC),
        resource_id=0,
        provider_id=0,
        key_id=call.caller.key_id,
        address=call.origin.address,
        trace_id=call.origin.trace_id,
        method=call.origin.method,
        kind=AuditKind.DATABASE,
        action=AuditAction.MAINTAIN,
        outcome=AuditOutcome.DONE,
        uid="",
        etag_before="",
        etag_after="",
        before="",
        after=json.dumps(facts),
    )


def resource_of(event: Event) -> Any:
    """The resource after a change, or before it if it was deleted.

    None: this version of the server cannot read it.
    """
    kinds = {described.kind: described for described in _DESCRIBED.values()}
    try:
        return kinds[event.kind].to_json.validate_json(event.after or event.before)
    except ValidationError:
        return None


def meets(event: Event, where: Sequence[Condition]) -> bool:
    """Whether an event meets all conditions."""
    return all(_meets(str(getattr(event, one.field)), one) for one in where)


def content_hash(digests: Sequence[str]) -> str:
    """The hash of the digests of the events of a seal."""
    return sha256("".join(digests).encode()).hexdigest()


def ranges_of(ids: Sequence[int]) -> list[Range]:
    """Consecutive IDs as ranges, in their order."""
    found: list[Range] = []
    for id_ in ids:
        if found and found[-1][1] == id_ - 1:
            found[-1] = found[-1][0], id_
        else:
            found.append((id_, id_))
    return found


def _meets(value: str, condition: Condition) -> bool:
    given = condition.value or ""
    match condition.comparison:
        case Comparison.EQUALS:
            return value == given
        case Comparison.DIFFERS:
            return value != given
        case Comparison.HAS:
            return given in value


def _action(before: object, after: object) -> AuditAction:
    if before is None:
        return AuditAction.CREATE
    return AuditAction.DELETE if after is None else AuditAction.UPDATE


def _outcome(after: Resource | None) -> AuditOutcome:
    return (
        _OUTCOMES.get(after.state, AuditOutcome.DONE)
        if isinstance(after, Client)
        else AuditOutcome.DONE
    )


def _json_of(described: _Described, resource: Resource) -> str:
    without: Any = described.without
    return described.to_json.dump_json(resource.redacted(), exclude=without).decode()


def _hash(values: Sequence[Any]) -> str:
    return sha256(json.dumps(values).encode()).hexdigest()

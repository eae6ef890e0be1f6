"""WatchService: the changes of resources as a stream over native gRPC."""

import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from portal.oauth.v1 import watch_pb2 as pb
from portal_server.catalog.keyring import KeyRing
from portal_server.domain.audit import (
    ChangeType,
    Place,
    Placed,
    ResourceKind,
    meets,
    resource_of,
)
from portal_server.domain.calls import Call
from portal_server.domain.errors import Invalid, Rule, Violation
from portal_server.domain.fields import Field, Text, Word, Words
from portal_server.domain.keys import Caller
from portal_server.domain.lists import Condition
from portal_server.wire.access import access
from portal_server.wire.calls import CallContext
from portal_server.wire.oauth_v1 import client_types, clients, filters, providers
from portal_server.wire.oauth_v1.codec import timestamp
from portal_server.wire.oauth_v1.enums import number_of, vocabulary_of, wire_name
from portal_server.wire.oauth_v1.paging import collect_violations
from portal_server.wire.requests import AUTHORIZATION, values_of
from portal_server.wire.status import Surface
from portal_server.wire.streams import PAGE_SIZE, Stream, Streams
from portal_server.wire.use_cases import UseCases

SERVICE = pb.DESCRIPTOR.services_by_name["WatchService"]
SURFACE = Surface({}, wire_name)
FILTER: Mapping[str, Field] = {
    "type": Word(vocabulary=ChangeType),
    "uid": Text(max_length=36, filterable=True),
}
"""The fields of a filter."""
_KINDS = Words(vocabulary=ResourceKind)
# The position, and the beginning of the hash of its seal.
_TOKEN = struct.Struct(">q8s")
_HASH_DIGITS = 16


class WatchService:
    """Translates; `wire.streams` sends."""

    def __init__(self, use_cases: UseCases, keyring: KeyRing, streams: Streams) -> None:
        self._audit_log = use_cases.audit_log
        self._keyring = keyring
        self._streams = streams

    def Watch(self, request: pb.WatchRequest, context: CallContext) -> None:
        """Open a stream of changes."""
        kinds, where, after = collect_violations(
            lambda: _kinds(request),
            lambda: filters.parse(request.filter, FILTER, ("uid",)),
            lambda: _place(request.resume_token),
        )
        call = context.call
        authorization = values_of(context.invocation_metadata(), AUTHORIZATION)
        role = access(call.origin.method).role

        def authenticate() -> Caller:
            caller = self._keyring.authenticate(Call(), authorization)
            caller.require(role)
            return caller

        stream = Stream(
            caller=call.caller,
            origin=call.origin,
            wants=_wants(kinds or tuple(ResourceKind), request.provider_id, where),
            authenticate=authenticate,
            at=self._audit_log.begin(call, after),
        )
        self._streams.open(stream, context)


def encode(changes: Sequence[Placed], last: Place) -> bytes:
    """The response with these changes; the stream continues after the last place."""
    response = pb.WatchResponse(changes=map(_change, changes), resume_token=token_of(last))
    return response.SerializeToString()


def token_of(place: Place) -> str:
    """The token of a stream that continues after a place."""
    packed = _TOKEN.pack(place.position, bytes.fromhex(place.hash[:_HASH_DIGITS]))
    return urlsafe_b64encode(packed).rstrip(b"=").decode()


def _place(token: str) -> Place | None:
    """The place of a token; None for "". Raises: Invalid."""
    if not token:
        return None
    try:
        position, hash_ = _TOKEN.unpack(urlsafe_b64decode(token + "=="))
        place = Place(position, hash_.hex())
    except (ValueError, struct.error):
        place = None
    # The decoder skips characters that are not base 64.
    if place is None or place.position < 0 or token_of(place) != token:
        raise Invalid(Violation("resume_token", Rule.MALFORMED, "is not a token of Watch"))
    return place


def _kinds(request: pb.WatchRequest) -> Collection[ResourceKind]:
    violations: list[Violation] = []
    given = map(vocabulary_of(ResourceKind).word, request.kinds)
    kinds: Any = _KINDS.check("kinds", given, violations)
    if violations:
        raise Invalid(*violations)
    return tuple(kinds)


def _wants(
    kinds: Collection[ResourceKind], provider_id: int, where: Sequence[Condition]
) -> Callable[[Placed], bool]:
    names = {str(kind) for kind in kinds}
    conditions = [replace(c, field="action") if c.field == "type" else c for c in where]

    def wants(placed: Placed) -> bool:
        event = placed.event
        return (
            event.kind in names
            and provider_id in (0, event.provider_id)
            and meets(event, conditions)
        )

    return wants


# Those of a page, for all streams that get them.
@lru_cache(PAGE_SIZE)
def _change(placed: Placed) -> pb.Change:
    event = placed.event
    kind = ResourceKind(event.kind)
    return pb.Change(
        type=number_of(ChangeType(event.action)),
        kind=number_of(kind),
        id=event.resource_id,
        uid=event.uid,
        provider_id=event.provider_id,
        change_time=timestamp(event.create_time),
        resume_token=token_of(placed.place),
        **_resource(kind, resource_of(event)),
    )


def _resource(kind: ResourceKind, resource: Any) -> dict[str, Any]:
    if resource is None:
        return {}
    match kind:
        case ResourceKind.PROVIDER:
            return {"provider": providers.CODEC.message(resource)}
        case ResourceKind.CLIENT_TYPE:
            return {"client_type": client_types.CODEC.message(resource)}
        case ResourceKind.CLIENT:
            return {"client": clients.CODEC.message(resource)}

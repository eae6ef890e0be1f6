"""AuditService: the audit log over native gRPC."""

import json
from collections.abc import Mapping

from google.protobuf.struct_pb2 import Struct

from portal.oauth.v1 import audit_pb2 as pb
from portal_server.domain.audit import AuditAction, AuditKind, AuditOutcome, Place, Placed
from portal_server.domain.fields import Field, Text, Word
from portal_server.wire.calls import CallContext
from portal_server.wire.oauth_v1 import filters
from portal_server.wire.oauth_v1.codec import struct, timestamp
from portal_server.wire.oauth_v1.enums import number_of, wire_name
from portal_server.wire.oauth_v1.paging import collect_violations, page_range, page_token
from portal_server.wire.oauth_v1.times import time_of
from portal_server.wire.status import Surface
from portal_server.wire.use_cases import UseCases

SERVICE = pb.DESCRIPTOR.services_by_name["AuditService"]
SURFACE = Surface({}, wire_name)
_TEXT = Text(max_length=255, filterable=True)
FILTER: Mapping[str, Field] = {
    "kind": Word(vocabulary=AuditKind),
    "action": Word(vocabulary=AuditAction),
    "outcome": Word(vocabulary=AuditOutcome),
    **dict.fromkeys(("key_id", "address", "trace_id", "method", "uid"), _TEXT),
}
"""The fields of a filter."""
_EXACT = ("key_id", "address", "trace_id", "uid")


class AuditService:
    """Translates; the catalog does the work and raises the errors."""

    def __init__(self, use_cases: UseCases) -> None:
        self._audit_log = use_cases.audit_log

    def ListAuditEvents(
        self, request: pb.ListAuditEventsRequest, context: CallContext
    ) -> pb.ListAuditEventsResponse:
        """List audit events."""
        since = time_of(request, "start_time")
        rows, where = collect_violations(
            lambda: page_range(request, since),
            lambda: filters.parse(request.filter, FILTER, _EXACT),
        )
        page = self._audit_log.list(context.call, Place(rows.after, ""), rows.limit, where, since)
        after = page.last.position if page.more else None
        return pb.ListAuditEventsResponse(
            audit_events=map(_message, page.items),
            next_page_token=page_token(after, request, since),
        )


def _message(placed: Placed) -> pb.AuditEvent:
    event = placed.event
    return pb.AuditEvent(
        position=placed.place.position,
        create_time=timestamp(event.create_time),
        key_id=event.key_id,
        address=event.address,
        trace_id=event.trace_id,
        method=event.method,
        kind=number_of(event.kind),
        action=number_of(event.action),
        outcome=number_of(event.outcome),
        resource_id=event.resource_id,
        uid=event.uid,
        provider_id=event.provider_id,
        etag_before=event.etag_before,
        etag_after=event.etag_after,
        before=_struct(event.before),
        after=_struct(event.after),
    )


def _struct(text: str) -> Struct | None:
    return struct(json.loads(text)) if text else None

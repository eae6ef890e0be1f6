"""How a call ends with an error."""

from typing import NoReturn

import grpc
from google.rpc.error_details_pb2 import RequestInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from portal_server.domain.calls import Origin
from portal_server.domain.errors import Exhausted, PortalError, Reason
from portal_server.wire.origin import origin_of
from portal_server.wire.status import Surface, to_status

PLAIN = Surface({}, str)
"""For errors of calls to other services, such as reflection."""


def abort(context: grpc.ServicerContext, status: Status, origin: Origin) -> NoReturn:
    """End a call with this status; its details get the trace ID."""
    status.details.add().Pack(RequestInfo(request_id=origin.trace_id))
    context.abort_with_status(rpc_status.to_status(status))


def abort_with(context: grpc.ServicerContext, error: PortalError) -> NoReturn:
    """End a call with an error that has no fields."""
    abort(context, to_status(error, PLAIN), origin_of("", context))


def reject(_request: object, context: grpc.ServicerContext) -> NoReturn:
    """End a call because its queue is full."""
    full = Exhausted(Reason.TOO_MANY_CALLS, "too many calls wait; retry later")
    abort_with(context, full)

"""How a call ends with an error."""

from collections.abc import Callable
from typing import NoReturn

import grpc
from google.rpc.error_details_pb2 import RequestInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from portal_server.domain.calls import Origin
from portal_server.domain.errors import Exhausted, PortalError, Reason
from portal_server.wire.interceptors.log import log_rejected
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


def rejection_of(path: str) -> Callable[[object, grpc.ServicerContext], NoReturn]:
    """What ends calls of the method with this path whose queue is full."""

    def reject(_request: object, context: grpc.ServicerContext) -> NoReturn:
        full = Exhausted(Reason.TOO_MANY_CALLS, "too many calls wait; retry later")
        origin = origin_of(path, context)
        log_rejected(origin, context.invocation_metadata(), full.reason)
        abort(context, to_status(full, PLAIN), origin)

    return reject

"""How a call ends with an error."""

from collections.abc import Callable
from time import perf_counter
from typing import Any, NoReturn

import grpc
from google.rpc.code_pb2 import Code
from google.rpc.error_details_pb2 import RequestInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from portal_server.domain.calls import Origin
from portal_server.domain.errors import Exhausted, PortalError, Reason
from portal_server.wire.interceptors.log import log_rejected
from portal_server.wire.interceptors.measures import Measures
from portal_server.wire.origin import origin_of
from portal_server.wire.status import Surface, to_status

PLAIN = Surface({}, str)
"""Fields and words as the domain spells them: for errors outside of the APIs."""


def abort(context: grpc.ServicerContext, status: Status, origin: Origin) -> NoReturn:
    """End a call with this status; its details get the trace ID."""
    context.abort_with_status(grpc_status(status, origin))


def grpc_status(status: Status, origin: Origin) -> grpc.Status:
    """The status as gRPC takes it; its details have the trace ID."""
    status.details.add().Pack(RequestInfo(request_id=origin.trace_id))
    converted: Any = rpc_status.to_status(status)
    return converted  # type: ignore[no-any-return]


def abort_with(context: grpc.ServicerContext, error: PortalError) -> NoReturn:
    """End a call with an error that has no fields."""
    abort(context, to_status(error, PLAIN), origin_of("", context))


Rejection = Callable[[object, grpc.ServicerContext], NoReturn]
"""A handler that ends a call."""


def rejection_of(path: str) -> Rejection:
    """What ends calls of the method with this path whose queue is full."""
    error = Exhausted(Reason.TOO_MANY_CALLS, "too many calls wait; retry later")
    return _rejection(path, Measures(path), error)


def limit_of(path: str) -> Callable[[float], Rejection]:
    """What ends calls of the method with this path whose key sends too many.

    It gets how many seconds too early the call is.
    """
    measures = Measures(path)

    def limited(wait_s: float) -> Rejection:
        text = "the API key sends more requests a second than it may; retry later"
        return _rejection(path, measures, Exhausted(Reason.TOO_MANY_REQUESTS, text, wait_s))

    return limited


def _rejection(path: str, measures: Measures, error: Exhausted) -> Rejection:
    def reject(_request: object, context: grpc.ServicerContext) -> NoReturn:
        origin = origin_of(path, context)
        measures.failed(perf_counter(), Code.RESOURCE_EXHAUSTED, error.reason)
        log_rejected(origin, context.invocation_metadata(), error.reason)
        abort(context, to_status(error, PLAIN), origin)

    return reject

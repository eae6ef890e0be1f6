"""The health service (grpc.health.v1), which takes no thread.

grpcio-health's servicer waits in `set` until each watcher has read the message: a
watcher that reads nothing would block it, and every Check. Here at most one message to
a watcher is in flight; the newest status follows when that one was sent.
"""

import threading
from collections.abc import Callable, Iterable
from typing import Any

import grpc
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthServicer

from portal_server.domain.calls import UNKNOWN
from portal_server.domain.errors import Reason, Unavailable
from portal_server.wire.events import AfterMessage, Sender
from portal_server.wire.interceptors.errors import PLAIN, grpc_status, rejection_of
from portal_server.wire.status import to_status

NAME = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
ROUTING = "portal.routing"
"""The name whose status is whether calls may be sent to this server, ready or not."""
MAX_WATCHES = 256
"""How many Watch streams are open on a server: load balancers and probes, a few of each."""

_SERVING = HealthCheckResponse(status=HealthCheckResponse.SERVING)
_NOT_SERVING = HealthCheckResponse(status=HealthCheckResponse.NOT_SERVING)


class Health(HealthServicer):
    """The status of this server and each of its services."""

    def __init__(self, services: Iterable[str]) -> None:
        self.rejected = 0
        """How many Watch streams were rejected."""
        self._reject = rejection_of(f"/{NAME}/Watch")
        self._lock = threading.Lock()
        self._status = dict.fromkeys(("", *services, ROUTING), _SERVING.status)
        self._watches: dict[Sender, str] = {}
        self._draining = False

    def Check(self, request: HealthCheckRequest, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """The status of a service."""
        status = self._status.get(request.service)
        if status is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return HealthCheckResponse(status=status)

    def Watch(self, request: HealthCheckRequest, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """The status of a service, and again whenever it changes."""
        sender = Sender(context)
        with self._lock:
            if len(self._watches) >= MAX_WATCHES or self._draining:
                self.rejected += 1
                self._reject(request, context)
            self._watches[sender] = request.service
            if not context.add_callback(lambda: self._forget(sender)):
                del self._watches[sender]
                return
            status = self._status.get(request.service, HealthCheckResponse.SERVICE_UNKNOWN)
            sender.send(HealthCheckResponse(status=status).SerializeToString())

    def List(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ARG002, N802
        """Not supported: the names are in the documentation."""
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "request the status of one service")

    def set_ready(self, *, ready: bool) -> None:
        """Set whether the services are ready."""
        with self._lock:
            if not self._draining:
                self._set(_SERVING if ready else _NOT_SERVING, lambda name: name != ROUTING)

    def drain(self) -> None:
        """Report that this server is stopping."""
        with self._lock:
            self._draining = True
            self._set(_NOT_SERVING, lambda _name: True)

    def end_watches(self) -> None:
        """End the open streams."""
        with self._lock:
            open_now = list(self._watches)
        error = Unavailable(Reason.SERVER_STOPPING, "the server is stopping; retry")
        for sender in open_now:
            sender.end(grpc_status(to_status(error, PLAIN), UNKNOWN))

    def cancel_watches(self) -> None:
        """End the streams that are still open, because their callers read nothing."""
        with self._lock:
            open_now = list(self._watches)
        for sender in open_now:
            sender.cancel()

    def _set(self, message: HealthCheckResponse, which: Callable[[str], bool]) -> None:
        status = message.status
        changed = [n for n, old in self._status.items() if which(n) and old != status]
        for name in changed:
            self._status[name] = status
        packed = message.SerializeToString()
        for sender, name in self._watches.items():
            if name in changed:
                sender.send(packed)

    def _forget(self, sender: Sender) -> None:
        with self._lock:
            self._watches.pop(sender, None)


def without_thread(handler: Any) -> Any:
    """The handler of one of these methods, run in grpcio's event thread."""
    streams = handler.response_streaming
    serve = handler.unary_stream if streams else handler.unary_unary

    def served(request: Any, context: grpc.ServicerContext, _send: object = None) -> Any:
        return serve(request, context)

    served.experimental_thread_pool = AfterMessage()  # type: ignore[attr-defined]
    served.experimental_non_blocking = True  # type: ignore[attr-defined]
    make = grpc.unary_stream_rpc_method_handler if streams else grpc.unary_unary_rpc_method_handler
    return make(served, handler.request_deserializer, handler.response_serializer)

"""Decides which threads run a call, and in which queue it waits for them.

Methods of the portal need an API key, health does not, and a setting decides for reflection.
"""

from collections.abc import Callable, Mapping
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from portal_server.wire import health, reflection
from portal_server.wire.access import Waits, access, is_write
from portal_server.wire.callers import CallerQueues, Callers
from portal_server.wire.events import Chosen, Front, Queued
from portal_server.wire.interceptors.auth import Authenticator
from portal_server.wire.interceptors.errors import limit_of, rejection_of
from portal_server.wire.interceptors.measures import Measures
from portal_server.wire.interceptors.method import MAX_CALL_S, MAX_WAITING_CALL_S, Method
from portal_server.wire.interceptors.reflection import Reflection
from portal_server.wire.requests import TRUE, Metadata
from portal_server.wire.status import Surface


class Admission(grpc.ServerInterceptor):
    """Serves the methods of `surfaces` (by the name of the service), health and reflection."""

    def __init__(
        self,
        surfaces: Mapping[str, Surface],
        callers: Callers,
        authenticator: Authenticator,
        reflection: Reflection,
    ) -> None:
        self._surfaces = surfaces
        self._callers = callers
        self._authenticator = authenticator
        self._reflection = reflection
        self._methods: dict[str, Callable[[Metadata], Any]] = {}

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Any],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """The handler of a call; None for an unknown method, which is UNIMPLEMENTED."""
        path = handler_call_details.method
        handler_of = self._methods.get(path)
        if handler_of is None:
            handler = continuation(handler_call_details)
            if handler is None:
                return None
            handler_of = self._methods[path] = self._handler_of(path, handler)
        return handler_of(handler_call_details.invocation_metadata)

    def _handler_of(self, path: str, handler: Any) -> Callable[[Metadata], Any]:
        """Chooses the handler of a call of this method by its headers."""
        service = path.lstrip("/").rpartition("/")[0]
        if service == health.NAME:
            without_thread = health.without_thread(handler)
            return lambda _metadata: without_thread
        if service in reflection.SERVICES:
            return self._reflection.handler_of(path, handler)
        return self._portal_handler_of(path, self._surfaces[service], handler)

    def _portal_handler_of(
        self, path: str, surface: Surface, handler: Any
    ) -> Callable[[Metadata], Any]:
        method = self._method_of(path, surface, handler)
        serve: Callable[..., Any] = method.stream if handler.response_streaming else method.one
        if method.needs.stays_open:
            serve = method.open
        # `stream` returns bytes.
        encode = None if handler.response_streaming else handler.response_serializer
        reject, limit = rejection_of(path), limit_of(path)

        def new_handler(queues: CallerQueues) -> Any:
            def served(message: bytes, context: grpc.ServicerContext, _send: object = None) -> Any:
                return serve(message, context, queues)

            # grpcio's health servicer also uses this attribute to avoid the default pool.
            served.experimental_thread_pool = _front(method, queues)  # type: ignore[attr-defined]
            served.reject = reject  # type: ignore[attr-defined]
            served.limit = limit  # type: ignore[attr-defined]
            # Without a deserializer: for malformed bytes, gRPC's own status is INTERNAL.
            if method.needs.stays_open:
                served.experimental_non_blocking = True  # type: ignore[attr-defined]
                return grpc.unary_stream_rpc_method_handler(served, None, None)
            return grpc.unary_unary_rpc_method_handler(served, None, encode)

        def of_call(metadata: Metadata) -> Any:
            queues = self._callers.of(metadata)
            found = queues.handlers.get(path)
            if found is None:
                found = queues.handlers[path] = new_handler(queues)
            return found

        return of_call

    def _method_of(self, path: str, surface: Surface, handler: Any) -> Method:
        needs = access(path)
        return Method(
            path=path,
            needs=needs,
            writes=is_write(path),
            max_call_s=MAX_CALL_S if needs.waits is Waits.NEVER else MAX_WAITING_CALL_S,
            decode=handler.request_deserializer,
            serve=handler.unary_stream if handler.response_streaming else handler.unary_unary,
            encode=handler.response_serializer,
            surface=surface,
            authenticator=self._authenticator,
            measures=Measures(path),
        )


def _front(method: Method, queues: CallerQueues) -> Front:
    """Passes the calls of a method on to one of these queues."""
    usual = queues.writes if method.writes else queues.reads
    match method.needs.waits:
        case Waits.NEVER:
            return usual
        case Waits.ALWAYS:
            return queues.providers
        case Waits.IF_FORCED:

            def choose(message: bytes) -> Queued:
                return queues.providers if _is_forced(method, message) else usual

            return Chosen(choose)


def _is_forced(method: Method, message: bytes) -> bool:
    try:
        force = method.decode(message).force
    except DecodeError:
        return False
    return force if isinstance(force, bool) else force.lower() in TRUE

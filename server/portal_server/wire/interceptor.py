"""Decides for every call who serves it: which threads, in which queue, with or without a key.

Methods of our services need a key; health never does, reflection by a setting.
"""

from collections.abc import Callable, Mapping
from typing import Any

import grpc
from grpc_reflection.v1alpha import reflection

from portal_server.catalog.keyring import KeyRing
from portal_server.domain.calls import Call
from portal_server.domain.errors import PortalError
from portal_server.wire import health
from portal_server.wire.access import is_write
from portal_server.wire.callers import CallerQueues, Callers
from portal_server.wire.events import Streaming
from portal_server.wire.pool import Pool, Queue
from portal_server.wire.requests import AUTHORIZATION, values_of
from portal_server.wire.serving import PLAIN, Method, refuse, reject
from portal_server.wire.status import Surface

ANONYMOUS_REFLECTION = 8
"""How many reflection streams without a key are open at the same time."""
REFLECTION_WITH_KEY = 4
"""How many reflection streams with a key are open beside them."""

Handler = Callable[[CallerQueues], Any]


class CallInterceptor(grpc.ServerInterceptor):
    """Guards and serves the methods of `surfaces`, by the name of their service."""

    def __init__(
        self,
        keyring: KeyRing,
        surfaces: Mapping[str, Surface],
        callers: Callers,
        *,
        open_reflection: bool,
    ) -> None:
        """Take who may call, how each service spells its fields, and who waits where."""
        self._keyring = keyring
        self._surfaces = surfaces
        self._callers = callers
        self._open_reflection = open_reflection
        self.reflection = Pool("reflection", ANONYMOUS_REFLECTION, 0)
        self.reflection_with_key = Pool("reflection-key", REFLECTION_WITH_KEY, 0)
        self._handlers: dict[str, Any] = {}

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Any],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """The handler of a call, made once for each method and caller."""
        method = handler_call_details.method
        metadata = handler_call_details.invocation_metadata
        made = self._handlers.get(method)
        if made is None:
            handler = continuation(handler_call_details)
            if handler is None:  # no such method: grpc answers UNIMPLEMENTED
                return None
            made = self._handlers[method] = self._made(method, handler)
        return made(metadata)

    def _made(self, path: str, handler: Any) -> Callable[[Any], Any]:
        """What gives the handler of a call by its headers."""
        service, _, _ = path.lstrip("/").rpartition("/")
        if service == health.NAME:
            at_once = health.without_thread(handler)
            return lambda _metadata: at_once
        if service == reflection.SERVICE_NAME:
            return self._reflection(handler)
        return self._of_ours(path, service, handler)

    def _of_ours(self, path: str, service: str, handler: Any) -> Callable[[Any], Any]:
        writes = is_write(path)
        streams = handler.response_streaming
        method = Method(
            path=path,
            writes=writes,
            read=handler.request_deserializer,
            serve=handler.unary_stream if streams else handler.unary_unary,
            write=handler.response_serializer,
            surface=self._surfaces.get(service, PLAIN),
            keyring=self._keyring,
            callers=self._callers,
        )
        serve = method.stream if streams else method.one
        make = (
            grpc.unary_stream_rpc_method_handler if streams else grpc.unary_unary_rpc_method_handler
        )

        def of_call(metadata: Any) -> Any:
            queues = self._callers.of(metadata)
            made = queues.handlers.get(path)
            if made is None:

                def served(message: bytes, context: grpc.ServicerContext) -> Any:
                    return serve(message, context, queues)

                # What grpcio's own health servicer uses to run elsewhere than in the default pool.
                served.experimental_thread_pool = (  # type: ignore[attr-defined]
                    queues.writes if writes else queues.reads
                )
                # No deserializer: grpc would answer INTERNAL to bytes that are no message.
                write = None if streams else handler.response_serializer
                made = queues.handlers[path] = make(served, None, write)
            return made

        return of_call

    def _reflection(self, handler: Any) -> Callable[[Any], Any]:
        def with_key(requests: Any, context: grpc.ServicerContext) -> Any:
            try:
                keys = values_of(context.invocation_metadata(), AUTHORIZATION)
                self._keyring.authenticate(Call(context.is_active), keys)
            except PortalError as error:
                refuse(error, context)
            return handler.stream_stream(requests, context)

        def anonymous(requests: Any, context: grpc.ServicerContext) -> Any:
            return handler.stream_stream(requests, context)

        for serve, pool, size in (
            (anonymous, self.reflection, ANONYMOUS_REFLECTION),
            (with_key, self.reflection_with_key, REFLECTION_WITH_KEY),
        ):
            queue = Queue(owner=pool, running=size, running_alone=size, max_waiting=0)
            serve.experimental_thread_pool = Streaming(pool, queue, reject)  # type: ignore[attr-defined]
        guarded, open_ = (
            grpc.stream_stream_rpc_method_handler(
                serve, handler.request_deserializer, handler.response_serializer
            )
            for serve in (with_key, anonymous)
        )

        def of_call(metadata: Any) -> Any:
            verified = self._callers.of(metadata).verified
            return guarded if verified or not self._open_reflection else open_

        return of_call

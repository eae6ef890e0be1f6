"""What happens around every call: read, authenticate, serve, refuse, log.

Methods of our services need a key; health never does, reflection by a setting.
A call for which there is no place in the queue is refused at once. Refusing,
and answering health, has a thread of its own: a full server says so, and that
it is alive.
"""

import logging
import secrets
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter
from typing import Any, NoReturn

import grpc
from google.protobuf.message import DecodeError
from google.rpc.code_pb2 import Code
from grpc_health.v1 import health
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status

from portal_server.domain.calls import Call, Request, serving
from portal_server.domain.errors import Exhausted, Invalid, PortalError, Rule, Violation
from portal_server.keyring import KeyRing
from portal_server.wire.pool import CallPool
from portal_server.wire.requests import Metadata, identify, values_of
from portal_server.wire.status import Surface, internal, to_status

log = logging.getLogger("portal.calls")

_AUTHORIZATION = "authorization"
_READS = ("Get", "List")
_HEALTH = f"/{health.SERVICE_NAME}/"
_PLAIN = Surface({}, str)


class CallInterceptor(grpc.ServerInterceptor):
    """Guards and serves the methods of `surfaces`, by the name of their service."""

    def __init__(
        self,
        keyring: KeyRing,
        surfaces: Mapping[str, Surface],
        pool: CallPool,
        *,
        open_reflection: bool,
    ) -> None:
        """Take who may call, how each service spells its fields, and who serves the calls."""
        self._keyring = keyring
        self._surfaces = surfaces
        self._pool = pool
        self._reserve = ThreadPoolExecutor(1, "reserve")
        self._open = {health.SERVICE_NAME}
        if open_reflection:
            self._open.add(reflection.SERVICE_NAME)
        self._handlers: dict[str, Any] = {}
        self._refuse = self._in_reserve(_refuse)

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Any],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """The handler of a call; made once a method."""
        method = handler_call_details.method
        if self._pool.is_full and not method.startswith(_HEALTH):
            return self._refuse
        if method not in self._handlers:
            handler = continuation(handler_call_details)
            if handler is None:  # no such method: grpc answers UNIMPLEMENTED
                return None
            self._handlers[method] = self._handler(method, handler)
        return self._handlers[method]

    def _handler(self, path: str, handler: Any) -> Any:
        service, _, method = path.lstrip("/").rpartition("/")
        if service == health.SERVICE_NAME and not handler.response_streaming:
            return self._in_reserve(handler.unary_unary, handler)
        if service in self._open:
            return handler
        if handler.request_streaming:  # reflection
            return grpc.stream_stream_rpc_method_handler(
                self._authenticated(handler.stream_stream),
                handler.request_deserializer,
                handler.response_serializer,
            )
        call = _Call(
            path=path,
            writes=not method.startswith(_READS),
            read=handler.request_deserializer,
            serve=handler.unary_stream if handler.response_streaming else handler.unary_unary,
            surface=self._surfaces.get(service, _PLAIN),
            keyring=self._keyring,
        )
        # No deserializer: grpc would answer INTERNAL to bytes that are no message.
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(
                call.stream, None, handler.response_serializer
            )
        return grpc.unary_unary_rpc_method_handler(call.one, None, handler.response_serializer)

    def _in_reserve(self, serve: Callable[..., Any], handler: Any = None) -> Any:
        def served(request: Any, context: grpc.ServicerContext) -> Any:
            return serve(request, context)

        # What grpcio's own health servicer uses for the same end.
        served.experimental_thread_pool = self._reserve  # type: ignore[attr-defined]
        return grpc.unary_unary_rpc_method_handler(
            served,
            handler and handler.request_deserializer,
            handler and handler.response_serializer,
        )

    def _authenticated(self, serve: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(requests: Any, context: grpc.ServicerContext) -> Any:
            try:
                self._keyring.authenticate(values_of(context.invocation_metadata(), _AUTHORIZATION))
            except PortalError as error:
                context.abort_with_status(rpc_status.to_status(to_status(error, _PLAIN)))
            return serve(requests, context)

        return guarded


def _refuse(_message: bytes, context: grpc.ServicerContext) -> NoReturn:
    full = Exhausted("TOO_MANY_CALLS", "too many calls wait; try again later")
    context.abort_with_status(rpc_status.to_status(to_status(full, _PLAIN)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """One method of ours; `one` and `stream` are what grpc runs."""

    path: str
    writes: bool
    read: Callable[[bytes], Any]
    serve: Callable[[Any, grpc.ServicerContext], Any]
    surface: Surface
    keyring: KeyRing

    def one(self, message: bytes, context: grpc.ServicerContext) -> Any:
        return self._answer(message, context, lambda answer: answer)

    def stream(self, message: bytes, context: grpc.ServicerContext) -> Any:
        # Every row is made before the first is sent: an error after that would
        # reach REST as a short list with status 200.
        return iter(self._answer(message, context, list))

    def _answer(
        self,
        message: bytes,
        context: grpc.ServicerContext,
        complete: Callable[[Any], Any],
    ) -> Any:
        start = perf_counter()
        caller = "-"
        try:
            metadata = context.invocation_metadata()
            who = self.keyring.authenticate(values_of(metadata, _AUTHORIZATION))
            caller = who.key_id
            who.require(write=self.writes)
            request = self._read(message)
            same = self._identify(request, metadata, caller) if self.writes else None
            with serving(Call(context.is_active, same)):
                answer = complete(self.serve(request, context))
        except PortalError as error:
            status = to_status(error, self.surface)
            # Not the message: it quotes what the caller sent.
            code = Code.Name(status.code)
            log.info("%s %s %s %.1f ms key=%s", self.path, code, error.reason, _ms(start), caller)
        except Exception:
            number = secrets.token_hex(4)
            log.exception("%s key=%s error=%s", self.path, caller, number)
            status = internal(number)
        else:
            log.info("%s OK %.1f ms key=%s", self.path, _ms(start), caller)
            return answer
        return context.abort_with_status(rpc_status.to_status(status))

    def _read(self, message: bytes) -> Any:
        try:
            return self.read(message)
        except DecodeError:
            broken = Violation("request", Rule.MALFORMED, "is not a message of this method")
            raise Invalid(broken) from None

    def _identify(self, request: Any, metadata: Metadata, caller: str) -> Request | None:
        return identify(self.path, request, metadata, caller, self.surface.request_id)


def _ms(start: float) -> float:
    return (perf_counter() - start) * 1000

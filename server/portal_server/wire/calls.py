"""What a servicer's method gets in addition to the request, and how gRPC finds the method."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass

from portal_server.domain.calls import Call
from portal_server.wire.events import Sender
from portal_server.wire.requests import Metadata

KEPT_MESSAGES = 256
"""How many messages an API keeps of a resource that is read again and again."""


@dataclass(frozen=True, slots=True)
class CallContext:
    """A call in progress, the headers of its request and the trailers of its response.

    Not gRPC's context, because a servicer never ends a call: it raises an error.
    """

    call: Call
    _context: grpc.ServicerContext

    def invocation_metadata(self) -> Metadata:
        """The headers of the request."""
        return self._context.invocation_metadata()

    def stay_open(self, sent: Callable[[], object], ended: Callable[[], None]) -> Sender | None:
        """Keep the call open after the servicer's method: for methods that `access` lists so.

        `sent` is called when a message has left, and `ended` at the end. None: it has ended.
        """
        sender = Sender(self._context, sent)
        return sender if self._context.add_callback(ended) else None

    def set_trailing_metadata(self, trailers: tuple[tuple[str, str], ...]) -> None:
        """Send these trailers after the response."""
        self._context.set_trailing_metadata(trailers)


def register(server: grpc.Server, service: ServiceDescriptor, servicer: object) -> None:
    """Serve each method of a service with the servicer's method of the same name.

    The generated `add_..._to_server` does not fit: it requires methods that take gRPC's
    context instead of a CallContext.

    Raises:
        AttributeError: the servicer does not have a method.
    """
    handlers = {method.name: _handler(method, servicer) for method in service.methods}
    generic = grpc.method_handlers_generic_handler(service.full_name, handlers)
    server.add_generic_rpc_handlers((generic,))
    server.add_registered_method_handlers(service.full_name, handlers)


def _handler(method: MethodDescriptor, servicer: object) -> Any:
    make = (
        grpc.unary_stream_rpc_method_handler
        if method.server_streaming
        else grpc.unary_unary_rpc_method_handler
    )
    return make(
        getattr(servicer, method.name),
        GetMessageClass(method.input_type).FromString,
        GetMessageClass(method.output_type).SerializeToString,
    )

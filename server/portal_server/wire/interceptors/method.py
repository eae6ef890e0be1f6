"""The steps of a call: authenticate and authorize it, decode it, run it, log it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from time import perf_counter
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from portal_server.domain.calls import Call, IdempotencyKey
from portal_server.domain.errors import Invalid, PortalError, Reason, Rule, Violation
from portal_server.tracing import call_span
from portal_server.wire.access import Access
from portal_server.wire.callers import CallerQueues
from portal_server.wire.calls import CallContext
from portal_server.wire.certificates import require_current
from portal_server.wire.events import send
from portal_server.wire.interceptors.auth import Authenticator
from portal_server.wire.interceptors.errors import abort
from portal_server.wire.interceptors.log import (
    Ongoing,
    log_broken_list,
    log_bug,
    log_error,
    log_ok,
)
from portal_server.wire.interceptors.measures import Measures
from portal_server.wire.origin import origin_of
from portal_server.wire.requests import Metadata, identify, validates_only
from portal_server.wire.status import Surface, internal, to_status

MAX_CALL_S = 10.0
"""How long a call without a deadline may take; calls from Envoy always have a deadline."""
MAX_WAITING_CALL_S = 14.0
"""The same for a call that waits for an identity provider, which gets 10 seconds."""
BROKEN_MESSAGE = b"\x07"
"""Ends a list after an error: it is not a protobuf message.

Envoy has sent the status 200 by then, and would turn any gRPC status into the end of
the list. When it cannot read a message, it closes the connection.
"""
# For a call without a deadline, grpcio reports the time until the year 292277026596.
_NO_DEADLINE_S = 1e8


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One method of a service; `one` and `stream` are what gRPC runs."""

    path: str
    needs: Access
    writes: bool
    max_call_s: float
    decode: Callable[[bytes], Any]
    serve: Callable[[Any, CallContext], Any]
    encode: Callable[[Any], bytes]
    surface: Surface
    authenticator: Authenticator
    measures: Measures

    def one(self, message: bytes, context: grpc.ServicerContext, queues: CallerQueues) -> Any:
        """Serve a call with one response."""
        return self._serve(message, context, queues, lambda response: response)

    def stream(self, message: bytes, context: grpc.ServicerContext, queues: CallerQueues) -> bytes:
        """Serve a call with a list of responses: send all but the last, and return that one.

        gRPC sends a message that is returned together with the status. Most lists have only one,
        and a message sent by itself takes another two switches of threads.
        """
        responses: Iterator[bytes] = self._serve(message, context, queues, self._encoded)
        last = next(responses)
        for response in responses:
            if not send(context, last):
                break
            last = response
        return last

    def open(self, message: bytes, context: grpc.ServicerContext, queues: CallerQueues) -> None:
        """Serve a call that stays open: the servicer keeps its `Sender`."""
        self._serve(message, context, queues, lambda response: response)

    def _encoded(self, responses: Iterable[Any]) -> Iterator[bytes]:
        """The responses as bytes; an error of the first is raised at once, so it has a status.

        An empty list has one response without rows.
        """
        rest = map(self.encode, responses)
        return chain([next(rest, b"")], self._later(rest))

    def _later(self, responses: Iterator[bytes]) -> Iterator[bytes]:
        try:
            yield from responses
        except Exception as error:  # noqa: BLE001 - the log has it
            log_broken_list(self.path, error)
            yield BROKEN_MESSAGE

    def _serve(
        self,
        message: bytes,
        context: grpc.ServicerContext,
        queues: CallerQueues,
        complete: Callable[[Any], Any],
    ) -> Any:
        with call_span(self.path, context.invocation_metadata()):
            return self._run(message, context, queues, complete)

    def _run(
        self,
        message: bytes,
        context: grpc.ServicerContext,
        queues: CallerQueues,
        complete: Callable[[Any], Any],
    ) -> Any:
        origin = origin_of(self.path, context)
        ongoing = Ongoing(origin, perf_counter())
        try:
            require_current(context)
            metadata = context.invocation_metadata()
            still_wanted = _still_wanted(context, ongoing.start, self.max_call_s)
            caller = self.authenticator.authenticate(
                Call(still_wanted, origin=origin), metadata, queues
            )
            ongoing.key_id = caller.key_id
            caller.require(self.needs.role)
            request = ongoing.request = self._decode(message)
            call = Call(still_wanted, caller=caller, origin=origin)
            if self.writes:
                key = self._identify(request, metadata, caller.key_id)
                call = Call(still_wanted, key, validates_only(request), caller, origin)
            response = complete(self.serve(request, CallContext(call, context)))
        except PortalError as error:
            status = to_status(error, self.surface)
            self.measures.failed(ongoing.start, status.code, error.reason)
            log_error(ongoing, status.code, error.reason)
        except Exception as error:  # noqa: BLE001 - a bug; the log has it
            log_bug(ongoing, error)
            status = internal(origin.trace_id)
            self.measures.failed(ongoing.start, status.code, Reason.INTERNAL)
        else:
            self.measures.succeeded(ongoing.start)
            log_ok(ongoing, response)
            return response
        return abort(context, status, origin)

    def _decode(self, message: bytes) -> Any:
        try:
            return self.decode(message)
        except DecodeError:
            malformed = Violation("request", Rule.MALFORMED, "is not a message of this method")
            raise Invalid(malformed) from None

    def _identify(self, request: Any, metadata: Metadata, key_id: str) -> IdempotencyKey | None:
        return identify(self.path, request, metadata, key_id, self.surface.request_id)


def _still_wanted(context: grpc.ServicerContext, start: float, max_s: float) -> Callable[[], bool]:
    if context.time_remaining() < _NO_DEADLINE_S:
        return context.is_active
    return lambda: context.is_active() and perf_counter() - start < max_s

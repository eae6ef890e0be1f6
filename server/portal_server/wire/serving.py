"""What happens in each call: authenticate, read, serve, reject, log."""

import logging
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from time import perf_counter
from typing import Any, NoReturn

import grpc
from google.protobuf.message import DecodeError
from google.rpc.code_pb2 import Code
from grpc_status import rpc_status

from portal_server.catalog.keyring import KeyRing
from portal_server.domain.calls import Call, IdempotencyKey
from portal_server.domain.errors import (
    Exhausted,
    Invalid,
    PortalError,
    Reason,
    Rule,
    Unauthenticated,
    Violation,
)
from portal_server.wire.callers import CallerQueues, Callers
from portal_server.wire.calls import attach
from portal_server.wire.requests import AUTHORIZATION, Metadata, identify, values_of
from portal_server.wire.status import Surface, internal, to_status

log = logging.getLogger("portal.calls")

PLAIN = Surface({}, str)

MAX_CALL_S = 10.0
"""How long a call without a deadline of its own may take; Envoy's calls always have one."""
BROKEN_MESSAGE = b"\x07"
"""Ends a list after an error: it is not a protobuf message.

Envoy has sent the status 200 by then, and would turn any gRPC status into the end of
the list. When it cannot read a message, it closes the connection.
"""
# What grpcio tells for a call without a deadline is the distance to the end of time.
_NO_DEADLINE_S = 1e8


def reject(_request: object, context: grpc.ServicerContext) -> NoReturn:
    """Answer a call for which there is no place."""
    full = Exhausted(Reason.TOO_MANY_CALLS, "too many calls wait; try again later")
    refuse(full, context)


def refuse(error: PortalError, context: grpc.ServicerContext) -> NoReturn:
    """Answer a call with an error that names no field."""
    context.abort_with_status(rpc_status.to_status(to_status(error, PLAIN)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One method of ours; `one` and `stream` are what grpc runs."""

    path: str
    writes: bool
    read: Callable[[bytes], Any]
    serve: Callable[[Any, grpc.ServicerContext], Any]
    write: Callable[[Any], bytes]
    surface: Surface
    keyring: KeyRing
    callers: Callers

    def one(self, message: bytes, context: grpc.ServicerContext, queues: CallerQueues) -> Any:
        """Serve a call with one response."""
        return self._answer(message, context, queues, lambda answer: answer)

    def stream(
        self, message: bytes, context: grpc.ServicerContext, queues: CallerQueues
    ) -> Iterator[bytes]:
        """Serve a call with a list of responses."""
        # The status of an error can only be sent before the first row.
        rows = self._answer(message, context, queues, _with_first_read)
        return self._written(rows)

    def _written(self, rows: Iterator[Any]) -> Iterator[bytes]:
        try:
            for row in rows:
                yield self.write(row)
        except PortalError as error:
            log.warning("%s ended a list early: %s", self.path, error.reason)
            yield BROKEN_MESSAGE
        except Exception:
            log.exception("%s ended a list early", self.path)
            yield BROKEN_MESSAGE

    def _answer(
        self,
        message: bytes,
        context: grpc.ServicerContext,
        queues: CallerQueues,
        complete: Callable[[Any], Any],
    ) -> Any:
        start = perf_counter()
        caller = "-"
        try:
            metadata = context.invocation_metadata()
            wanted = _still_wanted(context, start)
            who = self.keyring.authenticate(Call(wanted), values_of(metadata, AUTHORIZATION))
            if not queues.verified:
                self.callers.note(metadata, good=True)
            caller = who.key_id
            who.require(write=self.writes)
            request = self._read(message)
            key = self._identify(request, metadata, caller) if self.writes else None
            attach(context, Call(wanted, key))
            answer = complete(self.serve(request, context))
        except PortalError as error:
            if queues.verified and isinstance(error, Unauthenticated):
                self.callers.note(context.invocation_metadata(), good=False)
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

    def _identify(self, request: Any, metadata: Metadata, caller: str) -> IdempotencyKey | None:
        return identify(self.path, request, metadata, caller, self.surface.request_id)


def _with_first_read(rows: Iterable[Any]) -> Iterator[Any]:
    """These rows; errors of the first are raised at once."""
    rest = iter(rows)
    return chain(list(islice(rest, 1)), rest)


def _still_wanted(context: grpc.ServicerContext, start: float) -> Callable[[], bool]:
    if context.time_remaining() < _NO_DEADLINE_S:
        return context.is_active
    return lambda: context.is_active() and perf_counter() - start < MAX_CALL_S


def _ms(start: float) -> float:
    return (perf_counter() - start) * 1000

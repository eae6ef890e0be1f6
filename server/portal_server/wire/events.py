"""Receives a call's message in grpcio's event thread, before the call takes a thread.

grpcio passes a call to a thread as soon as its headers arrive, and the thread waits for
the message. Callers that never send it would hold all threads. This module replaces
that step of grpcio: it starts the receive operation in the event thread and passes the
call on in the operation's callback. It also saves two thread switches per call.

Only this module uses grpcio's private functions (grpc/_server.py, `_unary_request`,
`_handle_unary_unary` and `_send_response`); the version of grpcio is pinned.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc
from grpc import _common as common
from grpc import _server as server
from grpc._cython import cygrpc  # type: ignore[attr-defined]

from portal_server.wire.pool import Job, Pool, Queue
from portal_server.wire.rates import Limit

_NO_FLAGS = 0
_CODES = common.STATUS_CODE_TO_CYGRPC_STATUS_CODE


class _Submitted:
    """Replaces the Future of a call; grpcio uses it only to count calls, for an unused limit."""

    def add_done_callback(self, _done: Callable[[Any], object]) -> None:
        """Forget it."""


_SUBMITTED = _Submitted()


class Front(ThreadPoolExecutor):
    """The pool of a method for grpcio; it has no threads.

    grpcio requires an instance of ThreadPoolExecutor and uses only `submit`.
    """

    def __init__(self) -> None:
        """Start nothing."""

    def submit(self, run: Any, /, *args: Any, **_: Any) -> Any:
        """Pass a call on; grpcio's event thread calls this."""
        serve, event, state, behavior, receive, deserialize, serialize = args

        def serve_by(behavior: Any, receive: Any = receive) -> None:
            run(serve, event, state, behavior, receive, deserialize, serialize)

        self._begin(_Call(serve_by, behavior, event, state, deserialize))
        return _SUBMITTED

    def _begin(self, call: "_Call") -> None:
        raise NotImplementedError


class NoPool(Front):
    """The default pool of a server whose handlers all have their own."""


@dataclass(slots=True)
class _Call:
    """What grpcio passes for a call."""

    serve_by: Callable[..., None]
    behavior: Any
    event: Any
    state: Any
    deserialize: Any


class Streaming(Front):
    """Runs a call in a pool's thread; its handler waits for the messages.

    The behavior's attribute `reject` runs instead if there is no free thread.
    """

    def __init__(self, pool: Pool, queue: Queue) -> None:
        self._pool = pool
        self._queue = queue

    def _begin(self, call: _Call) -> None:
        job = Job(lambda: call.serve_by(call.behavior), call.event.call.cancel)
        if not self._pool.offer(self._queue, job):
            call.serve_by(call.behavior.reject)


class AfterMessage(Front):
    """Runs a call in grpcio's event thread once its message has arrived.

    For calls that take only microseconds, such as health checks.
    """

    def _begin(self, call: _Call) -> None:
        # grpcio holds state.condition here.
        state = call.state
        received = server._receive_message(state, call.event.call, call.deserialize)  # noqa: SLF001

        def message() -> Any:
            with state.condition:
                if state.request is None:
                    if state.client is server._CLOSED and not state.statused:  # noqa: SLF001
                        text = b"exactly one request message is required"
                        code = cygrpc.StatusCode.unimplemented
                        server._abort(state, call.event.call, code, text)  # noqa: SLF001
                    return None
                request, state.request = state.request, None
                return request

        def arrived(batch: Any) -> Any:
            ended = received(batch)
            if state.client is not server._CANCELLED:  # noqa: SLF001
                self._run(call, message)
            return ended

        operation = cygrpc.ReceiveMessageOperation(_NO_FLAGS)
        call.event.call.start_server_batch((operation,), arrived)
        state.due.add(server._RECEIVE_MESSAGE_TOKEN)  # noqa: SLF001

    def _run(self, call: _Call, message: Callable[[], Any]) -> None:
        call.serve_by(call.behavior, message)


class Queued(AfterMessage):
    """Runs a call in a pool's thread once its message has arrived.

    The behavior's attribute `reject` runs instead if the call may not even wait, and `limit` if
    its key sends too many.
    """

    def __init__(self, pool: Pool, queue: Queue, limit: Limit) -> None:
        self._pool = pool
        self._queue = queue
        self._limit = limit

    def _run(self, call: _Call, message: Callable[[], Any]) -> None:
        self.run(call, message)

    def run(self, call: _Call, message: Callable[[], Any]) -> None:
        """Run a call when its turn comes."""
        if wait_s := self._limit.take():
            call.serve_by(call.behavior.limit(wait_s), message)
            return
        job = Job(lambda: call.serve_by(call.behavior, message), call.event.call.cancel)
        if not self._pool.offer(self._queue, job):
            call.serve_by(call.behavior.reject, message)


class Chosen(AfterMessage):
    """Chooses the pool and the queue of a call by its message."""

    def __init__(self, choose: Callable[[bytes], Queued]) -> None:
        self._choose = choose

    def _run(self, call: _Call, message: Callable[[], Any]) -> None:
        received = message()
        self._choose(received or b"").run(call, lambda: received)


def send(context: grpc.ServicerContext, message: bytes) -> bool:
    """Send a message before the one that the handler returns; whether the call is still active.

    Waits until the message has left.
    """
    event, state = context._rpc_event, context._state  # type: ignore[attr-defined]  # noqa: SLF001
    return bool(server._send_response(event, state, message))  # noqa: SLF001


class Sender:
    """Sends the newest of the given messages on an open stream, and never waits.

    `sent` is called when a message has left and no other follows.
    """

    def __init__(
        self, context: grpc.ServicerContext, sent: Callable[[], object] = lambda: None
    ) -> None:
        self._call = context._rpc_event.call  # type: ignore[attr-defined]  # noqa: SLF001
        self._state = context._state  # type: ignore[attr-defined]  # noqa: SLF001
        self._next: bytes | None = None
        self._sending = False
        self._on_sent = sent

    @property
    def busy(self) -> bool:
        """Whether the last message has not left yet."""
        return self._sending

    def send(self, message: bytes) -> None:
        """Send this message once the previous one was sent."""
        with self._state.condition:
            self._next = message
            if not self._sending:
                self._send()

    def end(self, status: grpc.Status) -> None:
        """End the stream with this status, once the last message has left."""
        code, details = _CODES[status.code], status.details.encode()
        with self._state.condition:
            if server._is_rpc_state_active(self._state):  # noqa: SLF001
                self._state.trailing_metadata = status.trailing_metadata
                server._abort(self._state, self._call, code, details)  # noqa: SLF001

    def cancel(self) -> None:
        """End the stream even if its caller reads nothing."""
        self._call.cancel()

    def _send(self) -> None:
        state = self._state
        message, self._next = self._next, None
        if message is None or not server._is_rpc_state_active(state):  # noqa: SLF001
            return
        operations = [cygrpc.SendMessageOperation(message, _NO_FLAGS)]
        if state.initial_metadata_allowed:
            operations.insert(0, server._get_initial_metadata_operation(state, None))  # noqa: SLF001
            state.initial_metadata_allowed = False
        self._call.start_server_batch(operations, self._sent)
        state.due.add(server._SEND_MESSAGE_TOKEN)  # noqa: SLF001
        self._sending = True

    def _sent(self, _batch: Any) -> Any:
        with self._state.condition:
            token = server._SEND_MESSAGE_TOKEN  # noqa: SLF001
            ended = server._possibly_finish_call(self._state, token)  # noqa: SLF001
            self._sending = False
            self._send()
            if not self._sending:
                self._on_sent()
            return ended

"""Runs gRPC reflection in small separate pools, with or without an API key."""

from collections.abc import Callable
from typing import Any

import grpc

from portal_server.catalog.keyring import KeyRing
from portal_server.domain.calls import Call
from portal_server.domain.errors import PortalError
from portal_server.wire.callers import Callers
from portal_server.wire.certificates import require_current
from portal_server.wire.events import Streaming
from portal_server.wire.interceptors.errors import Rejection, abort_with, rejection_of
from portal_server.wire.pool import Pool, Queue
from portal_server.wire.requests import AUTHORIZATION, Metadata, values_of

ANONYMOUS_STREAMS = 8
"""How many streams without an API key may be open."""
STREAMS_WITH_KEY = 4
"""How many more streams with an API key may be open."""


class Reflection:
    """The pools of reflection, and its handlers. Without `is_open`, every call needs a key."""

    def __init__(self, keyring: KeyRing, callers: Callers, *, is_open: bool) -> None:
        self._keyring = keyring
        self._callers = callers
        self._is_open = is_open
        self.anonymous = Pool("reflection", ANONYMOUS_STREAMS, 0)
        self.with_key = Pool("reflection-key", STREAMS_WITH_KEY, 0)

    @property
    def pools(self) -> tuple[Pool, Pool]:
        """The pools of streams without and with a key."""
        return self.anonymous, self.with_key

    def handler_of(self, path: str, handler: Any) -> Callable[[Metadata], Any]:
        """Chooses the handler of a call by its headers; `handler` is that of the library."""
        reject = rejection_of(path)

        def anonymous(requests: Any, context: grpc.ServicerContext) -> Any:
            try:
                require_current(context)
            except PortalError as error:
                abort_with(context, error)
            return handler.stream_stream(requests, context)

        def with_key(requests: Any, context: grpc.ServicerContext) -> Any:
            try:
                keys = values_of(context.invocation_metadata(), AUTHORIZATION)
                self._keyring.authenticate(Call(context.is_active), keys)
            except PortalError as error:
                abort_with(context, error)
            return anonymous(requests, context)

        guarded = _in_pool(with_key, self.with_key, STREAMS_WITH_KEY, handler, reject)
        unguarded = _in_pool(anonymous, self.anonymous, ANONYMOUS_STREAMS, handler, reject)

        def of_call(metadata: Metadata) -> Any:
            verified = self._callers.of(metadata).verified
            return guarded if verified or not self._is_open else unguarded

        return of_call


def _in_pool(serve: Any, pool: Pool, streams: int, handler: Any, reject: Rejection) -> Any:
    queue = Queue(owner=pool, running=streams, running_alone=streams, max_waiting=0)
    serve.experimental_thread_pool = Streaming(pool, queue)
    serve.reject = reject
    return grpc.stream_stream_rpc_method_handler(
        serve, handler.request_deserializer, handler.response_serializer
    )

"""Keeps connections to providers between requests.

A new connection costs a provider as much CPU as a registration, and with TLS several times
as much. One is kept for a moment only, and only if the provider says that it keeps it open
too: a request on a connection that the provider is closing has an unknown outcome.
"""

import ssl
from collections.abc import Hashable
from dataclasses import dataclass
from threading import Lock
from time import monotonic

from portal_server.idp.connection import Connection, Request, Response
from portal_server.idp.network import Deadline, connect

IDLE_S = 0.5
"""How long a connection is kept between two requests. Servers wait longer, mostly 5 seconds."""
MAX_AGE_S = 10.0
"""How long a connection is used, so that changes of names and certificates have effect."""
MAX_IDLE = 64
"""How many connections are kept; each is an open file."""


@dataclass(frozen=True, slots=True)
class _Idle:
    key: Hashable
    connection: Connection
    until: float


class ConnectionPool:
    """The connections to all providers. Thread-safe."""

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private
        self._lock = Lock()
        # In the order in which they became idle.
        self._idle: list[_Idle] = []

    def exchange(
        self,
        request: Request,
        owner: Hashable,
        *,
        context: ssl.SSLContext | None,
        deadline: Deadline,
    ) -> Response:
        """Send a request and receive its response; https needs a context.

        A connection is used by requests with an equal `owner` only.

        Raises:
            NotSent: nothing reached the provider.
            OutcomeUnknown: the request was sent, and no status came back.
        """
        key = owner, request.url.origin
        connection = self._take(key)
        if connection is None:
            allow_private = self._allow_private
            connected = connect(request.url, context, deadline, allow_private=allow_private)
            connection = Connection(connected)
        try:
            return connection.exchange(request, deadline)
        finally:
            self._give_back(key, connection)

    def close_idle(self) -> None:
        """Close the connections that have been idle for too long."""
        with self._lock:
            now = monotonic()
            expired = [each for each in self._idle if each.until <= now]
            del self._idle[: len(expired)]
        for each in expired:
            each.connection.close()

    def close(self) -> None:
        """Close all connections that are not in use."""
        with self._lock:
            idle, self._idle = self._idle, []
        for each in idle:
            each.connection.close()

    def _take(self, key: Hashable) -> Connection | None:
        """The connection of this key that was used last, if it is still open."""
        self.close_idle()
        while (connection := self._last(key)) is not None:
            if connection.is_open():
                return connection
            connection.close()
        return None

    def _last(self, key: Hashable) -> Connection | None:
        with self._lock:
            for index in range(len(self._idle) - 1, -1, -1):
                if self._idle[index].key == key:
                    return self._idle.pop(index).connection
        return None

    def _give_back(self, key: Hashable, connection: Connection) -> None:
        now = monotonic()
        with self._lock:
            is_young = now - connection.opened < MAX_AGE_S
            if connection.reusable and is_young and len(self._idle) < MAX_IDLE:
                self._idle.append(_Idle(key, connection, now + IDLE_S))
                return
        connection.close()

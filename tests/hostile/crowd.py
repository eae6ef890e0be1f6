"""Many connections full of open streams, held for a while."""

import time
from collections.abc import Callable

from tests.hostile.http2 import Connection
from tests.hostile.sockets import ADDRESSES

# What was rejected is asked for again as a client with RetryInfo does. A flood of requests is
# another attack.
_AGAIN_SECONDS = 0.1


class Crowd:
    """Connections that are kept full of open streams, and opened again when they are closed."""

    def __init__(
        self,
        port: int,
        connections: int,
        streams: int,
        open_one: Callable[[Connection], object],
        connect: Callable[[int, str], Connection] | None = None,
    ) -> None:
        self.opened = 0
        self._port, self._streams, self._open_one = port, streams, open_one
        self._connect = connect or (lambda port, source: Connection(port, source=source))
        self._slots = [ADDRESSES[at % len(ADDRESSES)] for at in range(connections)]
        self._connections: list[Connection | None] = [None] * connections

    def hold(self, seconds: float) -> None:
        """Keep all of them open for this long."""
        until = time.monotonic() + seconds
        try:
            while time.monotonic() < until:
                self._fill(until)
                time.sleep(max(0.0, min(_AGAIN_SECONDS, until - time.monotonic())))
        finally:
            for connection in self._connections:
                if connection:
                    connection.close()

    def _fill(self, until: float) -> None:
        for at, source in enumerate(self._slots):
            connection = self._connections[at]
            if connection is None or connection.closed or connection.goaway is not None:
                if connection:
                    connection.close()
                connection = self._connections[at] = self._connect(self._port, source)
            connection.pump()
            # What was rejected is asked for again, but not in a loop without end.
            for _ in range(self._streams - connection.open_streams):
                if connection.closed or time.monotonic() > until:
                    break
                self._open_one(connection)
                self.opened += 1

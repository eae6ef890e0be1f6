"""What callers of either protocol have in common: a connection, a clock, the counts."""

import asyncio
from collections import Counter
from time import perf_counter
from typing import cast

from bench.workloads import Request

# A lost connection is made again after this, so that a server that is down is not spun on.
_RECONNECT_SECONDS = 0.01

# The error of a call that was given up.
UNANSWERED = "unanswered"


class Measurement:
    """What all callers of one measurement add to. Times are those of `perf_counter`, in seconds."""

    def __init__(self) -> None:
        self.begin = self.end = 0.0
        self.latencies: list[float] = []
        self.good = 0
        self.calls = 0
        self.created = 0
        self.errors: Counter[str] = Counter()

    def answered(self, since: float, request: Request, error: str | None) -> None:
        """Count an answer to a call that began at `since`; `error` says what is wrong with it."""
        now = perf_counter()
        self.calls += 1
        if error is None and request.creates:
            self.created += 1
        if now >= self.begin:
            self.latencies.append(now - since)
        if error is not None:
            self.errors[error] += 1
        elif self.begin <= now < self.end:
            self.good += 1


class Caller(asyncio.Protocol):
    """One caller on one connection: it calls again once it has its answer."""

    def __init__(self, measurement: Measurement) -> None:
        self.requests: list[Request] = []
        self.busy = False
        self._measurement = measurement
        self._next = 0
        self._since = 0.0
        self._port = 0
        self._closing = False
        self._transport: asyncio.Transport
        self._reconnecting: asyncio.Task[None] | None = None

    async def connect(self, port: int) -> None:
        """Connect to a port of this machine."""
        self._port = port
        await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", port)

    def call(self) -> None:
        """Send the next request, unless the time is up."""
        now = perf_counter()
        if now >= self._measurement.end:
            return
        self._next = (self._next + 1) % len(self.requests)
        self._since = now
        self.busy = True
        self.send(self.requests[self._next])

    def send(self, request: Request) -> None:
        """Write a request."""
        raise NotImplementedError

    def answered(self, error: str | None) -> None:
        """Note the answer and call again."""
        self.busy = False
        self._measurement.answered(self._since, self.requests[self._next], error)
        self.call()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """A call that had no answer is an error; connect again and go on."""
        del exc
        if self._closing:
            return
        if self.busy:
            self.busy = False
            request = self.requests[self._next]
            self._measurement.answered(self._since, request, "connection lost")
        self._reconnecting = asyncio.get_running_loop().create_task(self._reconnect())

    async def _reconnect(self) -> None:
        while perf_counter() < self._measurement.end:
            await asyncio.sleep(_RECONNECT_SECONDS)
            try:
                await self.connect(self._port)
            except OSError:
                self._measurement.errors["cannot connect"] += 1
            else:
                self.call()
                return

    def close(self) -> None:
        """Hang up; a call that still has no answer is an error."""
        self._closing = True
        if self.busy:
            self._measurement.answered(self._since, self.requests[self._next], UNANSWERED)
        self._transport.close()

"""The common part of the callers of both protocols: connection, clock, counters."""

import asyncio
from collections import Counter
from time import perf_counter
from typing import cast

from bench.workloads import Request

# Delay before a reconnect, to avoid a busy loop while a server is down.
_RECONNECT_SECONDS = 0.01

# The error of an abandoned call.
NO_RESPONSE = "no response"


def percentile(ordered: list[float], share: float) -> float:
    """The value that this share of the ordered values does not exceed; 0 without values."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


class Measurement:
    """The counters of all callers of a measurement. Times are from `perf_counter`, in seconds."""

    def __init__(self) -> None:
        self.begin = self.end = 0.0
        self.latencies: list[float] = []
        self.good = 0
        self.calls = 0
        self.created = 0
        self.errors: Counter[str] = Counter()

    def add(self, since: float, request: Request, error: str | None) -> None:
        """Count a response to a call that started at `since`; `error` is its error, if any."""
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
    """A caller with one connection. It sends its next request after each response."""

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
        """Send the next request, unless the measurement is over."""
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

    def on_response(self, error: str | None) -> None:
        """Count the response and send the next request."""
        self.busy = False
        self._measurement.add(self._since, self.requests[self._next], error)
        self.call()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Count a call without a response as an error; reconnect and continue."""
        del exc
        if self._closing:
            return
        if self.busy:
            self.busy = False
            request = self.requests[self._next]
            self._measurement.add(self._since, request, "connection lost")
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
        """Close the connection; a call without a response is an error."""
        self._closing = True
        if self.busy:
            self._measurement.add(self._since, self.requests[self._next], NO_RESPONSE)
        self._transport.close()

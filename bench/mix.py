"""A paced mix of calls over REST and gRPC, by callers that know what they have stored.

They delete about as many client types as they create: a table that grows would need more memory and
more time without any leak.
"""

import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any
from uuid import uuid4

import grpc

from bench.surfaces import FAILURES, NAME, Native, Rest, Row, Surface, require
from bench.systems import System

# Two cores serve ten times as many. Calls hardly wait, so that what grows is not a queue.
RATE = 150.0
CALLERS = 8

# The calls of a caller, which it repeats in a random order.
_ROUND = {
    "create": 3,
    "get": 4,
    "list": 2,
    "list with a filter": 1,
    "update": 2,
    "delete": 3,
    "retry of the last write": 3,
    "invalid request": 1,
    "wrong API key": 1,
}
# A caller deletes only when it has more client types than this.
_ROWS = 10
_MAX_ERROR = 120


class Tally:
    """What all callers have done."""

    def __init__(self) -> None:
        self.errors: Counter[str] = Counter()
        self.writes = 0
        self._latencies: list[float] = []
        self._lock = threading.Lock()

    def add(self, seconds: float, *, error: str = "") -> None:
        """Count a call."""
        with self._lock:
            self._latencies.append(seconds)
            if error:
                self.errors[error[:_MAX_ERROR]] += 1

    def add_write(self) -> None:
        """Count a write whose response is kept."""
        with self._lock:
            self.writes += 1

    def take_latencies(self) -> list[float]:
        """The seconds of each call since the last time, in ascending order."""
        with self._lock:
            taken, self._latencies = self._latencies, []
        return sorted(taken)


class _Caller:
    """Calls at fixed times until the end.

    A call counts from the time when it was due: one that is late because the one before was slow is
    slow, too. Every other pair of callers has a new connection for each round.
    """

    def __init__(self, number: int, surface: Surface, tally: Tally, times: Sequence[float]) -> None:
        self.rows: deque[Row] = deque()
        self._number = number
        self._surface = surface
        self._tally = tally
        self._begin, self._end = times
        self._reconnects = number % 4 > 1
        self._names = count(1)
        # The last write, to be repeated, and its result.
        self._last: tuple[Callable[[], Row | None], Row | None] | None = None
        self._calls: dict[str, Callable[[], None]] = {
            "create": self._create,
            "get": self._get,
            "list": surface.list_first,
            "list with a filter": surface.list_other,
            "update": self._update,
            "delete": self._delete,
            "retry of the last write": self._retry,
            "invalid request": lambda: surface.send_invalid(_request_id()),
            "wrong API key": surface.send_wrong_key,
        }

    def run(self) -> None:
        """Call until the end."""
        kinds = [kind for kind, times in _ROUND.items() for _ in range(times)]
        random.Random(self._number).shuffle(kinds)  # noqa: S311 - an order, not a secret
        self._surface.connect()
        for turn in count():
            due = self._begin + (turn * CALLERS + self._number) / RATE
            if due >= self._end:
                break
            if self._reconnects and turn % len(kinds) == 0:
                self._surface.connect()
            time.sleep(max(0.0, due - time.perf_counter()))
            self._call(kinds[turn % len(kinds)], due)
        self._surface.close()

    def _call(self, kind: str, due: float) -> None:
        error = ""
        try:
            self._calls[kind]()
        except FAILURES as failure:
            error = f"{self._surface.name}, {kind}: {_text(failure)}"
        self._tally.add(time.perf_counter() - due, error=error)

    def _create(self) -> None:
        name, request_id = self._new_name(), _request_id()
        created = self._write(lambda: self._surface.create(name, request_id))
        self.rows.append(created)
        require(created.name, name)

    def _get(self) -> None:
        if self.rows:
            row = random.choice(self.rows)  # noqa: S311 - no secret
            require(self._surface.get(row), row)
        else:
            self._create()

    def _update(self) -> None:
        if not self.rows:
            self._create()
            return
        row, name, request_id = self.rows.popleft(), self._new_name(), _request_id()
        updated = self._write(lambda: self._surface.update(row, name, request_id))
        self.rows.append(updated)
        require((updated.id, updated.name), (row.id, name))

    def _delete(self) -> None:
        if len(self.rows) <= _ROWS:
            self._create()
            return
        row, request_id = self.rows.popleft(), _request_id()
        self._write(lambda: self._surface.delete(row, request_id))

    def _retry(self) -> None:
        if self._last:
            write, result = self._last
            require(write(), result)
        else:
            self._create()

    def _write(self, write: Callable[[], Any]) -> Any:
        self._last = None
        result = write()
        self._tally.add_write()
        self._last = write, result
        return result

    def _new_name(self) -> str:
        return f"{NAME} {self._number}-{next(self._names)}"


def _request_id() -> str:
    return str(uuid4())


def _text(failure: BaseException) -> str:
    if isinstance(failure, grpc.Call):
        return f"{failure.code().name} {failure.details()}"
    return f"{type(failure).__name__} {failure}"


class Mix:
    """The callers, half of them over REST, half over gRPC; they call for so many seconds."""

    def __init__(self, rest: System, native: System, begin: float, seconds: float) -> None:
        self.tally = Tally()
        times = begin, begin + seconds
        surfaces = [Native(native) if number % 2 else Rest(rest) for number in range(CALLERS)]
        self._callers = [
            _Caller(number, surface, self.tally, times) for number, surface in enumerate(surfaces)
        ]
        # Daemons: nobody waits for them after an error of the main thread.
        self._threads = [
            threading.Thread(target=caller.run, daemon=True) for caller in self._callers
        ]

    def start(self) -> None:
        """Start the callers; they wait for the begin."""
        for thread in self._threads:
            thread.start()

    def join(self) -> dict[int, str]:
        """Wait for the end; returns the etags of the client types that must be stored, by ID."""
        for thread in self._threads:
            thread.join()
        return {row.id: row.etag for caller in self._callers for row in caller.rows}

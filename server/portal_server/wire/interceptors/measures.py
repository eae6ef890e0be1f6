"""Counts and times the calls of a method."""

from time import perf_counter
from typing import Any

from google.rpc.code_pb2 import Code

from portal_server.domain.errors import Reason
from portal_server.metrics import CALL_ERRORS, CALLS

_OK = Code.Value("OK")
_REST = "/portal.rest."


class Measures:
    """The metrics of the method with this path."""

    def __init__(self, path: str) -> None:
        self._labels = (path.lstrip("/"), "rest" if path.startswith(_REST) else "grpc")
        # Looking up a child in the library takes as long as observing a value.
        self._durations: dict[int, Any] = {}

    def succeeded(self, start: float) -> None:
        """A call succeeded that began at `start`, a time of `perf_counter`."""
        self._duration(_OK).observe(perf_counter() - start)

    def failed(self, start: float, code: "Code.ValueType", reason: Reason) -> None:
        """A call ended with an error."""
        self._duration(code).observe(perf_counter() - start)
        CALL_ERRORS.labels(reason.value).inc()

    def _duration(self, code: "Code.ValueType") -> Any:
        found = self._durations.get(code)
        if found is None:
            method, surface = self._labels
            found = self._durations[code] = CALLS.labels(method, Code.Name(code), surface)
        return found

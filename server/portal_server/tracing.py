"""Traces of calls. Any layer may begin a span; without a tracer, it costs one function call.

`run/traces.py` has the tracer, which imports OpenTelemetry.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

Metadata = Sequence[tuple[str, str | bytes]]
Attributes = Mapping[str, str | int]
Span = AbstractContextManager[Any]


class Tracer(Protocol):
    """Begins spans, which end with their block."""

    def call(self, path: str, metadata: Metadata) -> Span:
        """The span of a call of the method with this path, below the span in its headers."""

    def span(self, name: str, sends: Attributes | None) -> Span:
        """A span below the current one; `sends` describes the request that it sends, if any."""


_OFF: Span = nullcontext()
_tracer: Tracer | None = None


def use(tracer: Tracer) -> None:
    """Trace this process."""
    global _tracer  # noqa: PLW0603 - one for the process
    _tracer = tracer


def call_span(path: str, metadata: Metadata) -> Span:
    """See Tracer.call."""
    return _OFF if _tracer is None else _tracer.call(path, metadata)


def span(name: str, sends: Attributes | None = None) -> Span:
    """See Tracer.span."""
    return _OFF if _tracer is None else _tracer.span(name, sends)

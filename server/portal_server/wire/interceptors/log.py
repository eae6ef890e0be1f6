"""The log: one line for each call. Never a message or a header, which may have secrets."""

import logging
from dataclasses import dataclass
from time import perf_counter
from typing import Any, NamedTuple

from google.rpc.code_pb2 import Code

from portal_server.catalog.keyring import text_of
from portal_server.domain import keys
from portal_server.domain.calls import Origin
from portal_server.domain.errors import PortalError, Reason
from portal_server.limited_lines import LimitedLines
from portal_server.wire.requests import AUTHORIZATION, Metadata, values_of

log = logging.getLogger("portal.calls")

# Where a message has the ID of its resource, or else that of the parent.
_ID_FIELDS = ("id", "client_id", "client_type_id", "provider_id")
_MAX_DIGITS = 19
NOBODY = "-"
"""The key ID of a call without a valid API key."""


class CallLine(NamedTuple):
    """The line of a call. `run/logs.py` turns it into text or JSON."""

    method: str
    code: str
    reason: str
    ms: float
    key_id: str
    address: str
    trace_id: str
    resource_id: str

    def __str__(self) -> str:
        """The line as text."""
        reason = f" {self.reason}" if self.reason else ""
        return (
            f"{self.method} {self.code}{reason} {self.ms:.1f} ms key={self.key_id}"
            f" address={self.address} trace={self.trace_id} id={self.resource_id or '-'}"
        )


_limited = LimitedLines()


def report_rejections() -> None:
    """Log the number of calls that were not logged, if any."""
    if unlogged := _limited.take_unlogged():
        log.warning("%d more rejected calls are not in the log", unlogged)


@dataclass(slots=True)
class Ongoing:
    """What is known of a call so far. It began at `start`, a time of `perf_counter`."""

    origin: Origin
    start: float
    key_id: str = NOBODY
    request: Any = None


def log_ok(call: Ongoing, response: Any) -> None:
    """Log a call that succeeded."""
    if log.isEnabledFor(logging.INFO):
        log.info(_line(call, "OK", "", _id_of(response) or _id_of(call.request)))


def log_error(call: Ongoing, code: "Code.ValueType", reason: Reason) -> None:
    """Log a call that ended with an error."""
    if log.isEnabledFor(logging.INFO) and (not _is_limited(call, code) or _limited.allow()):
        log.info(_line(call, Code.Name(code), reason, _id_of(call.request)))


def log_rejected(origin: Origin, metadata: Metadata, reason: Reason) -> None:
    """Log a call that was rejected before it had a thread. Its API key was not checked."""
    if log.isEnabledFor(logging.INFO) and _limited.allow():
        text = text_of(values_of(metadata, AUTHORIZATION))
        key_id = keys.key_id_of(text or "") or NOBODY
        call = Ongoing(origin, perf_counter(), key_id)
        log.info(_line(call, "RESOURCE_EXHAUSTED", reason, ""))


def log_bug(call: Ongoing, error: Exception) -> None:
    """Log an exception with its traceback."""
    line = _line(call, "INTERNAL", Reason.INTERNAL, _id_of(call.request))
    log.error(line, exc_info=error)


def log_broken_list(path: str, error: Exception) -> None:
    """Log an error after the first row of a list."""
    if isinstance(error, PortalError):
        log.warning("%s ended a list early: %s", path, error.reason)
    else:
        log.error("%s ended a list early", path, exc_info=error)


def _is_limited(call: Ongoing, code: "Code.ValueType") -> bool:
    """Whether a caller without a valid API key can cause this error, or one who calls too often."""
    return call.key_id == NOBODY or code == Code.RESOURCE_EXHAUSTED


def _line(call: Ongoing, code: str, reason: str, resource_id: str) -> CallLine:
    ms = round((perf_counter() - call.start) * 1000, 1)
    method, trace_id, address = call.origin.method, call.origin.trace_id, call.origin.address
    return CallLine(method, code, reason, ms, call.key_id, address, trace_id, resource_id)


def _id_of(message: Any) -> str:
    """The ID in a message. In REST's requests it is text: anything but a number is omitted."""
    for field in _ID_FIELDS:
        found = getattr(message, field, None)
        if found:
            text = str(found)
            return text if text.isdecimal() and len(text) <= _MAX_DIGITS else ""
    return ""

"""The log: one line for each call. Never a message or a header, which may have secrets."""

import logging
from time import perf_counter

from google.rpc.code_pb2 import Code

from portal_server.domain.calls import Origin
from portal_server.domain.errors import PortalError, Reason

log = logging.getLogger("portal.calls")


def log_ok(origin: Origin, key_id: str, start: float) -> None:
    """Log a call that succeeded; it began at `start`, a time of `perf_counter`."""
    log.info("%s OK %.1f ms key=%s %s", origin.method, _ms(start), key_id, _named(origin))


def log_error(
    origin: Origin, key_id: str, start: float, code: "Code.ValueType", reason: Reason
) -> None:
    """Log a call that ended with an error."""
    text = f"{Code.Name(code)} {reason} {_ms(start):.1f} ms key={key_id}"
    log.info("%s %s %s", origin.method, text, _named(origin))


def log_bug(origin: Origin, key_id: str, error: Exception) -> None:
    """Log an exception with its traceback."""
    log.error("%s INTERNAL key=%s %s", origin.method, key_id, _named(origin), exc_info=error)


def log_broken_list(path: str, error: Exception) -> None:
    """Log an error after the first row of a list."""
    if isinstance(error, PortalError):
        log.warning("%s ended a list early: %s", path, error.reason)
    else:
        log.error("%s ended a list early", path, exc_info=error)


def _named(origin: Origin) -> str:
    return f"address={origin.address} trace={origin.trace_id}"


def _ms(start: float) -> float:
    return (perf_counter() - start) * 1000

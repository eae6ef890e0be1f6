"""The log: one line for each call. Never a message or a header, which may have secrets."""

import logging
import secrets
from time import perf_counter

from google.rpc.code_pb2 import Code

from portal_server.domain.errors import PortalError, Reason

log = logging.getLogger("portal.calls")


def log_ok(path: str, key_id: str, start: float) -> None:
    """Log a call that succeeded; it began at `start`, a time of `perf_counter`."""
    log.info("%s OK %.1f ms key=%s", path, _ms(start), key_id)


def log_error(path: str, key_id: str, start: float, code: "Code.ValueType", reason: Reason) -> None:
    """Log a call that ended with an error."""
    log.info("%s %s %s %.1f ms key=%s", path, Code.Name(code), reason, _ms(start), key_id)


def log_bug(path: str, key_id: str, error: Exception) -> str:
    """Log an exception with its traceback; returns the error ID that finds it in the log."""
    error_id = secrets.token_hex(4)
    log.error("%s key=%s error=%s", path, key_id, error_id, exc_info=error)
    return error_id


def log_broken_list(path: str, error: Exception) -> None:
    """Log an error after the first row of a list."""
    if isinstance(error, PortalError):
        log.warning("%s ended a list early: %s", path, error.reason)
    else:
        log.error("%s ended a list early", path, exc_info=error)


def _ms(start: float) -> float:
    return (perf_counter() - start) * 1000

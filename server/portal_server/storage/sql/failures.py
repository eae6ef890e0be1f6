"""Converts a driver's exceptions to errors for callers.

A driver's OperationalError covers nearly everything, so the SQLSTATE, or SQLite's
name of the error, decides. The driver's text is only logged.
"""

import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from sqlalchemy import exc

from portal_server.domain.errors import (
    Aborted,
    DeadlineExceeded,
    Exhausted,
    PortalError,
    Precondition,
    Reason,
    Unavailable,
)
from portal_server.domain.identity import MAX_ID

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Failure:
    """An error for callers."""

    kind: Callable[[Reason, str], PortalError]
    reason: Reason
    text: str


_LOST = _Failure(Aborted, Reason.CONCURRENT_CHANGE, "another call changed the same data; retry")
_SLOW = _Failure(DeadlineExceeded, Reason.STORAGE_TIMEOUT, "the storage did not respond in time")
_BUSY = _Failure(
    Exhausted, Reason.STORAGE_EXHAUSTED, "the storage has no free connection or memory; retry"
)
_FULL = _Failure(Unavailable, Reason.STORAGE_FULL, "the storage is full: nothing was stored")
_AWAY = _Failure(Unavailable, Reason.STORAGE_UNAVAILABLE, "the storage is not available; retry")
_NO_IDS = _Failure(Precondition, Reason.IDS_EXHAUSTED, f"all ids up to {MAX_ID} are used")

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_BY_SQLSTATE = {
    "2200H": _NO_IDS,  # sequence_generator_limit_exceeded
    "40001": _LOST,  # serialization_failure
    "40P01": _LOST,  # deadlock_detected
    # unique_violation: a concurrent transaction inserted the same uid after it was found to
    # be unused. When the work runs again, it finds the uid in use.
    "23505": _LOST,
    # foreign_key_violation: it deleted or inserted the other row. When the work runs again, it
    # finds that.
    "23503": _LOST,
    "55P03": _SLOW,  # lock_not_available: lock_timeout has passed
    "57014": _SLOW,  # query_canceled: statement_timeout has passed
    "53100": _FULL,  # disk_full
    "53200": _BUSY,  # out_of_memory
}
# https://www.sqlite.org/rescode.html
_BY_SQLITE_NAME = {
    "SQLITE_BUSY": _SLOW,  # another process has held the lock all the time
    "SQLITE_LOCKED": _SLOW,
    "SQLITE_INTERRUPT": _SLOW,
    "SQLITE_FULL": _FULL,
}
# Failures of the database; a driver's other errors are bugs of the server.
_STORAGE = (
    sqlite3.OperationalError,
    sqlite3.InternalError,
    psycopg.OperationalError,
    psycopg.InternalError,
    psycopg.InterfaceError,
)


class StorageBug(Exception):
    """The database rejects a statement: a bug of the server. Has no values of a row."""


@contextmanager
def translated() -> Iterator[None]:
    """Convert the storage's failures to PortalErrors, and other errors to StorageBugs.

    Neither has the driver's exception as its cause: PostgreSQL's shows the whole row,
    including secrets, and an unhandled exception is logged.
    """
    try:
        yield
    except exc.TimeoutError as error:  # no connection of the pool became free
        raise _logged(_BUSY, str(error)) from None
    except exc.DBAPIError as error:  # SQLAlchemy's wrapping, when it connects or migrates
        raise _translation(error.orig) from None
    except (sqlite3.Error, psycopg.Error) as error:
        raise _translation(error) from None


def no_ids() -> PortalError:
    """The error of a create if there are no more ids."""
    return _NO_IDS.kind(_NO_IDS.reason, _NO_IDS.text)


def unconfirmed() -> PortalError:
    """The error of a write that was not confirmed in time."""
    return Unavailable(
        Reason.OUTCOME_UNKNOWN,
        "the write was not confirmed in time, and its outcome is unknown;"
        " retry with the same request id",
    )


def stalled() -> PortalError:
    """The error of a write while others are not confirmed."""
    return Unavailable(
        Reason.WRITES_STALLED,
        "earlier writes are not confirmed, and their outcome is unknown;"
        " this write was not stored: retry later",
    )


def is_busy(error: BaseException) -> bool:
    """Whether SQLite did not get its lock in time."""
    return (getattr(error, "sqlite_errorname", None) or "").startswith("SQLITE_BUSY")


def is_read_only(error: BaseException) -> bool:
    """Whether PostgreSQL rejects the write because it has become a standby, or read-only."""
    return getattr(error, "sqlstate", None) == "25006"  # read_only_sql_transaction


def leaves_open(error: BaseException) -> bool:
    """Whether a COMMIT that fails with this error may have been done."""
    return _failure(error) in (_AWAY, _SLOW)


def _translation(error: BaseException | None) -> Exception:
    failure = _failure(error)
    return StorageBug(text_of(error)) if failure is None else _logged(failure, text_of(error))


def _failure(error: BaseException | None) -> _Failure | None:
    name = getattr(error, "sqlite_errorname", None)
    state = getattr(error, "sqlstate", None)
    if state in _BY_SQLSTATE:
        return _BY_SQLSTATE[state]
    if name == "SQLITE_ERROR":  # a statement that does not match the schema
        return None
    # A damaged file has the base class.
    if not isinstance(error, _STORAGE) and type(error) is not sqlite3.DatabaseError:
        return None
    if name is not None:
        # Extended codes begin with their primary code: SQLITE_BUSY_SNAPSHOT.
        return _BY_SQLITE_NAME.get("_".join(name.split("_")[:2]), _AWAY)
    return _AWAY


def text_of(error: object) -> str:
    """The text of an error, without PostgreSQL's DETAIL, which shows the row."""
    if not isinstance(error, BaseException):
        return str(error)
    primary = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    # libpq explains a failed connection in several lines.
    return f"{type(error).__name__}: {' '.join((primary or str(error)).split())}"


def _logged(failure: _Failure, why: str) -> PortalError:
    error = failure.kind(failure.reason, failure.text)
    log.warning("storage: %s: %s", type(error).__name__, why)
    return error

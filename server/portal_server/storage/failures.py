"""From what a driver raises to what callers are told.

A driver's OperationalError covers nearly everything, so the SQLSTATE, or
SQLite's name of the error, decides. The driver's own words stay in the log.
"""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy import exc

from portal_server.domain.errors import (
    Aborted,
    DeadlineExceeded,
    Exhausted,
    PortalError,
    Unavailable,
)

log = logging.getLogger(__name__)

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_BY_SQLSTATE: dict[str, type[PortalError]] = {
    "40001": Aborted,  # serialization_failure
    "40P01": Aborted,  # deadlock_detected
    "55P03": DeadlineExceeded,  # lock_not_available: lock_timeout has passed
    "57014": DeadlineExceeded,  # query_canceled: statement_timeout has passed
    "53100": Exhausted,  # disk_full
    "53200": Exhausted,  # out_of_memory
}
# https://www.sqlite.org/rescode.html
_BY_SQLITE_NAME: dict[str, type[PortalError]] = {
    "SQLITE_BUSY": DeadlineExceeded,  # another process has held the lock all the time
    "SQLITE_LOCKED": DeadlineExceeded,
    "SQLITE_FULL": Exhausted,
}
_TEXTS: dict[type[PortalError], tuple[str, str]] = {
    Aborted: ("CONCURRENT_CHANGE", "another call changed the same data; try again"),
    DeadlineExceeded: ("STORAGE_TIMEOUT", "the storage did not answer in time"),
    Exhausted: ("STORAGE_EXHAUSTED", "the storage is full or has no free connection"),
    Unavailable: ("STORAGE_UNAVAILABLE", "the storage is not available; try again"),
}
# What is wrong with the database; a driver's other errors are our bugs.
_STORAGE = (
    sqlite3.OperationalError,
    sqlite3.InternalError,
    psycopg.OperationalError,
    psycopg.InternalError,
    psycopg.InterfaceError,
)


class StorageBug(Exception):
    """A statement that the database refuses: our fault. Has no values of a row."""


@contextmanager
def translated() -> Iterator[None]:
    """Let the storage's failures out as PortalErrors, and its other refusals as StorageBugs.

    Neither has the driver's exception as its cause: PostgreSQL shows the whole
    row in it, secrets and all, and what is unhandled is logged.
    """
    try:
        yield
    except exc.TimeoutError as error:  # no connection of the pool came free
        raise _logged(Exhausted, str(error)) from None
    except exc.DBAPIError as error:  # SQLAlchemy's wrapping, when it connects or migrates
        raise _translation(error.orig) from None
    except (sqlite3.Error, psycopg.Error) as error:
        raise _translation(error) from None


def _translation(error: BaseException | None) -> Exception:
    words = _words(error)
    kind = _kind(error)
    return StorageBug(words) if kind is None else _logged(kind, words)


def _kind(error: BaseException | None) -> type[PortalError] | None:
    name = getattr(error, "sqlite_errorname", None)
    if name == "SQLITE_ERROR":  # a statement that does not fit the schema
        return None
    # A damaged file has the base class.
    if not isinstance(error, _STORAGE) and type(error) is not sqlite3.DatabaseError:
        return None
    if name is not None:
        # Extended codes go on from their primary one: SQLITE_BUSY_SNAPSHOT.
        return _BY_SQLITE_NAME.get("_".join(name.split("_")[:2]), Unavailable)
    return _BY_SQLSTATE.get(getattr(error, "sqlstate", None) or "", Unavailable)


def _words(error: BaseException | None) -> str:
    """What went wrong, less PostgreSQL's DETAIL, which shows the row."""
    primary = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    return f"{type(error).__name__}: {primary or error}"


def _logged(kind: type[PortalError], words: str) -> PortalError:
    log.warning("storage: %s: %s", kind.__name__, words)
    return kind(*_TEXTS[kind])

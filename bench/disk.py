"""A reference: the durable commits a second of the disk of a folder, one at a time."""

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

_ROW = b"x" * 200
_SECONDS = 1.0


def sqlite_commits(folder: Path) -> float:
    """Commits of one row of 200 bytes a second, with sqlite3 in WAL mode with synchronous=FULL."""
    with closing(sqlite3.connect(folder / "disk.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE row (id INTEGER PRIMARY KEY, data BLOB)")
        return _rate(lambda: connection.execute("INSERT INTO row (data) VALUES (?)", (_ROW,)))


def fdatasyncs(folder: Path) -> float:
    """Appends of 200 bytes a second, each followed by fdatasync."""
    with (folder / "disk.log").open("ab", buffering=0) as file:

        def append() -> None:
            file.write(_ROW)
            os.fdatasync(file.fileno())

        return _rate(append)


def _rate(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    count = 0
    while (passed := time.perf_counter() - begin) < _SECONDS:
        work()
        count += 1
    return count / passed

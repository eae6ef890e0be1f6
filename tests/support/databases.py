"""Migrated databases as copies of one: a migration costs more than most tests."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from portal_server.storage.sql.engine import open_engine, parse_url
from portal_server.storage.sql.migrations import migrate

MIGRATED = "migrated"
"""The database of the shared PostgreSQL that tests copy."""


def migrated(url: str) -> str:
    """Migrate a database; returns its URL."""
    engine = open_engine(parse_url(url))
    migrate(engine)
    engine.dispose()
    return url


def new_sqlite(file: Path) -> str:
    """Create a migrated database in this file; returns its URL."""
    file.touch(0o600)
    file.write_bytes(_migrated_sqlite())
    return f"sqlite:///{file}"


@cache
def _migrated_sqlite() -> bytes:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "portal.db"
        migrated(f"sqlite:///{file}")
        return file.read_bytes()

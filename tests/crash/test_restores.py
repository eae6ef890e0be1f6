"""A backup in the middle of load, restored to another database, has every acknowledged write."""

import shutil
import sqlite3
import zipfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from portal_server.storage.sql.engine import parse_url
from tests.crash.load import Ledger, Load, OwnServer, add_provider, stored
from tests.support.catalog import KEYS
from tests.support.postgres import Postgres
from tests.support.rows import TOKEN
from tests.support.stack import portal, soon

pytestmark = pytest.mark.timeout(600)

KEY = {"PORTAL_ENCRYPTION_KEYS": KEYS.get_secret_value()}


@pytest.mark.parametrize(
    "rounds",
    [
        pytest.param(2, marks=pytest.mark.slow),
        pytest.param(20, marks=pytest.mark.crash),
    ],
)
def test_restored_backups_have_lost_no_acknowledged_write(
    database_url: str, postgres: Postgres, tmp_path: Path, rounds: int
) -> None:
    server, ledger = OwnServer(database_url), Ledger()
    server.start()
    add_provider(server.target, token=TOKEN)
    try:
        for number in range(rounds):
            load = Load(server.target, ledger)
            wanted = len(ledger.reported) + 20
            assert soon(lambda wanted=wanted: len(ledger.reported) >= wanted, 10)  # type: ignore[misc]
            before = dict(ledger.reported)
            file = tmp_path / f"{number}.zip"
            backup = portal("backup", str(file), PORTAL_DATABASE_URL=database_url, **KEY)
            # Otherwise the database grows faster than it is restored.
            load.stop()
            assert backup.returncode == 0, backup.stderr
            # In turn to the same kind of database and to the other one.
            kind = parse_url(database_url).get_backend_name()
            sqlite = (kind == "sqlite") == (number % 2 == 0)
            restored = (
                f"sqlite:///{tmp_path}/restored{number}.db"
                if sqlite
                else postgres.new_database(f"restored_{kind}_{rounds}_{number}")
            )
            done = portal("restore", str(file), PORTAL_DATABASE_URL=restored, **KEY)

            assert done.returncode == 0, done.stdout + done.stderr
            assert done.stderr.endswith("portal: the database is consistent\n")
            _compare(restored, database_url, before, ledger)
            _require_no_token(file, tmp_path, postgres, restored)
    finally:
        load.stop()  # of a round that failed; again is harmless
        server.stop()
    print(f"{rounds} restores, {len(ledger.reported)} acknowledged, none lost")  # noqa: T201

    assert not ledger.errors


def _compare(restored: str, source: str, before: Mapping[str, object], ledger: Ledger) -> None:
    """Serve what was restored: it has what was acknowledged before, and nothing else."""
    server = OwnServer(restored)
    server.start()
    rows = stored(server.target)
    server.stop()
    names = {row.name: row for row in rows}
    lost = [name for name, row in before.items() if names.get(name) != row]

    assert not lost
    # Also those that were acknowledged later are the same, with id, uid, etag and times.
    assert all(names[name] == row for name, row in dict(ledger.reported).items() if name in names)
    assert names.keys() <= ledger.asked.keys()
    # Responses of the same requests are kept for retries.
    kept = _scalar(restored, "SELECT count(*) FROM answer WHERE key_id IS NOT NULL")
    assert kept == len(rows)
    assert _scalar(restored, "SELECT count(*) FROM api_key") == _scalar(
        source, "SELECT count(*) FROM api_key"
    )


def _scalar(url: str, query: str) -> object:
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite":
        with closing(sqlite3.connect(str(parsed.database))) as opened:
            return opened.execute(query).fetchone()[0]
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        [found] = connection.execute(query).fetchone() or [None]
        return found


def _require_no_token(file: Path, folder: Path, postgres: Postgres, restored: str) -> None:
    unpacked = folder / "unpacked"
    with zipfile.ZipFile(file) as opened:
        opened.extractall(unpacked)
    files = [one for one in folder.rglob("*") if one.is_file()]
    if not restored.startswith("sqlite"):
        files += [one for one in postgres.folder.rglob("*") if one.is_file()]
    for one in files:
        # PostgreSQL removes files of its WAL while this runs.
        if one.exists():
            assert TOKEN.encode() not in one.read_bytes(), one
    shutil.rmtree(unpacked)

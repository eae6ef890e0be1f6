"""Backups hold every row, of both databases, and only whole ones are restored."""

import os
import shutil
import stat
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from io import BufferedRandom, FileIO
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from portal_server.domain.errors import OperatorError, Precondition
from portal_server.domain.provider import ProviderDraft, ProviderType
from portal_server.run.new_files import new_private_file
from portal_server.storage.backup.archive import InvalidBackup, Reader
from portal_server.storage.backup.copying import (
    DamagedDatabase,
    TargetInUse,
    back_up,
    require_unused,
    restore,
)
from portal_server.storage.encryption import ENCRYPTED, Vault
from portal_server.storage.sql import schema
from portal_server.storage.sql.engine import open_engine, parse_url
from portal_server.storage.sql.migrations import migrate
from portal_server.storage.sql.schema import SchemaMismatch, require_known
from portal_server.storage.store import Store
from tests.support.catalog import CALL, VAULT, Catalog
from tests.support.databases import new_sqlite
from tests.support.postgres import Postgres
from tests.support.rows import TOKEN, fill, rows

PROVIDER = ProviderDraft(name="p", type=ProviderType.OTHER, well_known_uri="https://idp.test/x")

_numbers = count()


@pytest.fixture(params=["sqlite", "postgresql"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An empty database without a schema, of each kind in turn."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/restored.db"
    else:
        cluster: Postgres = request.getfixturevalue("postgres")
        url = cluster.new_database(f"restored_{os.getpid()}_{next(_numbers)}")
    engine = open_engine(parse_url(url))
    yield engine
    engine.dispose()


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Engine]:
    """A migrated SQLite with rows in every table."""
    engine = open_engine(parse_url(new_sqlite(tmp_path / "source.db")))
    fill(engine)
    yield engine
    engine.dispose()


def written(engine: Engine, folder: Path) -> Path:
    file = folder / "backup.zip"
    with new_private_file(file, replace=True) as opened:
        back_up(engine, opened)
    return file


def restored(engine: Engine, file: Path, vault: Vault = VAULT) -> None:
    with closing(Reader(file)) as backup:
        restore(engine, backup, vault.seal)


def test_a_backup_of_each_database_is_restored_to_each(
    engine: Engine, target: Engine, tmp_path: Path
) -> None:
    fill(engine)
    # Ids that were used and are free must not be used again.
    catalog = Catalog(Store(engine, VAULT))
    newest = catalog.providers.create(CALL, PROVIDER)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM provider WHERE id = :id"), {"id": newest.id})
    before = rows(engine)
    restored(target, written(engine, tmp_path))
    after = rows(target)
    created = Catalog(Store(target, VAULT)).providers.create(CALL, PROVIDER)

    assert after == before
    # The create has an audit event.
    assert all(len(found) == 3 + (name == "audit_event") for name, found in before.items())
    assert created.id == newest.id + 1
    require_known(target)


def test_a_restored_resource_keeps_its_etag_and_its_secret(
    engine: Engine, target: Engine, tmp_path: Path
) -> None:
    with_secret = ProviderDraft(
        name="p",
        type=ProviderType.OTHER,
        well_known_uri="https://idp.test/x",
        registration_access_token=TOKEN,
    )
    created = Catalog(Store(engine, VAULT)).providers.create(CALL, with_secret)
    file = written(engine, tmp_path)
    restored(target, file)
    found = Catalog(Store(target, VAULT)).providers.get(CALL, created.uid)

    assert (found.id, found.etag) == (created.id, created.etag)
    assert found == Catalog(Store(engine, VAULT)).providers.get(CALL, created.uid)
    with zipfile.ZipFile(file) as opened:
        content = b"".join(opened.read(name) for name in opened.namelist())
    assert ENCRYPTED.encode() in content
    assert TOKEN.encode() not in content


def test_a_backup_of_an_empty_database_is_restored(
    engine: Engine, target: Engine, tmp_path: Path
) -> None:
    restored(target, written(engine, tmp_path))

    assert not any(rows(target).values())
    assert Catalog(Store(target, VAULT)).providers.create(CALL, PROVIDER).id == 1


def test_a_backup_is_one_snapshot_and_writers_do_not_wait(engine: Engine, tmp_path: Path) -> None:
    fill(engine)
    catalog = Catalog(Store(engine, VAULT))
    before = rows(engine)

    class Interrupted(BufferedRandom):
        """A file at whose first write somebody else writes to the database."""

        created = 0

        def write(self, data: Any) -> int:
            if not self.created:
                self.created = catalog.providers.create(CALL, PROVIDER).id
            return super().write(data)

    with Interrupted(FileIO(tmp_path / "backup.zip", "w+")) as opened:
        manifest = back_up(engine, opened)
        assert opened.created

    assert manifest.rows == sum(map(len, before.values()))
    assert len(rows(engine)["provider"]) == len(before["provider"]) + 1


def test_a_backup_of_an_earlier_version_is_migrated(
    empty_url: str, target: Engine, tmp_path: Path
) -> None:
    old = open_engine(parse_url(empty_url))
    migrate(old, "0004")
    with old.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO provider (uid, name, type, well_known_uri, tls_insecure_skip_verify,"
                " registration_access_token, create_time, update_time) VALUES ('u', 'old',"
                " 'other', 'https://idp.test/x', :false, :token, :now, :now)"
            ).bindparams(),
            {"false": False, "token": TOKEN, "now": "2026-11-24 12:00:00.000001"},
        )
    file = written(old, tmp_path)
    old.dispose()
    restored(target, file)
    [provider] = rows(target)["provider"]

    with closing(Reader(file)) as backup:
        assert backup.manifest.schema == "0004"
    require_known(target)
    assert (provider["id"], provider["name"]) == (1, "old")
    assert provider["create_time"] == datetime(2026, 11, 24, 12, 0, 0, 1, UTC)
    assert provider["registration_access_token"].startswith(ENCRYPTED)
    if target.dialect.name == "sqlite":
        target.dispose()
        assert TOKEN.encode() not in (tmp_path / "restored.db").read_bytes()


def test_an_old_backup_with_secrets_and_without_a_key_is_reported(
    target: Engine, tmp_path: Path
) -> None:
    old = open_engine(parse_url(f"sqlite:///{tmp_path}/old.db"))
    migrate(old, "0004")
    with old.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO provider (uid, name, type, well_known_uri, tls_insecure_skip_verify,"
                " registration_access_token, create_time, update_time) VALUES ('u', 'old',"
                " 'other', 'x', 0, 't', '2026-11-24 12:00:00', '2026-11-24 12:00:00')"
            )
        )
    file = written(old, tmp_path)
    with pytest.raises(Precondition, match="no encryption key"):
        restored(target, file, Vault())


def change_manifest(file: Path, old: str, new: str) -> None:
    with zipfile.ZipFile(file) as opened:
        members = {name: opened.read(name).decode() for name in opened.namelist()}
    assert old in members["manifest.json"]
    members["manifest.json"] = members["manifest.json"].replace(old, new)
    with zipfile.ZipFile(file, "w") as opened:
        for name, content in members.items():
            opened.writestr(name, content)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (f'"schema": "{schema.HEAD}"', '"schema": "9999"', "schema 9999, which only a newer"),
        ('"format": 1', '"format": 2', "a newer version, with a format that this one lacks"),
        ('"name": "lease"', '"name": "lessee"', "the table lessee cannot be read"),
        ('"name": "lease"', '"name": "../lease"', "a table with an invalid name"),
        ('"rows": 3', '"rows": 2', "is damaged: the checksum of the table"),
        ('"holder"', '"keeper"', "the tables of the backup are not those of its schema"),
        ('"tables"', '"tablets"', "is not a backup, or is damaged"),
    ],
)
def test_a_backup_that_does_not_fit_is_not_restored(  # noqa: PLR0913, PLR0917
    sqlite: Engine, target: Engine, tmp_path: Path, old: str, new: str, problem: str
) -> None:
    file = written(sqlite, tmp_path)
    change_manifest(file, old, new)
    with pytest.raises(InvalidBackup, match=problem):
        restored(target, file)
    migrate(target)

    assert not any(rows(target).values())


def test_no_damage_of_a_file_goes_unnoticed(sqlite: Engine, tmp_path: Path) -> None:
    file = written(sqlite, tmp_path)
    whole = file.read_bytes()
    with zipfile.ZipFile(file) as opened:
        members = {name: opened.read(name) for name in opened.namelist()}
    damaged = tmp_path / "damaged.zip"
    unnoticed = []
    for position in range(0, len(whole), 7):
        changed = bytearray(whole)
        changed[position] ^= 1 << position % 8
        damaged.write_bytes(changed)
        try:
            with closing(Reader(damaged)) as backup:
                backup.verify()
        except InvalidBackup:
            continue
        unnoticed.append(position)
        # A field that is not read, such as the time of a member.
        with zipfile.ZipFile(damaged) as opened:
            assert {name: opened.read(name) for name in members} == members
    for length in range(0, len(whole), 501):
        damaged.write_bytes(whole[:length])
        with pytest.raises(InvalidBackup, match="is not a backup, or was cut off"):
            Reader(damaged)

    assert len(unnoticed) < len(whole) / 7 / 5


def test_only_an_empty_database_is_restored_to(
    sqlite: Engine, engine: Engine, tmp_path: Path
) -> None:
    Catalog(Store(engine, VAULT)).providers.create(CALL, PROVIDER)
    before = rows(engine)
    with pytest.raises(TargetInUse, match="not empty: the table audit_event has rows"):
        restored(engine, written(sqlite, tmp_path))

    assert rows(engine) == before


def test_a_restore_that_failed_can_be_repeated(
    sqlite: Engine, target: Engine, tmp_path: Path
) -> None:
    file = written(sqlite, tmp_path)
    broken = tmp_path / "broken.zip"
    shutil.copy(file, broken)
    change_manifest(broken, '"holder"', '"keeper"')
    with pytest.raises(InvalidBackup):
        restored(target, broken)
    restored(target, file)

    assert rows(target) == rows(sqlite)


def test_a_database_that_a_portal_uses_is_not_restored_to(
    sqlite: Engine, database_url: str, tmp_path: Path
) -> None:
    url = parse_url(database_url)
    running, engine = open_engine(url), open_engine(url)
    file = written(sqlite, tmp_path)
    with running.connect() as connection:
        connection.exec_driver_sql("SELECT count(*) FROM provider")

        def attempt() -> None:
            require_unused(url)
            restored(engine, file)

        with pytest.raises(TargetInUse, match=r"(another process|a portal) uses"):
            attempt()
    running.dispose()
    attempt()
    engine.dispose()


def test_a_damaged_database_is_not_backed_up(sqlite: Engine, tmp_path: Path) -> None:
    with sqlite.connect() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        connection.exec_driver_sql("DELETE FROM client_type WHERE id = 1")
        connection.exec_driver_sql("PRAGMA foreign_keys=ON")
    with pytest.raises(DamagedDatabase, match=r"client\.client_type_id: 3 rows refer to"):
        written(sqlite, tmp_path)

    assert not list(tmp_path.glob("backup*"))


def test_a_database_of_a_newer_version_is_not_backed_up(engine: Engine, tmp_path: Path) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaMismatch, match="only a newer version"):
        written(engine, tmp_path)


def test_a_private_file_is_whole_or_not_there(tmp_path: Path) -> None:
    file = tmp_path / "secret"

    def write(content: bytes, *, replace: bool, fails: Callable[[], object] = lambda: None) -> None:
        with new_private_file(file, replace=replace) as opened:
            opened.write(content)
            fails()

    def fail() -> None:
        raise OperatorError("no")

    with pytest.raises(OperatorError):
        write(b"1", replace=False, fails=fail)
    assert not list(tmp_path.iterdir())
    write(b"1", replace=False)
    with pytest.raises(FileExistsError):
        write(b"2", replace=False)
    with pytest.raises(OperatorError):
        write(b"3", replace=True, fails=fail)
    assert file.read_bytes() == b"1"
    write(b"4", replace=True)

    assert file.read_bytes() == b"4"
    assert list(tmp_path.iterdir()) == [file]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600

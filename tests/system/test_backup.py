"""`portal backup`, `portal restore` and `portal check`, as an operator runs them."""

import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from portal_cli.errors import Exit
from tests.support.catalog import KEYS
from tests.support.databases import new_sqlite
from tests.support.stack import Stack, portal


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    """A migrated SQLite without rows."""
    return {
        "PORTAL_DATABASE_URL": new_sqlite(tmp_path / "portal.db"),
        "PORTAL_ENCRYPTION_KEYS": KEYS.get_secret_value(),
    }


def test_a_backup_is_private_verified_and_not_replaced(
    settings: dict[str, str], tmp_path: Path
) -> None:
    portal("keys", "create", **settings)
    file = tmp_path / "backup.zip"
    done = portal("backup", str(file), **settings)
    again = portal("backup", str(file), **settings)
    assert done.returncode == 0, done.stderr
    file.write_text("an older backup")
    forced = portal("backup", "--force", str(file), **settings)
    verified = portal("restore", "--verify", str(file))

    assert done.stderr.startswith("portal: backed up 2 rows of schema ")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert (again.returncode, forced.returncode) == (1, 0)
    assert again.stderr == (
        f"portal: {file} exists: choose another name, or replace it with --force\n"
    )
    assert [one.name for one in tmp_path.glob("backup*")] == ["backup.zip"]
    assert verified.stderr.startswith(f"portal: {file} is valid: 2 rows of schema ")


def test_a_restored_portal_is_checked_and_serves(settings: dict[str, str], tmp_path: Path) -> None:
    key = portal("keys", "create", **settings).stdout.strip()
    file = tmp_path / "backup.zip"
    portal("backup", str(file), **settings)
    target = settings | {"PORTAL_DATABASE_URL": f"sqlite:///{tmp_path}/restored.db"}
    restored = portal("restore", str(file), **target)
    listed = portal("keys", "list", **target)
    second = portal("restore", str(file), **target)

    assert restored.stderr.endswith("portal: the database is consistent\n")
    assert key.split("_")[1] in listed.stdout
    assert stat.S_IMODE((tmp_path / "restored.db").stat().st_mode) == 0o600
    assert second.returncode == 1
    assert second.stderr == (
        "portal: the database is not empty: the table api_key has rows; restore to an empty one\n"
    )


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("backup", "missing/b.zip"), "missing/b.zip: No such file or directory"),
        (("backup", "/dev/full/b.zip"), "/dev/full/b.zip: Not a directory"),
        (("restore", "missing.zip"), "missing.zip: No such file or directory"),
        (("restore", "README.md"), "README.md is not a backup, or was cut off"),
        (("restore", "tests"), "tests: Is a directory"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(
    settings: dict[str, str], arguments: tuple[str, ...], problem: str
) -> None:
    done = portal(*arguments, **settings)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"portal: {problem}\n"


@pytest.mark.parametrize("command", ["backup", "check"])
def test_a_database_is_not_created(tmp_path: Path, command: str) -> None:
    database = tmp_path / "none.db"
    arguments = [str(tmp_path / "b.zip")] if command == "backup" else []
    done = portal(command, *arguments, PORTAL_DATABASE_URL=f"sqlite:///{database}")

    assert done.returncode == 1
    assert done.stderr.startswith(f"portal: no database {database}: set PORTAL_DATABASE_URL")
    assert not list(tmp_path.iterdir())


def test_problems_are_printed_and_the_exit_code_is_that_of_data(
    settings: dict[str, str], tmp_path: Path
) -> None:
    sound = portal("check", **settings)
    with closing(sqlite3.connect(tmp_path / "portal.db", isolation_level=None)) as database:
        database.execute("DROP INDEX ix_client_uid")
    done = portal("check", **settings)

    assert (sound.returncode, sound.stdout) == (0, "")
    assert sound.stderr == "portal: the database is consistent\n"
    assert done.returncode == Exit.DATA
    assert done.stdout == "the schema differs from that of this version: add_index ix_client_uid\n"
    assert done.stderr == "portal: the database has 1 problems\n"


def test_a_running_portal_is_backed_up_and_not_restored_to(tmp_path: Path) -> None:
    stack = Stack(tmp_path).start()
    try:
        file = tmp_path / "backup.zip"
        backed_up = portal("backup", str(file), **stack.settings)
        checked = portal("check", **stack.settings)
        restored = portal("restore", str(file), **stack.settings)
    finally:
        stack.stop()

    assert backed_up.returncode == checked.returncode == 0
    assert restored.returncode == 1
    assert restored.stderr == (
        f"portal: another process uses {tmp_path}/portal.db: stop the portal first\n"
    )

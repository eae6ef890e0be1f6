"""`portal keys`: creates, lists and revokes API keys."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from portal_server.storage.sql import schema
from portal_server.storage.sql.schema import HEAD
from tests.support import commands
from tests.support.stack import ENVIRONMENT, portal


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    found = {"PORTAL_DATABASE_URL": f"sqlite:///{tmp_path}/portal.db"}
    assert portal("migrate", **found).returncode == 0
    return found


def test_a_key_is_shown_once_listed_by_name_and_revoked(settings: dict[str, str]) -> None:
    key = portal("keys", "create", "--role", "viewer", "--note", "dashboard", **settings).stdout
    name = key.split("_")[1]
    listed = portal("keys", "list", **settings).stdout
    revoked = portal("keys", "revoke", name, **settings)
    after = portal("keys", "list", **settings).stdout

    assert re.fullmatch(r"oap_\w{8}_\w{38}\n", key)
    assert re.search(rf"^ {name} +viewer +all +\S+ \S+ +- +- +- +dashboard$", listed, re.MULTILINE)
    assert key.strip() not in listed
    assert (revoked.returncode, revoked.stdout) == (0, "")
    assert re.search(
        rf"^ {name} +viewer +all +\S+ \S+ +- +- +\S+ \S+ +dashboard$", after, re.MULTILINE
    )


def test_migrate_reports_the_schema(settings: dict[str, str], tmp_path: Path) -> None:
    new = {"PORTAL_DATABASE_URL": f"sqlite:///{tmp_path}/new.db"}

    assert portal("migrate", **new).stderr.endswith(
        f"portal: {tmp_path}/new.db has schema {schema.HEAD}; before: none\n"
    )
    assert portal("migrate", **settings).stderr.endswith(f"portal.db has schema {schema.HEAD}\n")


@pytest.mark.parametrize("command", ["up", "serve", "migrate"])
def test_the_format_of_errors_is_accepted_after_a_command_of_the_server(command: str) -> None:
    variables = ENVIRONMENT | {"PORTAL_DATABASE_URL": ""}
    done = commands.run("portal_cli", (command, "-o", "json"), variables)

    assert "PORTAL_DATABASE_URL: is empty" in json.loads(done.stderr)["error"]["message"]


def test_the_default_role_of_a_key_is_admin(settings: dict[str, str]) -> None:
    portal("keys", "create", **settings)

    assert "admin" in portal("keys", "list", **settings).stdout


def test_an_unknown_key_is_a_one_line_error(settings: dict[str, str]) -> None:
    for name, shown in (("nobody", '"nobody"'), ("aaaabbbb", "aaaabbbb")):
        done = portal("keys", "revoke", name, **settings)

        assert done.returncode == 66
        assert done.stderr == f"portal: API key {shown} not found\n"


def test_on_the_database_the_last_admin_key_is_revoked_without_a_question(
    settings: dict[str, str],
) -> None:
    key_id = portal("keys", "create", **settings).stdout.split("_")[1]

    assert portal("keys", "revoke", key_id, **settings).returncode == 0


def test_the_database_that_is_changed_is_named(settings: dict[str, str], tmp_path: Path) -> None:
    created = portal("keys", "create", "--role", "viewer", **settings)
    name = created.stdout.split("_")[1]
    revoked = portal("keys", "revoke", name, **settings)

    database = f"{tmp_path}/portal.db"
    assert created.stderr == f"portal: created the viewer key {name} in {database}\n"
    assert revoked.stderr == f"portal: revoked the key {name} in {database}\n"


def test_keys_are_listed_as_json(settings: dict[str, str]) -> None:
    key = portal("keys", "create", "--note", "dashboard", **settings).stdout
    [listed] = json.loads(portal("keys", "list", "-o", "json", **settings).stdout)

    assert (listed["id"], listed["role"]) == (key.split("_")[1], "admin")
    assert (listed["note"], listed["revoke_time"]) == ("dashboard", None)


@pytest.mark.parametrize(
    "command",
    [
        "keys create",
        "audit verify",
        "audit prune --before 90d",
        "encryption rotate",
        "backup x.zip",
        "check",
    ],
)
def test_no_database_is_created_for_a_command_that_needs_one(tmp_path: Path, command: str) -> None:
    database = tmp_path / "folder" / "new.db"
    url = f"sqlite:///{database}"
    key = portal("encryption", "new-key").stdout.strip()
    done = portal(*command.split(), PORTAL_DATABASE_URL=url, PORTAL_ENCRYPTION_KEYS=key)

    assert done.returncode == 1
    assert done.stderr == (
        f"portal: no database {database}: set PORTAL_DATABASE_URL to the database of the server\n"
    )
    assert not database.parent.exists()


def test_a_database_without_a_schema_is_a_one_line_error(tmp_path: Path) -> None:
    database = tmp_path / "empty.db"
    database.touch(0o600)
    done = portal("keys", "list", PORTAL_DATABASE_URL=f"sqlite:///{database}")

    assert done.returncode == 1
    assert done.stderr == (
        f"portal: {database}: the database has no schema, not {HEAD}: run `portal migrate`\n"
    )


def test_a_key_can_expire(settings: dict[str, str]) -> None:
    created = portal("keys", "create", "--role", "editor", "--expires", "90d", **settings)
    [listed] = json.loads(portal("keys", "list", "-o", "json", **settings).stdout)
    ends = datetime.fromisoformat(listed["expire_time"])

    assert created.returncode == 0
    assert listed["role"] == "editor"
    assert timedelta(days=89) < ends - datetime.now(UTC) <= timedelta(days=90)


@pytest.mark.parametrize("text", ["90", "d", "-1d", "90 d", "tomorrow", "1y"])
def test_an_invalid_duration_is_an_error_that_names_the_option(
    settings: dict[str, str], text: str
) -> None:
    done = portal("keys", "create", f"--expires={text}", **settings)

    assert done.returncode == 64
    assert "--expires" in done.stderr
    assert "such as 90d or 12h" in done.stderr

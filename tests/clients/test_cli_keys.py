"""`portal keys`: the same commands at a portal and on the database of its server."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from pydantic import SecretStr

from tests.clients.command import CREATE_PROVIDER, KEY
from tests.support import commands
from tests.support.databases import new_sqlite
from tests.support.own_server import started
from tests.support.stack import ENVIRONMENT


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return new_sqlite(tmp_path_factory.mktemp("keys") / "p.db")


@pytest.fixture(scope="module")
def target(url: str) -> Iterator[str]:
    with started(url, admin_key=SecretStr(KEY)) as server:
        yield f"127.0.0.1:{server.port}"


class Place:
    """Runs `portal …` at a portal, or on its database."""

    def __init__(self, name: str, variables: dict[str, str]) -> None:
        self.name = name
        self._variables = {"COLUMNS": "200"} | variables

    def __call__(self, *arguments: str, code: int = 0) -> "CompletedProcess[str]":
        done = commands.run("portal_cli", arguments, ENVIRONMENT | self._variables)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "-o", "json").stdout)


@pytest.fixture(params=["portal", "database"])
def place(request: pytest.FixtureRequest, url: str, target: str) -> Place:
    if request.param == "portal":
        return Place(f"at {target}", {"PORTAL_TARGET": target, "PORTAL_KEY": KEY})
    return Place(f"in {url.removeprefix('sqlite:///')}", {"PORTAL_DATABASE_URL": url})


def test_a_key_lives_and_ends(place: Place, target: str) -> None:
    created = place("keys", "create", "--role", "viewer", "--note", "dashboard")
    key = created.stdout.strip()
    key_id = key.split("_")[1]
    user = Place("", {"PORTAL_TARGET": target, "PORTAL_KEY": key})
    user("providers", "list")
    updated = place.json("keys", "update", key_id, "--role", "editor", "--note", "")
    rotated = place("keys", "rotate", key_id, "--overlap", "1h", "--expires", "90d")
    after = Place("", {"PORTAL_TARGET": target, "PORTAL_KEY": rotated.stdout.strip()})
    user("providers", "list")
    after("providers", "list")
    shown = place.json("keys", "get", key_id)
    revoked = place("keys", "revoke", key_id)
    after("providers", "list", code=77)
    user("providers", "list", code=77)

    assert re.fullmatch(r"oap_\w{8}_\w{38}\n", created.stdout)
    assert created.stderr == f"portal: created the viewer key {key_id} {place.name}\n"
    assert (updated["role"], updated["note"]) == ("editor", "")
    assert re.fullmatch(r"oap_\w{8}_\w{38}\n", rotated.stdout)
    assert rotated.stderr == f"portal: rotated the editor key {key_id} {place.name}\n"
    ends = datetime.fromisoformat(shown["expire_time"]) - datetime.now(UTC)
    assert timedelta(days=89) < ends <= timedelta(days=90)
    assert shown["previous_secret_expire_time"]
    assert "key" not in shown
    assert revoked.stderr == f"portal: revoked the key {key_id} {place.name}\n"
    assert revoked.stdout == ""


def test_a_key_is_limited_to_providers(place: Place, target: str) -> None:
    admin = Place("", {"PORTAL_TARGET": target, "PORTAL_KEY": KEY})
    own, other = (admin.json(*CREATE_PROVIDER)["id"] for _ in range(2))
    made = place.json("keys", "create", "--role=editor", f"--providers={own}", "--burst=5")
    user = Place("", {"PORTAL_TARGET": target, "PORTAL_KEY": made["key"]})

    assert (made["provider_ids"], made["burst"]) == ([own], 5)
    assert [one["id"] for one in user.json("providers", "list")] == [own]
    user("providers", "get", str(other), code=66)
    user(*CREATE_PROVIDER, code=77)
    listed = place("keys", "list").stdout
    assert re.search(rf"{made['id']} +editor +{own} ", listed)
    cleared = place.json("keys", "update", made["id"], "--providers", "", "--expires", "never")
    assert cleared["provider_ids"] == []


def test_an_error_names_the_field_or_the_option(place: Place) -> None:
    unknown = place("keys", "create", "--role=viewer", "--providers=4242", code=1)
    admin = place("keys", "create", "--role=admin", "--providers=1", code=1)
    no_ids = place("keys", "create", "--role=viewer", "--providers=a", code=64)
    nothing = place("keys", "update", "aaaabbbb", code=64)
    missing = place("keys", "get", "aaaabbbb", code=66)
    overlap = place("keys", "rotate", "aaaabbbb", "--overlap", "1", code=64)

    assert "portal: provider_ids: provider 4242 not found" in unknown.stderr
    assert "must be empty for the role admin" in admin.stderr
    assert "--providers" in no_ids.stderr
    assert "at least one field" in nothing.stderr
    assert missing.stderr == "portal: API key aaaabbbb not found\n"
    assert "--overlap" in overlap.stderr


@pytest.mark.parametrize("command", [("revoke",), ("update", "--role", "viewer")])
def test_over_the_api_the_loss_of_the_last_admin_key_must_be_confirmed(
    place: Place, command: tuple[str, ...]
) -> None:
    name, *options = command
    for key in place.json("keys", "list"):
        if key["role"] == "admin" and not key["revoke_time"]:
            place("keys", "revoke", key["id"], "--yes")
    first, last = (place("keys", "create").stdout.split("_")[1] for _ in range(2))
    place("keys", name, first, *options)
    is_api = place.name.startswith("at ")
    ended = place("keys", name, last, *options, code=64 if is_api else 0)
    shown = place.json("keys", "get", last)

    assert (shown["role"] == "admin" and shown["revoke_time"] is None) is is_api
    if is_api:
        assert f"{last} is the last valid admin key {place.name}" in ended.stderr
        assert "pass --yes to confirm" in ended.stderr
        place("keys", name, last, *options, "--yes")


def test_a_context_chooses_the_portal(url: str, target: str, tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "PORTAL_DATABASE_URL": url}
    database = f"in {url.removeprefix('sqlite:///')}"
    key_file = tmp_path / "key"
    key_file.write_text(KEY)
    local = Place("", home)
    before = local("keys", "create", "--role", "viewer").stderr
    local("contexts", "set", "live", "--target", target, "--key-file", str(key_file))
    current = local("keys", "create", "--role", "viewer").stderr
    named = local("keys", "create", "--role", "viewer", "--context", "live").stderr
    option = Place("", home | {"PORTAL_KEY": KEY})("keys", "list", "--target", target)

    assert database in before
    assert f"at {target}" in current
    assert f"at {target}" in named
    assert "ID" in option.stdout


def test_the_ids_of_keys_that_are_not_revoked_are_completed(place: Place) -> None:
    key_id = place("keys", "create", "--note", "to complete").stdout.split("_")[1]
    gone = place("keys", "create", "--note", "to forget").stdout.split("_")[1]
    place("keys", "revoke", gone)
    place._variables |= {  # noqa: SLF001
        "_PORTAL_COMPLETE": "complete_zsh",
        "_TYPER_COMPLETE_ARGS": "portal keys revoke ",
    }
    found = place().stdout

    assert key_id in found
    assert gone not in found

"""`portal apply` and `portal export`: the plan is true, and what was done is reported."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml
from pydantic import SecretStr

from portal_cli import applying, documents, files, progress
from portal_cli.errors import CommandError, Exit
from portal_cli.plan import Planner, Step
from portal_client import ClientType, DeadlineExceeded, Portal, Unavailable
from portal_server.domain.keys import Role
from portal_server.storage.sql.engine import open_engine, parse_url
from portal_server.storage.store import Store
from tests.clients.command import KEY, Command
from tests.support import commands
from tests.support.databases import new_sqlite
from tests.support.keys import Keys
from tests.support.own_server import started
from tests.support.postgres import free_port
from tests.support.stack import ENVIRONMENT, ROOT

UID = "5b0e2c3a-4d0f-4e1b-9a51-0f4a2b6c7d8e"
FILE = """
providers:
  - name: Staff
    type: keycloak
    well_known_uri: https://idp.test/.well-known
    client_types:
      - name: Web
        response_types: [code, id_token]
        grant_types: [authorization_code, pkce]
      - name: Robot
        description: No people
        response_types: [none]
        grant_types: [client_credentials]
        token_endpoint_auth_method: client_secret_basic
  - name: Guests
    type: okta
    well_known_uri: https://guests.test/.well-known
    client_types:
      - name: Twice
        response_types: [code]
        grant_types: [pkce]
        okta_app_type: browser
      - name: Twice
        response_types: [token]
        grant_types: [implicit]
        okta_app_type: web
"""
OTHER = """
providers:
  - name: Other
    type: gluu
    well_known_uri: https://other.test/.well-known
"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    return new_sqlite(tmp_path / "p.db")


@pytest.fixture
def target(url: str) -> Iterator[str]:
    with started(url, admin_key=SecretStr(KEY)) as server:
        yield f"127.0.0.1:{server.port}"


@pytest.fixture
def portal(target: str) -> Command:
    return Command(target)


@pytest.fixture
def client(target: str) -> Iterator[Portal]:
    with Portal(target, key=KEY) as client:
        yield client


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "portal.yaml"
    file.write_text(FILE)
    return file


def names(portal: Command, provider_id: int) -> list[str]:
    return [one["name"] for one in portal.json("client-types", "list", str(provider_id))]


@pytest.fixture
def steps(client: Portal) -> list[Step]:
    """The plan of FILE."""
    return Planner(client).plan(files.parse(FILE, "page"))


# What is created, changed and deleted


def test_apply_is_idempotent(portal: Command, file: Path) -> None:
    first = portal("apply", "-f", str(file), "--yes")
    assert "Plan: 6 to create, 0 to change, 0 to delete." in first.stdout
    assert "+     client type 'Robot'" in first.stdout

    assert portal("apply", "-f", str(file), "--dry-run").stdout == "No changes.\n"
    assert [one["name"] for one in portal.json("client-types", "list", "2")] == ["Twice", "Twice"]


def test_a_dry_run_changes_nothing_and_its_exit_code_shows_pending_changes(
    portal: Command, file: Path
) -> None:
    portal("apply", "-f", str(file), "--dry-run", code=Exit.WOULD_CHANGE)
    assert portal.json("providers", "list") == []


def test_apply_updates_differences_and_deletes_only_with_prune(portal: Command, file: Path) -> None:
    portal("apply", "-f", str(file), "--yes")
    document = yaml.safe_load(FILE)
    web, _ = document["providers"][0]["client_types"]
    web["grant_types"] = ["pkce"]
    document["providers"][0]["client_types"] = [web]
    del document["providers"][1]
    text = yaml.safe_dump(document)

    kept = portal("apply", "-f", "-", "--yes", stdin=text).stdout
    assert "grant_types: [authorization_code, pkce] → [pkce]" in kept
    assert "Plan: 0 to create, 1 to change, 0 to delete." in kept
    assert len(portal.json("providers", "list")) == 2

    pruned = portal("apply", "-f", "-", "--yes", "--prune", stdin=text).stdout
    assert "Plan: 0 to create, 0 to change, 4 to delete." in pruned
    assert [one["name"] for one in portal.json("providers", "list")] == ["Staff"]
    assert [one["name"] for one in portal.json("client-types", "list", "1")] == ["Web"]


def test_a_provider_can_become_okta_together_with_its_client_types(
    portal: Command, file: Path
) -> None:
    portal("apply", "-f", str(file), "--yes")
    document = yaml.safe_load(FILE)
    document["providers"][0]["type"] = "okta"
    for client_type in document["providers"][0]["client_types"]:
        client_type["okta_app_type"] = "web"
    portal("apply", "-f", "-", "--yes", stdin=yaml.safe_dump(document))
    assert portal.json("providers", "get", "1")["type"] == "okta"

    portal("apply", "-f", str(file), "--yes")
    assert portal.json("providers", "get", "1")["type"] == "keycloak"
    assert portal.json("client-types", "list", "1")[0]["okta_app_type"] is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("providers: [", "stdin:1:13: expected the node content"),
        ("providers: 3", "stdin:1:12: providers: must be a list"),
        ("", "stdin:1:1: document: must be a mapping"),
        ("providers: \0", "stdin:1:12: unacceptable character U+0000"),
        ("a: 1\nb: \0", "stdin:2:4: unacceptable character U+0000"),
        ("[" * 5000, "stdin: nested too deeply"),
        ("a: 2026-02-31", "stdin: day is out of range"),
        ("? [a]\n: b", "stdin:1:3: found unhashable key"),
        ("providers: []\nproviders: []", "stdin:2:1: duplicate field 'providers'"),
        (FILE.replace("description:", "name:"), "stdin:11:9: duplicate field 'name'"),
        ("providers: [{name: a, type: okta}]", "stdin:1:13: well_known_uri: is required"),
        ("providers: [3]", "stdin:1:13: must be a mapping"),
        ("providers: [&a [*a]]", "stdin:1:13: must be a mapping"),
        ("providers: []\nmore: 1", "stdin:2:7: more: unknown field; fields: providers;"),
        ("providers: []\n---\na: 1", "stdin:2:1: a file has one document; pass -f for each file;"),
        ("providers:\n\t- name: a", "stdin:2:1: indent with spaces, not with tabs;"),
        (
            FILE.replace("description:", "desc:"),
            "desc: unknown field; fields: uid, name, description, response_types",
        ),
        (
            FILE.replace("type: okta", "type: okta\n    tls_insecure_skip_verify: 'yes'"),
            "stdin:17:31: tls_insecure_skip_verify: must be true or false",
        ),
        (FILE.replace("[token]", "[foo]"), "stdin:24:26: response_types.0: 'foo' is not one of: "),
        (FILE.replace("type: okta", "type: okta\n    uid: 7"), "stdin:17:10: uid: must be text"),
        (FILE.replace("type: okta", "type: okta\n    uid: x"), "stdin:17:10: uid: must be a UUID"),
        (
            FILE.replace("- name: Twice", f"- uid: {UID}\n        name: Twice"),
            f"stdin:24:14: uid: duplicate uid {UID}",
        ),
        (
            FILE.replace("type: okta", "type: octa"),
            "stdin:16:11: type: 'octa' is not one of: keycloak",
        ),
    ],
)
def test_an_invalid_file_is_rejected_with_the_place_and_changes_nothing(
    portal: Command, text: str, expected: str
) -> None:
    done = portal("apply", "-f", "-", "--yes", stdin=text, code=Exit.FAILED)

    assert expected in done.stderr
    assert done.stderr.count("\n") == 1
    assert portal.json("providers", "list") == []


def test_an_export_can_be_applied_to_another_portal(
    portal: Command, file: Path, tmp_path: Path
) -> None:
    portal("apply", "-f", str(file), "--yes")
    exported = tmp_path / "exported.yaml"
    portal("export", "-f", str(exported))
    url = new_sqlite(tmp_path / "other.db")
    with started(url, admin_key=SecretStr(KEY)) as server:
        other = Command(f"127.0.0.1:{server.port}")
        other("apply", "-f", str(exported), "--yes")

        assert other("export").stdout == exported.read_text()
    document = yaml.safe_load(exported.read_text())
    for provider in document["providers"]:
        assert UUID(provider.pop("uid"))
        for client_type in provider["client_types"]:
            assert UUID(client_type.pop("uid"))
    assert document == yaml.safe_load(FILE)


def test_apply_finds_a_resource_by_its_uid_and_renames_it(
    portal: Command, file: Path, tmp_path: Path
) -> None:
    portal("apply", "-f", str(file), "--yes")
    exported = tmp_path / "exported.yaml"
    portal("export", "-f", str(exported))
    document = yaml.safe_load(exported.read_text())
    guests = document["providers"][1]
    guests["name"] = "Visitors"
    first, second = guests["client_types"]
    first["name"], second["name"] = "First", "Second"
    guests["client_types"] = [second, first]
    done = portal("apply", "-f", "-", "--yes", "--prune", stdin=yaml.safe_dump(document))

    assert "name: 'Guests' → 'Visitors'" in done.stdout
    assert "Plan: 0 to create, 3 to change, 0 to delete." in done.stdout
    assert portal.json("providers", "get", "2")["name"] == "Visitors"
    names = [one["name"] for one in portal.json("client-types", "list", "2")]
    assert names == ["First", "Second"]


# The plan


def test_the_plan_shows_each_field_of_what_is_created(portal: Command, file: Path) -> None:
    plan = portal("apply", "-f", str(file), "--dry-run", code=Exit.WOULD_CHANGE).stdout

    assert plan.startswith(
        "+ provider 'Staff' (keycloak)\n"
        "      name: 'Staff'\n"
        "      type: 'keycloak'\n"
        "      well_known_uri: 'https://idp.test/.well-known'\n"
        "+     client type 'Web'\n"
        "          name: 'Web'\n"
        "          response_types: [code, id_token]\n"
        "          grant_types: [authorization_code, pkce]\n"
        "          warning: response_types: id_token is not sent, because the client type does not "
        "grant implicit. Keycloak would turn on the implicit flow. (RFC 7591, section 2.1)\n"
        "          warning: grant_types: pkce is sent as authorization_code, and the client is "
        "public: it has no secret. Keycloak does not require PKCE of it. (RFC 9700, section "
        "2.1.1)\n"
        "+     client type 'Robot'\n"
        "          name: 'Robot'\n"
        "          description: 'No people'\n"
    )


def test_the_plan_shows_and_counts_each_resource_that_prune_deletes(
    portal: Command, file: Path
) -> None:
    portal("apply", "-f", str(file), "--yes")
    text = "providers: []"
    plan = portal("apply", "-f", "-", "--prune", "--dry-run", stdin=text, code=Exit.WOULD_CHANGE)

    assert plan.stdout == (
        "- provider 'Staff' (1)\n"
        "-     client type 'Web' (1)\n"
        "-     client type 'Robot' (2)\n"
        "- provider 'Guests' (2)\n"
        "-     client type 'Twice' (3)\n"
        "-     client type 'Twice' (4)\n"
        "Plan: 0 to create, 0 to change, 6 to delete.\n"
    )
    done = portal("apply", "-f", "-", "--prune", "--yes", stdin=text)
    assert done.stderr == "Done: 0 created, 0 changed, 6 deleted.\n"
    assert portal.json("providers", "list") == []


def test_the_plan_is_json_for_programs(portal: Command, file: Path) -> None:
    arguments = ("-o", "json", "apply", "-f", str(file), "--dry-run")
    plan = json.loads(portal(*arguments, code=Exit.WOULD_CHANGE).stdout)
    assert plan["summary"] == {"create": 6, "change": 0, "delete": 0}
    assert plan["changes"][1] == {
        "action": "create",
        "kind": "client_type",
        "name": "Web",
        "id": None,
        "uid": None,
        "provider": {"name": "Staff", "id": None},
        "fields": {
            "name": {"old": None, "new": "Web"},
            "response_types": {"old": None, "new": ["code", "id_token"]},
            "grant_types": {"old": None, "new": ["authorization_code", "pkce"]},
        },
        "findings": plan["changes"][1]["findings"],
        "file": str(file),
        "line": 7,
        "column": 9,
    }
    finding, *_ = plan["changes"][1]["findings"]
    assert (finding["severity"], finding["field"]) == ("warning", "response_types")
    assert plan["checked"] is True

    portal("apply", "-f", str(file), "--yes")
    assert json.loads(portal(*arguments).stdout)["changes"] == []
    file.write_text(FILE.replace("name: Robot", "name: Web").replace("[none]", "[token]"))
    plan = json.loads(portal(*arguments, "--prune", code=Exit.WOULD_CHANGE).stdout)
    changed, deleted = plan["changes"]
    assert (changed["action"], changed["name"], changed["id"]) == ("create", "Web", None)
    assert (deleted["action"], deleted["name"], deleted["id"]) == ("delete", "Robot", 2)
    assert deleted["provider"] == {"name": "Staff", "id": 1}


def test_a_long_value_is_shortened_in_the_plan_and_complete_in_json(portal: Command) -> None:
    text = FILE.replace("No people", "x" * 4000)
    arguments = ("apply", "-f", "-", "--dry-run")
    plan = portal(*arguments, stdin=text, code=Exit.WOULD_CHANGE).stdout
    complete = portal("-o", "json", *arguments, stdin=text, code=Exit.WOULD_CHANGE).stdout

    assert "x… (4000 characters)\n" in plan
    assert max(map(len, plan.splitlines())) < 260
    assert json.loads(complete)["changes"][2]["fields"]["description"]["new"] == "x" * 4000


# The files


def test_several_files_folders_and_standard_input_are_one_document(
    portal: Command, file: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("b.yml", "a.yaml", ".hidden.yaml", "c.txt"):
        (folder / name).write_text(OTHER.replace("Other", name))
    done = portal("apply", f"-f{file}", f"-f{folder}", "-f-", "--yes", stdin=OTHER)

    assert "Done: 9 created" in done.stderr
    found = [one["name"] for one in portal.json("providers", "list")]
    assert found == ["Staff", "Guests", "a.yaml", "b.yml", "Other"]
    pruned = portal("apply", "-f", str(folder), "--prune", "--yes")
    assert "Done: 0 created, 0 changed, 7 deleted." in pruned.stderr


def test_files_that_cannot_be_read_together_are_errors(
    portal: Command, file: Path, tmp_path: Path
) -> None:
    twice = portal("apply", "-f-", "-f-", "--yes", stdin=OTHER, code=Exit.USAGE)
    assert "standard input can be read only once" in twice.stderr
    for again in (file, file.parent):
        repeated = portal("apply", f"-f{file}", f"-f{again}", "--yes", code=Exit.USAGE)
        assert repeated.stderr == f"portal: --file: {file} is given twice\n"
    (tmp_path / "empty").mkdir()
    empty = portal("apply", f"-f{file}", f"-f{tmp_path}/empty", "--yes", code=Exit.FAILED)
    assert "empty: the folder has no .yaml or .yml file" in empty.stderr
    copy = FILE.replace("name: Staff", f"name: Staff\n    uid: {UID}")
    file.write_text(copy)
    same = portal("apply", f"-f{file}", "-f-", "--yes", stdin=copy, code=Exit.FAILED)
    assert f"stdin:4:10: uid: duplicate uid {UID}" in same.stderr
    assert portal.json("providers", "list") == []


def test_each_mistake_of_each_file_is_reported_with_its_line_and_column(
    portal: Command, file: Path
) -> None:
    file.write_text(FILE.replace("keycloak", "keycloack").replace("[pkce]", "pkce"))
    text = OTHER.replace("gluu", "3\n    typ: gluu").replace("  - name", "  - uid: 7\n    name")
    done = portal("apply", f"-f{file}", "-f-", "--yes", stdin=text, code=Exit.FAILED)

    assert done.stderr.splitlines() == [
        f"{file}:4:11: type: 'keycloack' is not one of: keycloak, gluu, okta, other",
        f"{file}:21:22: grant_types: must be a list",
        "stdin:3:10: uid: must be text",
        "stdin:5:11: type: must be text",
        f"stdin:6:10: typ: unknown field; fields: {', '.join(documents.FIELDS[3])}",
        "portal: 5 errors; nothing was written",
    ]


def test_all_mistakes_are_in_an_error_in_json(portal: Command) -> None:
    text = FILE.replace("https://idp.test/", "nope/").replace("No people", r'"\0"')
    done = portal("apply", "-f-", "--yes", "-o", "json", stdin=text, code=Exit.FAILED)
    error = json.loads(done.stderr)["error"]

    assert error["message"] == "2 errors; nothing was written"
    assert [one.partition(": ")[0] for one in error["problems"]] == ["stdin:5:21", "stdin:11:22"]


# What the server checks


def test_the_server_checks_every_rule_before_the_first_write(portal: Command, file: Path) -> None:
    file.write_text(
        FILE.replace("https://idp.test/.well-known", "nope")
        .replace("name: Robot", f"name: {'x' * 300}")
        .replace("No people", r'"\0"')
        .replace("        okta_app_type: browser\n", "")
    )
    for mode in ("--dry-run", "--yes"):
        done = portal("apply", "-f", str(file), mode, code=Exit.FAILED)
        lines = done.stderr.splitlines()
        assert done.stdout == ""
        assert [line.removeprefix(f"{file}:").split(": ")[0] for line in lines[:-1]] == [
            "5:21",
            "10:15",
            "11:22",
            "19:9",
        ]
        assert lines[0].endswith(
            "provider 'Staff' (keycloak): well_known_uri: must be an absolute http or https URL"
            " without user information or fragment"
        )
        assert lines[3].endswith(
            "client type 'Twice' of provider 'Guests' (okta): okta_app_type: is required, because"
            " the provider's type is Okta; allowed: web, native, browser, service"
        )
        assert lines[4] == "portal: 4 errors; nothing was written"
    assert portal.json("providers", "list") == []


def test_changes_and_deletions_are_checked_too(portal: Command, file: Path) -> None:
    portal("apply", "-f", str(file), "--yes")
    text = FILE.replace("https://guests.test/", "guests.test/").replace("No people", r'"\0"')
    done = portal("apply", "-f", "-", "--dry-run", stdin=text, code=Exit.FAILED)

    robot, guests, end = done.stderr.splitlines()
    assert robot.startswith("stdin:11:22: client type 'Robot' (2) of provider 'Staff' (1): desc")
    assert guests.startswith("stdin:17:21: provider 'Guests' (2): well_known_uri: ")
    assert end == "portal: 2 errors; nothing was written"


def test_a_uid_of_another_resource_is_found_before_the_first_write(
    portal: Command, file: Path
) -> None:
    portal("apply", "-f", str(file), "--yes")
    [uid, _] = [one["uid"] for one in portal.json("client-types", "list", "2")]
    document = yaml.safe_load(FILE)
    document["providers"][0]["client_types"].append(
        {"uid": uid, "name": "New", "response_types": ["code"], "grant_types": ["pkce"]}
    )
    del document["providers"][1]
    done = portal("apply", "-f-", "--yes", stdin=yaml.safe_dump(document), code=Exit.FAILED)

    assert re.search(r"stdin:\d+:\d+: client type 'New' of provider 'Staff' \(1\): ", done.stderr)
    assert f"a client type with the uid {uid} already exists; nothing was written" in done.stderr


def test_a_client_type_can_move_to_another_provider_with_its_uid(
    portal: Command, file: Path
) -> None:
    portal("apply", "-f", str(file), "--yes")
    document = yaml.safe_load(portal("export").stdout)
    staff, guests = document["providers"]
    moved = staff["client_types"].pop()
    guests["client_types"].append(moved | {"okta_app_type": "service"})
    portal("apply", "-f-", "--yes", "--prune", stdin=yaml.safe_dump(document))

    assert names(portal, 1) == ["Web"]
    assert names(portal, 2) == ["Twice", "Twice", "Robot"]


def test_a_provider_cannot_become_okta_while_another_client_type_has_no_app_type(
    portal: Command, file: Path
) -> None:
    portal("apply", "-f", str(file), "--yes")
    document = yaml.safe_load(FILE)
    [staff] = document["providers"] = document["providers"][:1]
    staff["type"] = "okta"
    web, robot = staff["client_types"]
    web["okta_app_type"] = "web"
    unchanged = yaml.safe_dump(document)
    staff["client_types"] = [web]
    absent = yaml.safe_dump(document)

    for text, place in ((unchanged, r"stdin:\d+:\d+: "), (absent, "portal: ")):
        done = portal("apply", "-f-", "--yes", stdin=text, code=Exit.FAILED)
        problem = rf"{place}client type 'Robot' \(2\) of provider 'Staff' \(1\): okta_app_type: is "
        assert re.search(problem, done.stderr)
        assert done.stderr.endswith("; nothing was written\n")
    assert portal.json("client-types", "get", "1", "1")["okta_app_type"] is None

    portal("apply", "-f-", "--yes", "--prune", stdin=absent)
    assert portal.json("providers", "get", "1")["type"] == "okta"
    staff["client_types"] = [web, robot | {"okta_app_type": "service"}]
    assert "1 created" in portal("apply", "-f-", "--yes", stdin=yaml.safe_dump(document)).stderr


def test_a_key_that_may_not_write_gets_a_plan_that_the_server_has_not_checked(
    url: str, portal: Command, file: Path
) -> None:
    engine = open_engine(parse_url(url))
    viewer = Keys(Store(engine)).create(Role.VIEWER, "")
    engine.dispose()
    variables = ENVIRONMENT | portal.variables | {"PORTAL_KEY": viewer}
    dry_run = ("apply", "-f", str(file), "--dry-run")
    done = commands.run("portal_cli", dry_run, variables, "")
    as_json = commands.run("portal_cli", (*dry_run, "-o", "json"), variables, "")
    applied = commands.run("portal_cli", ("apply", "-f", str(file), "--yes"), variables, "")

    assert done.returncode == as_json.returncode == Exit.WOULD_CHANGE
    assert "Plan: 6 to create" in done.stdout
    assert "the server has not checked the plan: the API key may not write" in done.stderr
    assert json.loads(as_json.stdout)["checked"] is False
    assert applied.returncode == Exit.NO_PERMISSION
    assert "Plan: 6 to create" in applied.stdout
    assert "Nothing was written." in applied.stderr
    assert "viewer" in applied.stderr


# What was done and what was not


def test_a_rejected_step_says_what_was_done_and_what_was_not(
    client: Portal, steps: list[Step]
) -> None:
    client.create_provider(steps[3].own.resource, uid=UID)  # type: ignore[arg-type]
    steps[3].own.resource.uid = UID
    with pytest.raises(CommandError) as error:
        applying.run(client, steps)

    assert str(error.value) == (
        f"provider 'Guests' (okta): a provider with the uid {UID} already exists."
        " Done: 3 created, 0 changed, 0 deleted."
        " Not done: 3 to create, 0 to change, 0 to delete, from provider 'Guests' (okta) on."
        " Run apply again for the rest."
    )
    assert [one.name for one in client.list_client_types(1)] == []
    assert [one.name for one in client.list_client_types(2)] == ["Web", "Robot"]
    applying.run(client, Planner(client).plan(files.parse(FILE, "page")))
    assert [one.name for one in client.list_client_types(1)] == ["Twice", "Twice"]


def test_after_a_failed_connection_the_outcome_of_the_step_is_unknown(
    client: Portal, steps: list[Step], capsys: pytest.CaptureFixture[str]
) -> None:
    with Portal(f"127.0.0.1:{free_port()}", key=KEY, timeout=0.2) as nowhere:
        steps[0].run(client)
        with pytest.raises((Unavailable, DeadlineExceeded)):
            applying.run(nowhere, steps[1:])

    assert capsys.readouterr().err == (
        "Done: 0 created, 0 changed, 0 deleted."
        " Not done: 5 to create, 0 to change, 0 to delete,"
        " from client type 'Web' of provider 'Staff' (keycloak) on."
        " It is unknown whether client type 'Web' of provider 'Staff' (keycloak) was written."
        " Run apply again for the rest.\n"
    )


def test_ctrl_c_says_what_was_done_and_a_terminal_shows_the_progress(
    portal: Command, client: Portal, tmp_path: Path
) -> None:
    document = yaml.safe_load(FILE)
    one = document["providers"][0]["client_types"][0]
    document["providers"][0]["client_types"] = [one | {"name": f"n{n}"} for n in range(2000)]
    big = tmp_path / "big.yaml"
    big.write_text(json.dumps(document))
    terminal, side = pty.openpty()
    shown = b""
    with subprocess.Popen(
        [sys.executable, "-m", "portal_cli", "apply", "-f", str(big), "--yes"],
        env=ENVIRONMENT | portal.variables | {"TERM": "xterm"},
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=side,
    ) as running:
        os.close(side)
        while b"applying" not in shown:
            shown += os.read(terminal, 4096)
        running.send_signal(signal.SIGINT)
        while part := _read(terminal):
            shown += part
    os.close(terminal)

    text = shown.decode()
    assert running.returncode == Exit.INTERRUPTED
    assert "checking" in text
    reported = re.search(
        r"Done: (\d+) created, .* Not done: (\d+) to create, .*It is unknown", text
    )
    assert reported, text
    done, left = map(int, reported.groups())
    stored = [one for provider in client.list_providers() for one in _all(client, provider.id)]
    assert done + left == 2004
    assert len(stored) in (done, done + 1)


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # EIO: the other side is closed
        return b""


def _all(client: Portal, provider_id: int) -> list[ClientType | None]:
    return [None, *client.list_client_types(provider_id)]


def test_a_log_has_lines_with_the_progress(
    client: Portal,
    steps: list[Step],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(progress, "_PERIOD_S", 0.0)
    applying.run(client, steps)

    assert capsys.readouterr().err.splitlines() == [f"applying: {n} of 6" for n in range(1, 7)]


def test_an_unreachable_server_says_that_nothing_was_written(file: Path) -> None:
    variables: dict[str, Any] = Command(f"127.0.0.1:{free_port()}").variables
    arguments = ("--timeout", "0.2", "apply", "-f", str(file), "--yes")
    done = commands.run("portal_cli", arguments, ENVIRONMENT | variables, "")

    assert done.returncode not in (Exit.DONE, Exit.WOULD_CHANGE)
    assert "Nothing was written.\nportal: " in done.stderr

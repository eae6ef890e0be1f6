"""The commands of the client: results, errors, exit codes."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
import yaml
from pydantic import SecretStr

from portal_cli.errors import Exit
from portal_client import Portal
from tests.clients.command import KEY, Command
from tests.support.databases import new_sqlite
from tests.support.own_server import started
from tests.support.postgres import free_port
from tests.support.stack import ROOT

PROVIDER = (
    "providers",
    "create",
    "--name=Staff",
    "--type=keycloak",
    "--well-known-uri=https://idp.test/.well-known",
)
UID = "5b0e2c3a-4d0f-4e1b-9a51-0f4a2b6c7d8e"
WEB = ("--name=Web", "--response-types=code, id_token", "--grant-types=authorization_code,pkce")
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


@pytest.fixture
def target(tmp_path: Path) -> Iterator[str]:
    with started(new_sqlite(tmp_path / "p.db"), admin_key=SecretStr(KEY)) as server:
        yield f"127.0.0.1:{server.port}"


@pytest.fixture
def portal(target: str) -> Command:
    return Command(target)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "portal.yaml"
    file.write_text(FILE)
    return file


def test_a_client_type_is_created_shown_changed_listed_and_deleted(portal: Command) -> None:
    portal(*PROVIDER)
    created = portal.json("client-types", "create", "1", *WEB, f"--uid={UID}")
    assert (created["id"], created["uid"]) == (1, UID)
    assert created["response_types"] == ["code", "id_token"]

    portal("client-types", "update", "1", "1", "--description=For people", "--grant-types=pkce")
    shown = portal.json("client-types", "get", "1", "1")
    assert (shown["description"], shown["grant_types"]) == ("For people", ["pkce"])
    assert shown["name"] == "Web"

    portal("client-types", "update", "1", "1", "--description=")
    assert portal.json("client-types", "list", "1")[0]["description"] == ""

    portal("client-types", "delete", "1", "1", "--yes")
    assert portal.json("client-types", "list", "1") == []


def test_a_provider_is_created_shown_changed_and_deleted(portal: Command, tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("registration-secret\n")
    created = portal.json(*PROVIDER, f"--registration-access-token-file={secret}")
    assert created["registration_access_token_set"]
    assert "registration-secret" not in json.dumps(created)

    portal("providers", "update", "1", "--name=Others", "--tls-insecure-skip-verify")
    shown = yaml.safe_load(portal("-o", "yaml", "providers", "get", "1").stdout)
    assert (shown["name"], shown["tls_insecure_skip_verify"]) == ("Others", True)
    assert "Others" in portal("providers", "list").stdout

    portal("providers", "delete", "1", "--yes")
    assert portal.json("providers", "list") == []


def test_a_table_does_not_interpret_markup_in_names(portal: Command) -> None:
    portal(*PROVIDER)
    portal("client-types", "create", "1", *WEB[1:], "--name=[bold]x[/bold] :smile: ünïcode")

    assert "[bold]x[/bold] :smile: ünïcode" in portal("client-types", "list", "1").stdout


def test_control_characters_in_a_name_are_escaped(portal: Command) -> None:
    portal(*PROVIDER[:2], "--name=\x1b[31mred\u202e\n", *PROVIDER[3:])

    assert "\\x1b[31mred\\u202e\\n" in portal("providers", "list").stdout
    assert "\\x1b[31mred\\u202e\\n" in portal("providers", "get", "1").stdout
    assert portal.json("providers", "get", "1")["name"] == "\x1b[31mred\u202e\n"


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (("providers", "get", "7"), Exit.NOT_FOUND, "portal: provider 7 not found\n"),
        (("client-types", "create", "1", "--name=x"), Exit.USAGE, "--response-types"),
        (
            ("client-types", "create", "1", *WEB[:1], "--response-types=foo", *WEB[2:]),
            Exit.USAGE,
            "'foo' is not one of: code, token, id_token, none",
        ),
        (("providers", "delete", "1"), Exit.NOT_FOUND, "provider 1 not found"),
        (("providers", "get", "99999999999"), Exit.USAGE, "less than or equal to 2147483647"),
        (("--key=a\nb", "providers", "list"), Exit.USAGE, "not printable ASCII"),
        (("nonsense",), Exit.USAGE, "nonsense"),
        (("apply", "-f", "no-such-file"), Exit.FAILED, "no-such-file: No such file or directory"),
    ],
)
def test_errors_are_one_line_and_have_their_exit_code(
    portal: Command, arguments: tuple[str, ...], code: Exit, expected: str
) -> None:
    done = portal(*arguments, code=code)

    assert expected in done.stderr
    assert done.stderr.startswith("portal: ")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_an_error_names_the_invalid_fields(portal: Command) -> None:
    portal(*PROVIDER)
    done = portal("client-types", "create", "1", *WEB[1:], "--name= ", code=Exit.FAILED)

    assert done.stderr == "portal: client_type.name: must not be blank\n"


def test_an_unreachable_server_and_a_missing_api_key_are_errors() -> None:
    unreachable = Command(f"127.0.0.1:{free_port()}")
    assert "portal: " in unreachable("providers", "list", code=Exit.NO_SERVER).stderr
    keyless = Command("127.0.0.1:1", PORTAL_KEY="")
    assert "PORTAL_KEY" in keyless("providers", "list", code=Exit.USAGE).stderr


def test_delete_without_a_terminal_requires_yes(portal: Command) -> None:
    portal(*PROVIDER)
    assert "--yes" in portal("providers", "delete", "1", code=Exit.USAGE).stderr
    assert len(portal.json("providers", "list")) == 1


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
    assert "Plan: 0 to create, 0 to change, 2 to delete." in pruned
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
        ("providers: [", "line 1: "),
        ("providers: 3", "providers: "),
        ("", "document: must be a mapping"),
        ("providers: \0", "unacceptable character"),
        ("[" * 5000, "recursion"),
        ("? [a]\n: b", "line 1: found unhashable key"),
        ("providers: []\nproviders: []", "line 2: duplicate field 'providers'"),
        (FILE.replace("description:", "name:"), "duplicate field 'name'"),
        ("providers: [{name: a, type: keycloak}]", "providers.0.well_known_uri: is required"),
        ("providers: []\nmore: 1", "more: unknown field"),
        (FILE.replace("[token]", "[foo]"), "response_types.0: 'foo' is not one of: code, token"),
        (FILE.replace("type: okta", "type: okta\n    uid: 7"), "providers.1.uid: "),
        (FILE.replace("type: okta", "type: okta\n    uid: x"), "providers.1.uid: must be a UUID"),
        (
            FILE.replace("- name: Twice", f"- uid: {UID}\n        name: Twice"),
            f"duplicate uid {UID}",
        ),
        (
            FILE.replace("type: okta", "type: octa"),
            "providers.1.type: 'octa' is not one of: keycloak",
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


def test_apply_continues_after_an_error(portal: Command, file: Path, target: str) -> None:
    bad = FILE.replace("name: Robot", "name: ' '")
    stopped = portal("apply", "-f", "-", "--yes", stdin=bad, code=Exit.FAILED)
    assert "client_type.name: must not be blank (2 of 6 steps done" in stopped.stderr

    portal("apply", "-f", str(file), "--yes")
    with Portal(target, key=KEY) as client:
        names = [one.name for one in client.list_client_types(1)]
    assert names == ["Web", "Robot"]


def test_every_exit_code_is_documented() -> None:
    page = (ROOT / "docs" / "cli.md").read_text()
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)}

    assert documented == {code.value for code in Exit}

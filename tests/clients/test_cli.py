"""The commands of the client: results, errors, exit codes."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from pydantic import SecretStr

from portal_cli.errors import Exit
from tests.clients.command import CREATE_PROVIDER, KEY, Command
from tests.support.databases import new_sqlite
from tests.support.own_server import started
from tests.support.postgres import free_port
from tests.support.stack import ROOT

UID = "5b0e2c3a-4d0f-4e1b-9a51-0f4a2b6c7d8e"
WEB = ("--name=Web", "--response-types=code, id_token", "--grant-types=authorization_code,pkce")


@pytest.fixture
def target(tmp_path: Path) -> Iterator[str]:
    with started(new_sqlite(tmp_path / "p.db"), admin_key=SecretStr(KEY)) as server:
        yield f"127.0.0.1:{server.port}"


@pytest.fixture
def portal(target: str) -> Command:
    return Command(target)


def test_a_client_type_is_created_shown_changed_listed_and_deleted(portal: Command) -> None:
    portal(*CREATE_PROVIDER)
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
    created = portal.json(*CREATE_PROVIDER, f"--registration-access-token-file={secret}")
    assert created["registration_access_token_set"]
    assert "registration-secret" not in json.dumps(created)

    portal("providers", "update", "1", "--name=Others", "--tls-insecure-skip-verify")
    shown = yaml.safe_load(portal("-o", "yaml", "providers", "get", "1").stdout)
    assert (shown["name"], shown["tls_insecure_skip_verify"]) == ("Others", True)
    assert "Others" in portal("providers", "list").stdout

    portal("providers", "delete", "1", "--yes")
    assert portal.json("providers", "list") == []


def test_a_table_does_not_interpret_markup_in_names(portal: Command) -> None:
    portal(*CREATE_PROVIDER)
    portal("client-types", "create", "1", *WEB[1:], "--name=[bold]x[/bold] :smile: ünïcode")

    assert "[bold]x[/bold] :smile: ünïcode" in portal("client-types", "list", "1").stdout


def test_control_characters_in_a_name_are_escaped(portal: Command) -> None:
    portal(*CREATE_PROVIDER[:2], "--name=\x1b[31mred\u202e\n", *CREATE_PROVIDER[3:])

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
        (("providers", "get", "99999999999"), Exit.USAGE, "between 1 and 2147483647"),
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
    portal(*CREATE_PROVIDER)
    done = portal("client-types", "create", "1", *WEB[1:], "--name= ", code=Exit.FAILED)

    assert done.stderr == "portal: name: must not be blank\n"


def test_an_unreachable_server_and_a_missing_api_key_are_errors() -> None:
    unreachable = Command(f"127.0.0.1:{free_port()}")
    assert "portal: " in unreachable("providers", "list", code=Exit.NO_SERVER).stderr
    keyless = Command("127.0.0.1:1", PORTAL_KEY="")
    assert "PORTAL_KEY" in keyless("providers", "list", code=Exit.USAGE).stderr


def test_delete_without_a_terminal_requires_yes(portal: Command) -> None:
    portal(*CREATE_PROVIDER)
    assert "--yes" in portal("providers", "delete", "1", code=Exit.USAGE).stderr
    assert len(portal.json("providers", "list")) == 1


def test_every_exit_code_is_documented_and_in_the_help(portal: Command) -> None:
    page = (ROOT / "docs" / "cli.md").read_text()
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)}
    shown = re.search(r"Exit codes: (.*?)\n\n", portal("-h").stdout, re.DOTALL)

    assert documented == {code.value for code in Exit}
    assert shown
    assert {int(code) for code in re.findall(r"\d+", shown[1])} == documented

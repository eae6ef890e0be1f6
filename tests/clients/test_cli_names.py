"""Resources found by name; what commands report beside their results."""

import json
import os
import pty
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from pydantic import SecretStr

from portal_cli.errors import Exit
from portal_client import (
    GRANT_TYPE_PKCE,
    PROVIDER_TYPE_OTHER,
    RESPONSE_TYPE_CODE,
    ClientType,
    Portal,
    Provider,
)
from tests.clients.command import KEY, Command
from tests.support.databases import new_sqlite
from tests.support.own_server import started
from tests.support.stack import ENVIRONMENT

NAME = 'Staff "A" \\ B'


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A portal with the providers NAME (1), Twins (2, 3) and 7 (4); only the first has types."""
    url = new_sqlite(tmp_path_factory.mktemp("names") / "p.db")
    with started(url, admin_key=SecretStr(KEY)) as server:
        target = f"127.0.0.1:{server.port}"
        with Portal(target, key=KEY) as portal:
            for name in (NAME, "Twins", "Twins", "7"):
                portal.create_provider(
                    Provider(name=name, type=PROVIDER_TYPE_OTHER, well_known_uri="https://a.test/x")
                )
            for name in ("Web", "Web shop"):
                portal.create_client_type(
                    1,
                    ClientType(
                        name=name,
                        response_types=[RESPONSE_TYPE_CODE],
                        grant_types=[GRANT_TYPE_PKCE],
                    ),
                )
        yield target


@pytest.fixture
def portal(target: str) -> Command:
    return Command(target)


def test_a_resource_is_found_by_its_name_and_by_its_uid(portal: Command) -> None:
    found = portal.json("providers", "get", NAME)
    by_uid = portal.json("providers", "get", found["uid"].upper())
    client_type = portal.json("client-types", "get", NAME, "Web shop")

    assert (found["id"], by_uid["id"]) == (1, 1)
    assert (client_type["provider_id"], client_type["id"]) == (1, 2)
    assert portal.json("client-types", "get", "1", client_type["uid"])["id"] == 2
    assert len(portal.json("client-types", "list", NAME)) == 2
    assert portal.json("clients", "list", NAME, "--client-type", "Web") == []


def test_a_change_finds_its_resource_by_name(portal: Command) -> None:
    changed = portal.json("client-types", "update", NAME, "Web", "--description=For people")

    assert (changed["id"], changed["description"]) == (1, "For people")


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("Twins",), Exit.USAGE, "2 providers have the name 'Twins'; pass one of their IDs: 2, 3"),
        (("Staff",), Exit.NOT_FOUND, "no provider has the name 'Staff'"),
        (("staff",), Exit.NOT_FOUND, "no provider has the name 'staff'"),
        (("",), Exit.NOT_FOUND, "no provider has the name ''"),
        (("7",), Exit.NOT_FOUND, "provider 7 not found"),
        (("0",), Exit.USAGE, "the ID of a provider is between 1 and 2147483647"),
        (("9" * 5000,), Exit.USAGE, "the ID of a provider is between 1 and 2147483647"),
        (
            ("01a22692-0890-7327-b0ad-610b4930eb08",),
            Exit.NOT_FOUND,
            "no provider has the uid '01a22692-0890-7327-b0ad-610b4930eb08'",
        ),
    ],
)
def test_a_name_that_means_no_single_resource_is_an_error(
    portal: Command, arguments: tuple[str, ...], code: Exit, text: str
) -> None:
    assert portal("providers", "get", *arguments, code=code).stderr == f"portal: {text}\n"


def test_an_unknown_name_of_a_client_type_is_an_error(portal: Command) -> None:
    done = portal("client-types", "get", NAME, "we", code=Exit.NOT_FOUND)

    assert done.stderr == "portal: no client type has the name 'we'\n"


def test_an_error_of_the_server_has_the_words_of_the_options(portal: Command) -> None:
    okta = ("--name=O", "--type=okta", "--well-known-uri=https://okta.test/x")
    portal("providers", "create", *okta)
    create = ("client-types", "create", "O", "--name=x", "--response-types=code")
    done = portal(*create, "--grant-types=pkce", code=Exit.FAILED)
    deleted = portal("providers", "delete", "O", "--yes")

    assert done.stderr == (
        "portal: okta_app_type: is required, because the provider's type is Okta; "
        "allowed: web, native, browser, service\n"
    )
    assert deleted.stdout == ""
    assert deleted.stderr == "portal: deleted provider 'O' (5) and its client types\n"


def test_an_export_says_what_it_wrote_and_can_be_json(portal: Command, tmp_path: Path) -> None:
    file = tmp_path / "portal.yaml"
    written = portal("export", "-f", str(file))
    as_json = json.loads(portal("export", "-o", "json").stdout)

    assert written.stderr == f"portal: wrote 4 providers and 2 client types to {file}\n"
    assert yaml.safe_load(file.read_text()) == as_json
    file.write_text(json.dumps(as_json))
    assert "No changes." in portal("apply", "-f", str(file), "--dry-run").stdout


def test_the_port_of_the_same_environment_is_the_default(target: str) -> None:
    variables = ENVIRONMENT | {"PORTAL_KEY": KEY, "PORTAL_GRPC_PORT": target.partition(":")[2]}
    ran = subprocess.run(
        ["python", "-m", "portal_cli", "status", "-o", "json"],
        env=variables,
        capture_output=True,
        text=True,
        check=True,
    )

    assert json.loads(ran.stdout)["target"] == f"localhost:{variables['PORTAL_GRPC_PORT']}"


def on_terminal(target: str, columns: int, *arguments: str) -> str:
    """What a command shows on a terminal."""
    terminal, side = pty.openpty()
    variables = {"PORTAL_KEY": KEY, "PORTAL_TARGET": target, "COLUMNS": str(columns)}
    subprocess.run(
        ["python", "-m", "portal_cli", *arguments],
        env=ENVIRONMENT | variables | {"NO_COLOR": "1", "TERM": "dumb"},
        stdout=side,
        stderr=side,
        check=True,
    )
    os.close(side)
    shown = os.read(terminal, 1 << 16).decode()
    os.close(terminal)
    return shown


def test_an_empty_list_on_a_terminal_is_reported(target: str, portal: Command) -> None:
    assert on_terminal(target, 80, "client-types", "list", "2") == "portal: no client types\r\n"
    assert portal("client-types", "list", "2").stdout.split() == [
        *("ID", "NAME", "RESPONSE", "TYPES", "GRANT", "TYPES", "OKTA", "APP", "TYPE", "UPDATED")
    ]


def test_a_narrow_terminal_cuts_no_value(target: str, portal: Command) -> None:
    found = portal.json("providers", "get", "1")
    shown = on_terminal(target, 40, "providers", "get", "1")
    joined = "".join(shown.split())

    assert "…" not in shown
    assert found["uid"] in joined
    assert found["etag"] in joined


def test_the_help_lists_commands_that_call_no_portal_separately(portal: Command) -> None:
    shown = portal("-h").stdout
    calling, local = shown.partition("Options:")[0].split("Commands that call no portal:")

    assert "\n  status " in calling
    assert "\n  completion " in local
    assert "{" not in portal("client-types", "get", "-h").stdout.splitlines()[0]

"""`portal status`."""

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from portal_cli.errors import Exit
from tests.clients.command import KEY, Command
from tests.support.databases import new_sqlite
from tests.support.own_server import started
from tests.support.postgres import free_port
from tests.support.stack import portal as run_portal


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return new_sqlite(tmp_path_factory.mktemp("status") / "p.db")


@pytest.fixture(scope="module")
def target(url: str) -> Iterator[str]:
    with started(url, admin_key=SecretStr(KEY)) as server:
        yield f"127.0.0.1:{server.port}"


@pytest.mark.parametrize("role", ["admin", "viewer"])
def test_the_status_has_the_target_and_the_name_and_role_of_the_key(
    url: str, target: str, role: str
) -> None:
    key = run_portal("keys", "create", "--role", role, PORTAL_DATABASE_URL=url).stdout.strip()
    portal = Command(target, PORTAL_KEY=key)
    found = portal.json("status")

    assert (found["target"], found["tls"], found["reachable"]) == (target, False, True)
    assert (found["key_name"], found["key_role"]) == (key.split("_")[1], role)
    assert found["server_version"] is found["schema"] is found["key_expiry"] is None
    assert portal.json("providers", "list") == []


def test_the_status_says_what_the_server_does_not_report(target: str) -> None:
    shown = Command(target)("status").stdout

    assert shown.count("not reported by the server") == 3
    assert KEY not in shown


def test_the_exit_code_of_the_status_tells_no_server_from_an_invalid_key(target: str) -> None:
    Command(f"127.0.0.1:{free_port()}")("status", code=Exit.NO_SERVER)
    Command(target, PORTAL_KEY="wrong")("status", code=Exit.NO_PERMISSION)

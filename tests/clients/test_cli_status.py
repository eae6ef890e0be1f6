"""`portal status`."""

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Any

import grpc
import pytest
from pydantic import SecretStr

from portal.oauth.v1.system_pb2_grpc import (
    SystemServiceServicer,
    add_SystemServiceServicer_to_server,
)
from portal_cli.errors import Exit
from portal_client import ROLE_VIEWER, Caller, GetServerInfoRequest, ServerInfo
from portal_server.storage.sql import schema
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


@pytest.mark.parametrize("role", ["admin", "registrar"])
def test_the_status_has_the_target_and_the_name_and_role_of_the_key(
    url: str, target: str, role: str
) -> None:
    key = run_portal(
        "keys", "create", "--role", role, "--note", "dashboard", PORTAL_DATABASE_URL=url
    ).stdout.strip()
    portal = Command(target, PORTAL_KEY=key)
    found = portal.json("status")

    assert (found["target"], found["tls"], found["reachable"]) == (target, False, True)
    assert (found["key_name"], found["key_role"]) == (key.split("_")[1], role)
    assert (found["key_note"], found["key_expire_time"]) == ("dashboard", None)
    assert found["server_version"] == found["client_version"] == version("oauth-portal-server")
    assert found["schema_revision"] == schema.HEAD


def test_the_status_shows_when_the_key_expires(url: str, target: str) -> None:
    key = run_portal("keys", "create", "--expires", "2d", PORTAL_DATABASE_URL=url).stdout.strip()
    found = Command(target, PORTAL_KEY=key).json("status")
    ends = datetime.fromisoformat(found["key_expire_time"])

    assert timedelta(days=1) < ends - datetime.now(UTC) <= timedelta(days=2)


def test_the_key_of_the_settings_has_no_note_and_is_not_shown(target: str) -> None:
    ran = Command(target)("status")

    assert re.search(r"key_name +settings$", ran.stdout, re.MULTILINE)
    assert re.search(r"key_expire_time +never$", ran.stdout, re.MULTILINE)
    assert KEY not in ran.stdout
    assert ran.stderr == ""


class OtherVersion(SystemServiceServicer):
    def GetServerInfo(  # noqa: N802 - the name of the proto
        self, _request: GetServerInfoRequest, _context: Any
    ) -> ServerInfo:
        return ServerInfo(version="9.8.7", caller=Caller(key_id="abcdefgh", role=ROLE_VIEWER))


def test_a_server_of_another_version_is_named() -> None:
    server = grpc.server(ThreadPoolExecutor(1))
    add_SystemServiceServicer_to_server(OtherVersion(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        portal = Command(f"127.0.0.1:{port}")
        status = portal("-o", "json", "status")
        listed = portal("providers", "list", code=Exit.NO_SERVER)
    finally:
        server.stop(None)
    own = version("oauth-portal")

    assert json.loads(status.stdout)["server_version"] == "9.8.7"
    assert f"the server has version 9.8.7, this command line {own}" in status.stderr
    assert "9.8.7 and does not support this" in listed.stderr
    assert own in listed.stderr


def test_the_exit_code_of_the_status_tells_no_server_from_an_invalid_key(target: str) -> None:
    Command(f"127.0.0.1:{free_port()}")("status", code=Exit.NO_SERVER)
    Command(target, PORTAL_KEY="wrong")("status", code=Exit.NO_PERMISSION)

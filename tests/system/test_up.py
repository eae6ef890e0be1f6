"""`portal up` as people run it: how it starts, what it says, how it stops."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import httpx
import pytest

from portal_server.storage.sql.schema import HEAD
from tests.support.postgres import Postgres, free_port
from tests.support.stack import ENVIRONMENT, ROOT, TLS, Stack, alive, listening, portal, soon

CLIENT_TYPE = {"Name": "x", "ResponseTypes": "code", "GrantType": "pkce"}
CLIENT_TYPES = "/oauth-providers/1/client-types"


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Stack]:
    """A stack of the test's own, not started, without an admin key in the settings."""
    stack = Stack(tmp_path, PORTAL_ADMIN_KEY="")
    yield stack
    if stack.process:
        stack.stop()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Stack]:
    """A started stack of the test's own."""
    stack = Stack(tmp_path).start()
    yield stack
    stack.stop()


def run_as_shown(command: str) -> bytes:
    """What the service responds to a call with curl, once a shell has read its words."""
    listed = f'curl() {{ printf "%s\\0" "$@"; }}; {command}'
    done = subprocess.run(["sh", "-euc", listed], stdout=subprocess.PIPE, check=True)
    words = done.stdout.decode().split("\0")
    url, body = words[words.index("--url") + 1], words[words.index("--data") + 1]
    headers = dict(words[n + 1].split(": ") for n, word in enumerate(words) if word == "--header")
    return httpx.post(url, content=body, headers=headers, verify=TLS).raise_for_status().content


def test_a_start_reports_all_that_is_needed_and_the_calls_it_shows_work(own: Stack) -> None:
    own.start()
    expected = own.out.read_text()
    curl = expected[expected.index("curl ") : expected.index("List the client types with gRPC")]
    response = json.loads(run_as_shown(curl))

    assert f"REST       http://localhost:{own.http_port}/portal-api\n" in expected
    assert f"gRPC       localhost:{own.grpc_port}\n" in expected
    assert f"Docs       http://localhost:{own.http_port}/docs\n" in expected
    assert f"Data       {own.folder}/portal.db\n" in expected
    assert f"Admin key  in the file {own.folder}/admin.key\n" in expected
    assert response["Name"] == "Server-side application"
    assert "portal.oauth.v1.ClientTypeService/ListClientTypes" in expected


def test_a_start_without_example_data_shows_how_to_create_a_provider(own: Stack) -> None:
    own.settings["PORTAL_DEVELOPMENT"] = ""
    own.start()
    expected = own.out.read_text()
    _, first, second = expected[: expected.index("List the client types with gRPC")].split("curl ")
    made = json.loads(run_as_shown(f"curl {first.partition('Create a client type')[0]}"))
    below = json.loads(run_as_shown(f"curl {second}"))

    assert (made["ID"], made["Type"]) == (1, "Keycloak")
    assert below["Name"] == "Server-side application"


def test_a_second_start_keeps_the_data_and_creates_no_other_key(own: Stack) -> None:
    own.start()
    key = (own.folder / "admin.key").read_text().strip()
    with own.client(key) as rest:
        created = rest.post(CLIENT_TYPES, json=CLIENT_TYPE).json()
    first = own.stop()
    own.start()
    with own.client(key) as rest:
        found = rest.get(CLIENT_TYPES).json()
        providers = rest.get("/oauth-providers").json()

    assert first == 0
    assert found == [created]
    assert len(providers) == 1
    assert (own.folder / "admin.key").read_text() == f"{key}\n"
    shown = own.out.read_text()
    assert "Admin key  the one created at the first start\n" in shown
    assert f"Docs       http://localhost:{own.http_port}/docs\n" in shown
    assert "curl" not in shown


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
def test_a_signal_stops_everything(own: Stack, number: signal.Signals) -> None:
    own.start()
    children = own.children()
    status = own.stop(number)

    assert status == 0
    assert {name: len(numbers) for name, numbers in children.items()} == {"envoy": 1, "server": 1}
    assert not [name for name, numbers in children.items() if any(map(alive, numbers))]
    assert not [p for p in (own.http_port, own.grpc_port) if listening(p)]
    assert "Traceback" not in own.err.read_text()


def test_a_call_in_flight_is_served_before_the_stop(running: Stack) -> None:
    own = running
    responses: list[httpx.Response] = []

    def post() -> None:
        with own.client() as rest:
            responses.append(rest.post(CLIENT_TYPES, json=CLIENT_TYPE))

    thread = threading.Thread(target=post)
    with own.locked_database():
        thread.start()
        time.sleep(0.5)
        assert own.process
        own.process.send_signal(signal.SIGTERM)
        time.sleep(1)
        rejected = not listening(own.http_port)
    thread.join(10)

    assert own.stop() == 0
    assert [response.status_code for response in responses] == [200]
    assert rejected


def test_no_call_is_dropped_by_a_stop_under_load(running: Stack) -> None:
    own = running
    ends: Counter[str] = Counter()

    def load() -> None:
        with own.client() as rest:
            while True:
                try:
                    ends[str(rest.post(CLIENT_TYPES, json=CLIENT_TYPE).status_code)] += 1
                except (httpx.ConnectError, httpx.ReadError) as error:
                    # The kernel resets what nobody had accepted yet.
                    rejected = "refused" in str(error) or "reset by peer" in str(error)
                    ends["refused" if rejected else repr(error)] += 1
                    return
                except httpx.HTTPError as error:
                    ends[repr(error)] += 1
                    return

    threads = [threading.Thread(target=load) for _ in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(1)
    status = own.stop()
    for thread in threads:
        thread.join(10)
    own.start()
    with own.client() as rest:
        pages = (rest.get(f"{CLIENT_TYPES}?per_page=1000&page={n}").json() for n in range(1, 99))
        stored = sum(len(page) for page in iter(lambda: next(pages), []))

    assert status == 0
    assert set(ends) == {"200", "refused"}
    assert stored == ends["200"] > 0


def test_a_killed_supervisor_leaves_no_process_behind(own: Stack) -> None:
    own.start()
    children = own.children()
    own.stop(signal.SIGKILL)
    soon(lambda: not any(map(alive, chain(*children.values()))), 20)

    assert all(children.values())
    assert not [name for name, numbers in children.items() if any(map(alive, numbers))]


def rejection(stack: Stack, **settings: str) -> str:
    """What `portal up` says on standard error when it does not start."""
    done = portal("up", **(stack.settings | settings))
    assert done.returncode == 1, done.stdout
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert not [p for p in (stack.http_port, stack.grpc_port) if listening(p)]
    return done.stderr


@pytest.mark.parametrize(
    "name", ["PORTAL_HTTP_PORT", "PORTAL_GRPC_PORT", "PORTAL_DIRECT_GRPC_PORT"]
)
def test_a_taken_port_is_one_clear_line(own: Stack, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        expected = rejection(own, **{name: str(port)})

    assert expected == (
        f"portal: cannot listen on 127.0.0.1:{port}: Address already in use; set {name}\n"
    )


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        pytest.param({"PORTAL_HTTP_PORT": "x"}, "PORTAL_HTTP_PORT: ", id="no number"),
        pytest.param({"PORTAL_GRPC_PORT": "70000"}, "PORTAL_GRPC_PORT: ", id="no port"),
        pytest.param({"PORTAL_HOST": "nowhere"}, "PORTAL_HOST: ", id="no address"),
        pytest.param({"PORTAL_LOG_LEVEL": "LOUD"}, "PORTAL_LOG_LEVEL: ", id="no level"),
        pytest.param({"PORTAL_DATABASE_URL": "mysql://x"}, "PORTAL_DATABASE_URL: ", id="no db"),
        pytest.param({"PORTAL_ADMIN_KEY": "a b"}, "PORTAL_ADMIN_KEY: ", id="no key"),
        pytest.param({"PORTAL_ADMIN_KEY": "a" * 19}, "PORTAL_ADMIN_KEY: ", id="a short key"),
        pytest.param({"PORTAL_DATABSE_URL": ""}, "PORTAL_DATABSE_URL: ", id="no such name"),
    ],
)
def test_a_bad_setting_is_one_clear_line(own: Stack, settings: dict[str, str], text: str) -> None:
    assert rejection(own, **settings).startswith(f"portal: {text}")


def test_two_equal_ports_are_one_clear_line(own: Stack) -> None:
    port = str(free_port())

    assert "must differ" in rejection(own, PORTAL_HTTP_PORT=port, PORTAL_GRPC_PORT=port)


def test_a_data_folder_that_cannot_be_is_one_clear_line(own: Stack) -> None:
    file = own.folder / "file"
    file.write_text("")
    expected = rejection(own, PORTAL_DATABASE_URL=f"sqlite:///{file}/portal.db")

    assert expected == f"portal: {file}: File exists\n"


def test_a_database_of_a_newer_version_is_one_clear_line(own: Stack) -> None:
    import sqlite3  # noqa: PLC0415

    portal("migrate", **own.settings)
    with sqlite3.connect(own.folder / "portal.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()

    assert rejection(own) == (
        "portal: the database has schema 9999, which only a newer version supports\n"
    )


def test_a_configuration_that_does_not_exist_is_one_clear_line(own: Stack, tmp_path: Path) -> None:
    expected = rejection(own, PORTAL_ENVOY_CONFIG=str(tmp_path / "own.yaml"))

    assert expected == f"portal: {tmp_path}/own.yaml: No such file or directory\n"


def test_a_file_in_the_current_folder_is_not_run(own: Stack, tmp_path: Path) -> None:
    (tmp_path / "envoy.yaml").write_text("not: a configuration\n")
    (tmp_path / "edge").mkdir()
    (tmp_path / "edge/rest.lua").write_text("not Lua\n")
    own.start(folder=tmp_path)
    with own.client((tmp_path / "admin.key").read_text().strip()) as rest:
        status = rest.get(CLIENT_TYPES).status_code

    assert status == 200


def test_an_unmigrated_database_is_not_served(own: Stack) -> None:
    done = portal("serve", **own.settings, PORTAL_DIRECT_GRPC_PORT="0")

    assert done.returncode == 1
    assert done.stderr == f"portal: the database has no schema, not {HEAD}: run `portal migrate`\n"


def test_a_single_server_needs_an_address_to_listen_on(own: Stack) -> None:
    portal("migrate", **own.settings)
    done = portal("serve", **own.settings)

    assert done.returncode == 1
    assert done.stderr == (
        "portal: no address to listen on: use --socket or set PORTAL_DIRECT_GRPC_PORT\n"
    )


def test_the_help_of_serve_shows_its_socket(own: Stack) -> None:
    assert "--socket" in portal("serve", "--help", **own.settings, COLUMNS="200").stdout


@pytest.mark.parametrize("name", ["up", "serve", "migrate", "keys list"])
def test_every_command_with_settings_rejects_a_misspelled_one(own: Stack, name: str) -> None:
    done = portal(*name.split(), **own.settings, PORTAL_HTTP_PROT="")

    assert done.returncode == 1
    assert done.stderr == (
        "portal: PORTAL_HTTP_PROT: unknown setting; the closest is PORTAL_HTTP_PORT\n"
    )


def test_a_single_server_serves_a_migrated_database(own: Stack) -> None:
    portal("migrate", **own.settings)
    port = free_port()
    socket_path = own.folder / "own.sock"
    err = own.folder / "serve.txt"
    with err.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "portal_server", "serve", "--socket", socket_path],
            env=ENVIRONMENT | own.settings | {"PORTAL_DIRECT_GRPC_PORT": str(port)},
            cwd=ROOT,
            stderr=stream,
        )
    up = soon(lambda: f"serving on unix:{socket_path}, 127.0.0.1:{port}\n" in err.read_text(), 20)
    listened = listening(port)
    mode = stat.filemode(socket_path.stat().st_mode)
    os.kill(process.pid, signal.SIGTERM)

    assert up, err.read_text()
    assert listened
    assert mode == "srwx------"
    assert process.wait(20) == 0


def test_the_whole_system_runs_on_postgresql(tmp_path: Path, postgres: Postgres) -> None:
    url = postgres.new_database("whole_system").replace("+psycopg", "")
    url = url.replace("postgres@", "postgres:s3cr3t@")
    stack = Stack(tmp_path, PORTAL_DATABASE_URL=url).start()
    try:
        with stack.client() as rest:
            created = rest.post(CLIENT_TYPES, json=CLIENT_TYPE)
            found = rest.get(CLIENT_TYPES).json()
            missing = rest.get("/oauth-providers/99999999999")
    finally:
        status = stack.stop()
    expected = stack.out.read_text() + stack.err.read_text()

    assert (created.status_code, missing.status_code, status) == (200, 404, 0)
    assert found == [created.json()]
    assert "postgresql://postgres@127.0.0.1" in expected
    assert "s3cr3t" not in expected

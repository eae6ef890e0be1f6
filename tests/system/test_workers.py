"""Several servers of one start on one database."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from tests.support.postgres import Postgres
from tests.support.stack import Stack, portal

WORKERS = 3
PROVIDER = {"Name": "x", "Type": "Other", "WellKnownURL": "https://idp.test/x"}
CLIENT_TYPE = {"Name": "x", "ResponseTypes": "code", "GrantType": "pkce"}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def several(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """Servers on a database of each kind in turn."""
    folder: Path = tmp_path_factory.mktemp("several")
    own = Stack(folder, PORTAL_WORKERS=str(WORKERS))
    if request.param == "postgresql":
        cluster: Postgres = request.getfixturevalue("postgres")
        own.settings["PORTAL_DATABASE_URL"] = cluster.new_database("several")
    own.start()
    yield own
    assert own.stop() == 0


@pytest.fixture
def client_types(several: Stack) -> str:
    """The path of the client types of a new provider."""
    with several.client() as rest:
        made = rest.post("/oauth-providers", json=PROVIDER).raise_for_status().json()["ID"]
    return f"/oauth-providers/{made}/client-types"


def workers(own: Stack) -> list[int]:
    return own.children()["server"]


def test_all_of_them_serve_what_one_has_written(several: Stack, client_types: str) -> None:
    def create(_number: int) -> int:
        with several.client() as rest:
            made: int = rest.post(client_types, json=CLIENT_TYPE).json()["ID"]
            assert rest.get(f"{client_types}/{made}").status_code == 200
            return made

    before = several.err.read_text()
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(create, range(80)))
    log = several.err.read_text().removeprefix(before)

    assert len(workers(several)) == WORKERS
    assert len(set(made)) == 80
    assert log.count("CreateClientType OK") == 80


def test_no_server_accepts_a_key_when_its_revocation_returns(
    several: Stack, client_types: str
) -> None:
    key = portal("keys", "create", **several.settings).stdout.strip()
    stop = threading.Event()

    def call(_number: int) -> int:
        served = 0
        with several.client(key) as rest:
            while not stop.is_set():
                served += rest.get(client_types).status_code == 200
        return served

    with ThreadPoolExecutor(8) as pool:
        callers = [pool.submit(call, number) for number in range(8)]
        time.sleep(0.5)
        revoked = portal("keys", "revoke", key.split("_")[1], **several.settings)
        with several.client(key) as rest:
            after = [rest.get(client_types).status_code for _ in range(60)]
        stop.set()

    assert revoked.returncode == 0, revoked.stderr
    assert all(caller.result() for caller in callers)
    assert after == [401] * 60


def test_twins_of_a_request_get_one_response_wherever_they_are_served(
    several: Stack, client_types: str
) -> None:
    def create(key: str) -> bytes:
        with several.client() as rest:
            headers = {"Idempotency-Key": key}
            response = rest.post(client_types, json=CLIENT_TYPE, headers=headers)
            assert response.status_code == 200, response.text
            return response.content

    keys = [str(uuid4()) for _ in range(20)]
    with ThreadPoolExecutor(8) as pool:
        responses = list(pool.map(create, [key for key in keys for _ in range(4)]))
    with several.client() as rest:
        stored = rest.get(client_types, params={"per_page": 1000}).json()

    assert [len(set(responses[n : n + 4])) for n in range(0, 80, 4)] == [1] * 20
    assert len(stored) == 20


def test_when_one_server_dies_the_others_serve_and_it_is_replaced(
    several: Stack, client_types: str
) -> None:
    before = workers(several)
    os.kill(before[0], signal.SIGKILL)
    statuses = []
    with several.client() as rest:
        deadline = time.monotonic() + 10
        while len(workers(several)) < WORKERS or time.monotonic() < deadline - 7:
            statuses.append(rest.get(client_types).status_code)
            assert time.monotonic() < deadline
        after: list[httpx.Response] = [rest.get(client_types) for _ in range(30)]

    assert statuses.count(200) > len(statuses) * 0.9
    assert {response.status_code for response in after} == {200}
    assert len(set(workers(several)) - set(before)) == 1

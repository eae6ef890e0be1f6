"""Several servers of one start on one database."""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from tests.support.stack import Stack

WORKERS = 3
CLIENT_TYPES = "/oauth-providers/1/client-types"
CLIENT_TYPE = {"Name": "x", "ResponseTypes": "code", "GrantType": "pkce"}


@pytest.fixture
def several(database_url: str, tmp_path: Path) -> Iterator[Stack]:
    own = Stack(tmp_path, PORTAL_WORKERS=str(WORKERS), PORTAL_DATABASE_URL=database_url).start()
    yield own
    own.stop()


def workers(own: Stack) -> list[int]:
    return own.children()["server"]


def test_all_of_them_serve_what_one_has_written(several: Stack) -> None:
    def create(_number: int) -> int:
        with several.client() as rest:
            made: int = rest.post(CLIENT_TYPES, json=CLIENT_TYPE).json()["ID"]
            assert rest.get(f"{CLIENT_TYPES}/{made}").status_code == 200
            return made

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(create, range(80)))
    log = several.err.read_text()

    assert len(workers(several)) == WORKERS
    assert len(set(made)) == 80
    assert log.count("CreateClientType OK") == 80
    assert several.stop() == 0


def test_twins_of_a_request_get_one_response_wherever_they_are_served(several: Stack) -> None:
    def create(key: str) -> bytes:
        with several.client() as rest:
            headers = {"Idempotency-Key": key}
            response = rest.post(CLIENT_TYPES, json=CLIENT_TYPE, headers=headers)
            assert response.status_code == 200, response.text
            return response.content

    keys = [str(uuid4()) for _ in range(20)]
    with ThreadPoolExecutor(8) as pool:
        responses = list(pool.map(create, [key for key in keys for _ in range(4)]))
    with several.client() as rest:
        stored = rest.get(CLIENT_TYPES, params={"per_page": 1000}).json()

    assert [len(set(responses[n : n + 4])) for n in range(0, 80, 4)] == [1] * 20
    assert len(stored) == 20


def test_when_one_dies_the_others_go_on_and_it_comes_back(several: Stack) -> None:
    before = workers(several)
    os.kill(before[0], signal.SIGKILL)
    statuses = []
    with several.client() as rest:
        deadline = time.monotonic() + 10
        while len(workers(several)) < WORKERS or time.monotonic() < deadline - 7:
            statuses.append(rest.get(CLIENT_TYPES).status_code)
            assert time.monotonic() < deadline
        after: list[httpx.Response] = [rest.get(CLIENT_TYPES) for _ in range(30)]

    assert statuses.count(200) > len(statuses) * 0.9
    assert {response.status_code for response in after} == {200}
    assert len(set(workers(several)) - set(before)) == 1

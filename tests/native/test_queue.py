"""Calls that wait for a thread: an end to how many, and none is done for nobody."""

import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from portal.oauth.v1 import provider_pb2 as pb
from tests.conftest import Portal, serve
from tests.support.databases import new_sqlite
from tests.support.details import Rejection

# A key has at most a quarter of the places to wait.
THREADS, WAITING = 2, 3
ALL_WAITING = 4 * WAITING


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "served.db"


@pytest.fixture
def small(database: Path) -> Iterator[Portal]:
    """A portal with few threads and little room before them."""
    with serve(new_sqlite(database), threads=THREADS, max_waiting=ALL_WAITING) as portal:
        yield portal


@contextmanager
def stuck(database: Path) -> Iterator[None]:
    """Another process holds the write lock: all writes wait."""
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("COMMIT")


def create(portal: Portal, name: str, timeout: float | None = 20) -> pb.Provider:
    provider = pb.Provider(
        name=name, type=pb.PROVIDER_TYPE_OTHER, well_known_uri="https://idp.test/x"
    )
    return portal.providers.CreateProvider(
        pb.CreateProviderRequest(provider=provider), timeout=timeout
    )


def names(portal: Portal) -> set[str]:
    listed = portal.providers.ListProviders(pb.ListProvidersRequest(page_size=200))
    return {provider.name for provider in listed.providers}


def test_past_the_bound_calls_are_rejected_at_once_and_the_others_are_done(
    small: Portal, database: Path
) -> None:
    ends: dict[str, str] = {}

    def call(name: str) -> float:
        begin = time.monotonic()
        try:
            create(small, name)
            ends[name] = "done"
        except grpc.RpcError as error:
            rejection = Rejection(error)
            assert rejection.code is grpc.StatusCode.RESOURCE_EXHAUSTED
            ends[name] = rejection.reason
        return time.monotonic() - begin

    with ThreadPoolExecutor(20) as pool:
        with stuck(database):
            calls = [pool.submit(call, str(number)) for number in range(20)]
            deadline = time.monotonic() + 4
            while len(ends) < 20 - THREADS - WAITING and time.monotonic() < deadline:
                time.sleep(0.01)
            rejected = [n for n, end in ends.items() if end == "TOO_MANY_CALLS"]
        took = [future.result() for future in calls]

    assert Counter(ends.values()) == {
        "done": THREADS + WAITING,
        "TOO_MANY_CALLS": 20 - THREADS - WAITING,
    }
    assert all(took[int(name)] < 1 for name in rejected)
    assert names(small) == {name for name, end in ends.items() if end == "done"}


def test_a_full_server_reports_that_it_is_alive(small: Portal, database: Path) -> None:
    with ThreadPoolExecutor(20) as pool, stuck(database):
        calls = [pool.submit(create, small, str(number)) for number in range(20)]
        while sum(call.done() for call in calls) < 20 - THREADS - WAITING:
            time.sleep(0.01)
        begin = time.monotonic()
        health: Any = HealthStub(small.anonymous)
        response = health.Check(HealthCheckRequest(), timeout=5)
        took = time.monotonic() - begin

    assert response.status == HealthCheckResponse.SERVING
    assert took < 0.5


def test_when_there_is_room_again_calls_are_served(small: Portal, database: Path) -> None:
    with ThreadPoolExecutor(20) as pool:
        with stuck(database):
            calls = [pool.submit(create, small, str(number)) for number in range(20)]
            while sum(call.done() for call in calls) < 20 - THREADS - WAITING:
                time.sleep(0.01)
        assert sum(call.exception() is None for call in calls) == THREADS + WAITING

    assert create(small, "later").name == "later"


def test_no_write_is_done_for_a_caller_whose_deadline_has_passed(
    small: Portal, database: Path
) -> None:
    with ThreadPoolExecutor(20) as pool:
        with stuck(database):
            served = [pool.submit(create, small, f"served {n}") for n in range(THREADS)]
            time.sleep(0.3)
            late = [pool.submit(create, small, f"late {n}", 0.3) for n in range(WAITING)]
            codes = [call.exception() for call in late]
        made = {call.result().name for call in served}
    create(small, "last")

    assert all(isinstance(code, grpc.RpcError) for code in codes)
    assert names(small) == made | {"last"}

"""Alive is not ready: what health says when the database is away, commits hang, the server ends."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from pydantic import SecretStr

from portal.oauth.v1 import provider_pb2
from portal.oauth.v1.provider_pb2_grpc import ProviderServiceStub
from portal_server.domain.calls import Call
from portal_server.run.readiness import Readiness
from portal_server.wire import health
from tests.conftest import with_key
from tests.native.test_reflection_and_health import NOT_SERVING, SERVING, health_of
from tests.support.databases import migrated, new_sqlite
from tests.support.details import Rejection
from tests.support.frames import WATCH, Connection
from tests.support.own_server import started
from tests.support.postgres import running_postgres
from tests.support.stack import ADMIN_KEY
from tests.support.walk import NAMES


def status(channel: grpc.Channel, service: str = "") -> Any:
    request = health_pb2.HealthCheckRequest(service=service)
    return health_of(channel).Check(request, timeout=5).status


def seconds_until(condition: Callable[[], bool], within: float) -> float:
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() - begin < within
        time.sleep(0.02)
    return time.monotonic() - begin


def test_while_postgresql_is_away_the_server_is_alive_and_not_ready(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    with (
        running_postgres() as own,
        started(migrated(own.url()), admin_key=SecretStr(ADMIN_KEY)) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        stub: Any = ProviderServiceStub(with_key(channel, ADMIN_KEY))
        own.stop()
        away = seconds_until(lambda: status(channel) == NOT_SERVING, 8)
        names = {name: status(channel, name) for name in NAMES}
        routing = status(channel, health.ROUTING)
        with pytest.raises(grpc.RpcError) as error:
            stub.ListProviders(provider_pb2.ListProvidersRequest(), timeout=5)
        own.start()
        back = seconds_until(lambda: status(channel) == SERVING, 8)
        response = stub.ListProviders(provider_pb2.ListProvidersRequest(), timeout=5)

    assert set(names.values()) == {NOT_SERVING}
    assert routing == SERVING
    assert Rejection(error.value).code is grpc.StatusCode.UNAVAILABLE
    assert response is not None
    assert away < 4.5
    assert back < 2
    assert "not ready: the database has not responded for" in caplog.text
    assert caplog.messages.count("ready again") == 1


class Reports:
    """What a Readiness tells, and what it asks."""

    def __init__(self) -> None:
        self.expected: list[bool] = []
        self.hangs = threading.Event()
        self.hangs.set()
        self.commit_s = 0.0

    def ask(self, _call: Call) -> None:
        self.hangs.wait(20)

    def readiness(self) -> Readiness:
        return Readiness(self.ask, lambda: self.commit_s, self.expected.append, lambda: None)


def test_a_question_that_hangs_makes_it_not_ready_within_four_seconds() -> None:
    reported = Reports()
    readiness = reported.readiness()
    readiness.start()
    reported.hangs.clear()
    unready = seconds_until(lambda: reported.expected == [False], 6)
    reported.hangs.set()
    ready = seconds_until(lambda: reported.expected == [False, True], 3)
    readiness.stop()

    assert unready < 4.5
    assert ready < 1.5


def test_a_commit_that_hangs_makes_it_not_ready(caplog: pytest.LogCaptureFixture) -> None:
    reported = Reports()
    readiness = reported.readiness()
    readiness.start()
    reported.commit_s = 5.5
    unready = seconds_until(lambda: reported.expected == [False], 3)
    reported.commit_s = 0.0
    seconds_until(lambda: reported.expected == [False, True], 3)
    readiness.stop()

    assert unready < 1.5
    assert "not ready: a commit has not returned for 5.5 s" in caplog.text


def test_open_streams_do_not_delay_the_end(tmp_path: Path) -> None:
    with (
        started(new_sqlite(tmp_path / "x.db")) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel,
        Connection(server.port) as streams,
        Connection(server.port, window=0) as unread,
    ):
        watch = health_of(channel).Watch(health_pb2.HealthCheckRequest())
        first = next(watch).status
        for _ in range(8):
            streams.open("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
            unread.open(WATCH, b"")
        time.sleep(0.2)
        begin = time.monotonic()
        server.stop()
        took = time.monotonic() - begin
        second = next(watch).status
        with pytest.raises(grpc.RpcError) as error:
            next(watch)

    assert (first, second) == (SERVING, NOT_SERVING)
    assert isinstance(error.value, grpc.Call)
    assert error.value.code() is grpc.StatusCode.UNAVAILABLE
    assert took < 2


def test_a_stopping_server_serves_calls_until_its_callers_know(tmp_path: Path) -> None:
    with (
        started(new_sqlite(tmp_path / "x.db"), admin_key=SecretStr(ADMIN_KEY)) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        stub: Any = ProviderServiceStub(with_key(channel, ADMIN_KEY))
        watch = health_of(channel).Watch(health_pb2.HealthCheckRequest())
        next(watch)
        ending = threading.Thread(target=server.stop)
        stub.ListProviders(provider_pb2.ListProvidersRequest())
        ending.start()
        reported = next(watch).status
        served = 0
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            stub.ListProviders(provider_pb2.ListProvidersRequest())
            served += 1
        routing = status(channel, health.ROUTING)
        ending.join(5)

    assert reported == NOT_SERVING
    assert routing == NOT_SERVING
    assert served > 10

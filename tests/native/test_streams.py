"""Calls are served while streams try to hold threads."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub
from pydantic import SecretStr

from portal.oauth.v1 import provider_pb2
from portal.oauth.v1.provider_pb2_grpc import ProviderServiceStub
from portal.oauth.v1.watch_pb2 import WatchRequest
from portal.oauth.v1.watch_pb2_grpc import WatchServiceStub
from portal_server.domain.keys import Role
from portal_server.run import upkeep
from portal_server.run.server import Server
from portal_server.wire import health
from portal_server.wire.interceptors.reflection import ANONYMOUS_STREAMS
from tests.conftest import with_key
from tests.native.test_reflection_and_health import health_of
from tests.support.databases import new_sqlite
from tests.support.details import Rejection
from tests.support.frames import CHECK, WATCH, Connection
from tests.support.keys import Keys
from tests.support.own_server import started
from tests.support.stack import ADMIN_KEY

GET = "/portal.oauth.v1.ProviderService/GetProvider"
LISTS = "/portal.rest.v1.PortalRestService/ListProviders"
REFLECTION = f"/{reflection.SERVICE_NAME}/ServerReflectionInfo"
NAMED: dict[str, dict[str, str]] = {
    "health": {"path": CHECK},
    "watch": {"path": WATCH},
    "reflection": {"path": REFLECTION},
    "no key": {"path": GET},
    "read": {"path": GET, "authorization": ADMIN_KEY},
    "list": {"path": LISTS, "authorization": ADMIN_KEY},
    "write": {
        "path": "/portal.oauth.v1.ProviderService/CreateProvider",
        "authorization": ADMIN_KEY,
    },
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with started(
        new_sqlite(tmp_path / "x.db"), admin_key=SecretStr(ADMIN_KEY), stop_seconds=1
    ) as server:
        yield server


@pytest.fixture
def channel(server: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield channel


def lists(channel: grpc.Channel) -> float:
    """Seconds that a call with a key takes."""
    begin = time.monotonic()
    stub: Any = ProviderServiceStub(with_key(channel, ADMIN_KEY))
    stub.ListProviders(provider_pb2.ListProvidersRequest(), timeout=5)
    return time.monotonic() - begin


def checks(channel: grpc.Channel) -> float:
    """Seconds that a health check takes."""
    begin = time.monotonic()
    health_of(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
    return time.monotonic() - begin


@pytest.mark.parametrize("kind", NAMED)
def test_streams_without_a_message_hold_no_thread(
    server: Server, channel: grpc.Channel, kind: str
) -> None:
    key = NAMED[kind].get("authorization")
    with ExitStack() as stack:
        for _ in range(10):
            connection = stack.enter_context(Connection(server.port))
            for _ in range(50):
                connection.open(NAMED[kind]["path"], None, key)
        time.sleep(0.3)

        assert max(checks(channel) for _ in range(5)) < 1
        assert max(lists(channel) for _ in range(5)) < 1


def test_responses_that_nobody_reads_hold_half_of_the_reading_threads_at_most(
    server: Server, channel: grpc.Channel
) -> None:
    stub: Any = ProviderServiceStub(with_key(channel, ADMIN_KEY))
    provider = provider_pb2.Provider(
        name="x", type=provider_pb2.PROVIDER_TYPE_OTHER, well_known_uri="https://idp.test/"
    )
    stub.CreateProvider(provider_pb2.CreateProviderRequest(provider=provider))
    other = with_key(channel, server_key(server))
    with Connection(server.port, window=0) as connection:
        for _ in range(50):
            connection.open(LISTS, b"", key=ADMIN_KEY)
        time.sleep(0.3)
        begin = time.monotonic()
        others: Any = ProviderServiceStub(other)
        for _ in range(5):
            others.ListProviders(provider_pb2.ListProvidersRequest(), timeout=5)

        assert time.monotonic() - begin < 1
        assert checks(channel) < 1


def test_a_watcher_that_reads_nothing_delays_no_other_call(
    server: Server, channel: grpc.Channel
) -> None:
    with Connection(server.port, window=0) as connection:
        for _ in range(20):
            connection.open(WATCH, b"")
        watch = health_of(channel).Watch(health_pb2.HealthCheckRequest())
        first = next(watch).status
        begin = time.monotonic()
        server._health.set_ready(ready=False)  # noqa: SLF001
        second = next(watch).status
        took = time.monotonic() - begin
        watch.cancel()

    assert (first, second) == (
        health_pb2.HealthCheckResponse.SERVING,
        health_pb2.HealthCheckResponse.NOT_SERVING,
    )
    assert took < 1


def test_streams_of_a_server_that_stops_end_with_its_reason(
    server: Server, channel: grpc.Channel
) -> None:
    changes: Any = WatchServiceStub(with_key(channel, ADMIN_KEY)).Watch(WatchRequest())
    statuses = health_of(channel).Watch(health_pb2.HealthCheckRequest())
    next(changes)
    next(statuses)
    server.stop()
    rejections = []
    for stream in (changes, statuses):
        with pytest.raises(grpc.RpcError) as error:
            list(stream)
        rejections.append(Rejection(error.value))

    assert {rejection.code for rejection in rejections} == {grpc.StatusCode.UNAVAILABLE}
    assert {rejection.reason for rejection in rejections} == {"SERVER_STOPPING"}
    assert "resume_token" in rejections[0].message
    assert rejections[0].trace_id


def test_past_their_bound_watch_streams_are_rejected_at_once(
    server: Server, channel: grpc.Channel, caplog: pytest.LogCaptureFixture
) -> None:
    with ExitStack() as stack:
        for _ in range(4):
            connection = stack.enter_context(Connection(server.port))
            for _ in range(health.MAX_WATCHES // 4):
                connection.open(WATCH, b"")
        time.sleep(0.5)
        begin = time.monotonic()
        watch = health_of(channel).Watch(health_pb2.HealthCheckRequest())
        with pytest.raises(grpc.RpcError) as error:
            next(watch)
        took = time.monotonic() - begin
        assert checks(channel) < 1
        time.sleep(2)
    rejection = Rejection(error.value)

    assert (rejection.code, rejection.reason) == (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "TOO_MANY_CALLS",
    )
    assert took < 1
    assert "rejected 1 calls" in caplog.text
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        watch = health_of(channel).Watch(health_pb2.HealthCheckRequest())
        try:
            assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        except grpc.RpcError:
            time.sleep(0.05)
        else:
            watch.cancel()
            return
    raise AssertionError


def services(channel: grpc.Channel, **metadata: str) -> int:
    """How many services reflection lists."""
    stub: Any = ServerReflectionStub(channel)
    request = ServerReflectionRequest(list_services="")
    responses = stub.ServerReflectionInfo(
        iter([request]), metadata=tuple(metadata.items()), timeout=5
    )
    return len(next(responses).list_services_response.service)


def test_open_reflection_streams_without_a_key_keep_no_caller_with_a_key_from_it(
    server: Server, channel: grpc.Channel
) -> None:
    with Connection(server.port) as connection:
        for _ in range(ANONYMOUS_STREAMS):
            connection.open(REFLECTION)
        time.sleep(0.3)
        with pytest.raises(grpc.RpcError) as error:
            services(channel)

        assert Rejection(error.value).code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert services(channel, authorization=ADMIN_KEY) > 0
        with pytest.raises(grpc.RpcError) as error:
            services(channel, authorization="no-key")
        # As any stranger: whether a key is good does not count while reflection is open.
        assert Rejection(error.value).code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert lists(channel) < 1


def test_a_reflection_stream_ends_after_its_time(
    server: Server, channel: grpc.Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "MAX_THREAD_S", 1.0)
    with Connection(server.port) as connection:
        for _ in range(ANONYMOUS_STREAMS):
            connection.open(REFLECTION)
        time.sleep(2.5)

        assert services(channel) > 0


def test_a_key_that_is_created_later_gets_its_own_threads(
    server: Server, channel: grpc.Channel
) -> None:
    key = server_key(server)
    callers = server._callers  # noqa: SLF001
    before = callers.of((("authorization", f"Bearer {key}"),)).verified
    stub: Any = ProviderServiceStub(with_key(channel, key))
    stub.ListProviders(provider_pb2.ListProvidersRequest())
    after = callers.of((("authorization", f"Bearer {key}"),)).verified
    server_keys(server).revoke(key.split("_")[1])
    with pytest.raises(grpc.RpcError):
        stub.ListProviders(provider_pb2.ListProvidersRequest())

    assert (before, after) == (False, True)
    assert not callers.of((("authorization", key),)).verified


def server_keys(server: Server) -> Keys:
    return Keys(server._store)  # noqa: SLF001


def server_key(server: Server) -> str:
    """A new key."""
    return server_keys(server).create(Role.ADMIN, "")

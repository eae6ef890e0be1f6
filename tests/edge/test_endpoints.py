"""Which servers get calls, and that calls do not notice when servers come and go."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import httpx
import pytest

from portal_server.run import edge
from tests.support.own_envoy import ECHO, Door, Small, door, until
from tests.support.stack import TLS


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Door]:
    with door(tmp_path) as running:
        yield running


@pytest.fixture
def small(tmp_path: Path) -> Iterator[list[Small]]:
    """Two servers."""
    servers = [Small(tmp_path / f"{number}-0.sock") for number in range(2)]
    yield servers
    for server in servers:
        server.stop()


def call(channel: grpc.Channel, timeout: float = 9) -> bytes:
    response: bytes = channel.unary_unary(ECHO)(b"", timeout=timeout)  # type: ignore[arg-type]
    return response


def ready(own: Door, path: str = "/readyz") -> int:
    return httpx.get(f"http://127.0.0.1:{own.http_port}{path}", verify=TLS).status_code


def test_calls_go_to_the_servers_of_the_file(own: Door, small: list[Small]) -> None:
    own.send_calls_to(small)
    with own.channel() as channel:
        both = {call(channel) for _ in range(40)}
        own.send_calls_to(small[:1])
        one = {call(channel) for _ in range(40)}

    assert both == {b"0-0.sock", b"1-0.sock"}
    assert one == {b"0-0.sock"}


def test_a_server_that_is_taken_out_finishes_its_call(own: Door, tmp_path: Path) -> None:
    begun, go = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go.wait(9)

    old, new = Small(tmp_path / "0-0.sock", work=work), Small(tmp_path / "0-1.sock")
    own.send_calls_to([old])
    with ThreadPoolExecutor(1) as pool, own.channel() as channel:
        slow = pool.submit(call, channel)
        begun.wait(5)
        own.send_calls_to([new])
        fast = call(channel)
        go.set()
        response = slow.result()
    old.stop()
    new.stop()

    assert fast == b"0-1.sock"
    assert response == b"0-0.sock"


def test_no_call_fails_when_a_server_exits_without_notice(own: Door, tmp_path: Path) -> None:
    ends, stays = Small(tmp_path / "0-0.sock"), Small(tmp_path / "1-0.sock")
    own.send_calls_to([ends, stays])
    url = f"http://127.0.0.1:{own.http_port}/portal-api/oauth-providers/1"
    with own.channel() as channel, httpx.Client(verify=TLS) as rest:
        call(channel)
        ends.stop()
        native = {call(channel) for _ in range(200)}
        # The servers know no REST: that they were asked is enough.
        rest_status = {rest.get(url).status_code for _ in range(100)}
    stays.stop()

    assert native == {b"1-0.sock"}
    assert 503 not in rest_status


def test_an_endpoint_is_known_as_healthy_or_not(own: Door, small: list[Small]) -> None:
    own.send_calls_to(small)
    small[1].say(routing=False, ready=True)
    until(lambda: own.admin.endpoints("portal")[small[1].socket] is False, 3)
    edge.set_endpoints(own.folder, [small[0].socket, Path("/nobody.sock")])
    until(lambda: Path("/nobody.sock") in own.admin.endpoints("portal"), 3)

    assert own.admin.endpoints("portal") == {small[0].socket: True, Path("/nobody.sock"): False}


def test_readiness_is_what_a_server_reports(own: Door, small: list[Small]) -> None:
    own.send_calls_to(small)
    before = ready(own), ready(own, "/healthz")
    for server in small:
        server.say(routing=True, ready=False)
    away = until(lambda: ready(own) == 503, 5)
    with own.channel() as channel:
        served = call(channel)
        small[0].say(routing=True, ready=True)
        back = until(lambda: ready(own) == 200, 5)

    assert before == (200, 200)
    assert away < 5
    assert back < 1.5
    assert served


def test_live_needs_no_server(own: Door) -> None:
    response = httpx.get(f"http://127.0.0.1:{own.http_port}/livez", verify=TLS)
    away = httpx.get(f"http://127.0.0.1:{own.http_port}/readyz", verify=TLS)

    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    assert away.status_code == 503
    assert away.headers["retry-after"] == "1"


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz"])
def test_health_is_for_get_and_head(own: Door, path: str) -> None:
    for port in (own.http_port, own.grpc_port):
        url = f"http://127.0.0.1:{port}{path}"
        post = httpx.post(url, verify=TLS)

        assert httpx.head(url, verify=TLS).status_code == httpx.get(url, verify=TLS).status_code
        assert (post.status_code, post.headers["allow"]) == (405, "GET, HEAD")


def test_a_server_never_sees_more_than_its_longest_time(own: Door, small: list[Small]) -> None:
    own.send_calls_to(small[:1])
    with own.channel() as channel:
        for timeout in (None, 500_000, 2):
            channel.unary_unary(ECHO)(b"", timeout=timeout)  # type: ignore[arg-type]
    no_own, longer, shorter = small[0].remaining

    assert 9 < no_own < 10.1
    assert 9 < longer < 10.1
    assert 1 < shorter < 2.1


@pytest.mark.parametrize(
    "path",
    [
        "/portal.oauth.v1.ClientService/RegisterClient",
        "/portal.oauth.v1.ProviderService/CheckProvider",
        "/portal.oauth.v1.ClientTypeService/DeleteClientType",
    ],
)
def test_a_call_that_waits_for_a_provider_has_four_seconds_more(
    own: Door, small: list[Small], path: str
) -> None:
    own.send_calls_to(small[:1])
    small[0].remaining.clear()
    with own.channel() as channel:
        for timeout in (None, 500_000, 12):
            channel.unary_unary(path)(b"", timeout=timeout)  # type: ignore[arg-type]
    no_own, longer, shorter = small[0].remaining

    assert 13 < no_own < 14.1
    assert 13 < longer < 14.1
    assert 11 < shorter < 12.1


def test_a_rest_call_that_waits_for_a_provider_has_as_much(own: Door, small: list[Small]) -> None:
    own.send_calls_to(small[:1])
    small[0].remaining.clear()
    base = f"http://127.0.0.1:{own.http_port}/portal-api/oauth-providers/1"
    httpx.get(f"{base}/check")
    httpx.post(f"{base}/client-types/2/clients", json={})
    httpx.put(f"{base}/client-types/2/clients/3/rotate")
    httpx.delete(f"{base}/client-types/2?force=1")
    httpx.get(f"{base}/client-types/2/clients/3")
    *waiting, other = small[0].remaining

    assert len(waiting) == 4
    assert all(13 < remaining < 14.1 for remaining in waiting)
    assert 9 < other < 10.1


def test_a_deadline_of_the_caller_is_reported_as_exceeded(own: Door, tmp_path: Path) -> None:
    slow = Small(tmp_path / "0-0.sock", work=lambda: time.sleep(1))
    own.send_calls_to([slow])
    with own.channel() as channel, pytest.raises(grpc.RpcError) as error:
        call(channel, timeout=0.2)
    slow.stop()

    assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED

"""A stop ends within its bound, whatever callers do."""

import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.support.stack import Stack, alive

CLIENT_TYPES = "/oauth-providers/1/client-types"
CLIENT_TYPE = {"Name": "x", "ResponseTypes": "code", "GrantType": "pkce"}


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Stack]:
    """A started stack of the test's own."""
    own = Stack(tmp_path).start()
    yield own
    own.stop()


def seconds_to_stop(own: Stack, number: int = signal.SIGTERM) -> float:
    begin = time.monotonic()
    assert own.stop(number) == 0
    return time.monotonic() - begin


def test_open_watch_streams_do_not_hold_up_a_stop(running: Stack) -> None:
    seen: list[int] = []

    def watch(port: int) -> None:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            try:
                seen.extend(
                    response.status for response in stub.Watch(health_pb2.HealthCheckRequest())
                )
            except grpc.RpcError:
                return

    with ThreadPoolExecutor(2) as pool:
        pool.map(watch, (running.http_port, running.grpc_port))
        while len(seen) < 2:
            time.sleep(0.05)
        took = seconds_to_stop(running)

    assert took < 5


def unfinished(own: Stack) -> threading.Thread:
    """A caller whose request does not end."""

    def body() -> Iterator[bytes]:
        while True:
            yield b" "
            time.sleep(0.5)

    def post() -> None:
        with own.client() as rest, suppress(httpx.HTTPError):
            rest.post(CLIENT_TYPES, content=body())

    return threading.Thread(target=post)


@pytest.mark.timeout(180)
def test_a_call_that_does_not_end_holds_up_a_stop_no_longer_than_the_bound(running: Stack) -> None:
    def post() -> None:
        with running.client() as rest, suppress(httpx.HTTPError):
            while True:
                rest.post(CLIENT_TYPES, json=CLIENT_TYPE)

    threads = [*(threading.Thread(target=post) for _ in range(8)), unfinished(running)]
    with running.locked_database():
        for thread in threads:
            thread.start()
        time.sleep(1)
        took = seconds_to_stop(running)
    for thread in threads:
        thread.join(30)

    assert took < 25


def test_a_second_signal_kills(running: Stack) -> None:
    children = [number for numbers in running.children().values() for number in numbers]
    thread = unfinished(running)
    thread.start()
    time.sleep(0.5)
    assert running.process
    running.process.send_signal(signal.SIGTERM)
    time.sleep(1)
    took = seconds_to_stop(running)
    thread.join(10)

    # Without it, the stop waits 15 s for the call.
    assert took < 8
    assert not [number for number in children if alive(number)]

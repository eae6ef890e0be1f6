"""The calls of one key while another key calls as fast as it can."""

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2

from portal.oauth.v1 import provider_pb2
from portal.oauth.v1.provider_pb2_grpc import ProviderServiceStub
from tests.native.test_reflection_and_health import health_of
from tests.support.calling import _PROVIDER
from tests.support.postgres import free_port
from tests.support.stack import ADMIN_KEY, ENVIRONMENT, ROOT, portal

# Of a call alone; and what a machine with other work may add, whoever calls.
TIMES, NOISE_MS = 3, 15
SECONDS, ROUNDS = 1, 3
RATE = 20
"""Requests a second of the key with a limit."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[int, str, str]]:
    """The port of a server in a separate process, and a key without and one with a limit."""
    port = free_port()
    settings = {
        "PORTAL_DATABASE_URL": f"sqlite:///{tmp_path}/portal.db",
        "PORTAL_ADMIN_KEY": ADMIN_KEY,
        "PORTAL_DIRECT_GRPC_PORT": str(port),
    }
    assert portal("migrate", **settings).returncode == 0
    key = portal("keys", "create", **settings).stdout.strip()
    limits = (f"--requests-per-second={RATE}", f"--burst={RATE}")
    limited = portal("keys", "create", *limits, **settings).stdout.strip()
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "portal_server", "serve"],
            env=ENVIRONMENT | settings,
            cwd=ROOT,
            stderr=log,
        )
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            health_of(channel).Check(health_pb2.HealthCheckRequest(), wait_for_ready=True)
            ProviderServiceStub(channel).CreateProvider(
                provider_pb2.CreateProviderRequest(provider=_PROVIDER),
                metadata=(("authorization", ADMIN_KEY),),
            )
        yield port, key, limited
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def served(server: tuple[int, str, str]) -> tuple[int, str]:
    """The port of a server in a separate process, and another key than the admin key."""
    return server[:2]


def calling(
    port: int, key: str, callers: int, seconds: float, kind: str, *rate: str
) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.support.calling"]
    arguments = [str(port), key, str(callers), str(seconds), kind, *rate]
    return subprocess.Popen(
        [*command, *arguments], cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
    )


def p99(process: "subprocess.Popen[str]") -> float:
    out, _ = process.communicate(timeout=60)
    return float(out.split()[1])


@pytest.mark.attack
@pytest.mark.parametrize(
    ("mine", "others"),
    [
        ("get", "create"),
        pytest.param("get", "get", marks=pytest.mark.long),
        pytest.param("create", "get", marks=pytest.mark.long),
        pytest.param("create", "create", marks=pytest.mark.long),
    ],
)
def test_a_key_that_calls_as_fast_as_it_can_slows_another_key_down_threefold_at_most(
    served: tuple[int, str], mine: str, others: str
) -> None:
    port, key = served
    alone, beside = [], []
    for _ in range(ROUNDS):
        alone.append(p99(calling(port, key, 1, SECONDS, mine)))
        flood = calling(port, ADMIN_KEY, 32, SECONDS + 2, others)
        time.sleep(1.2)
        beside.append(p99(calling(port, key, 1, SECONDS, mine)))
        p99(flood)
    before, meanwhile = statistics.median(alone), statistics.median(beside)

    assert meanwhile < TIMES * before + NOISE_MS, (alone, beside)


@pytest.mark.attack
def test_a_key_at_ten_times_its_rate_does_not_slow_another_key_down(
    server: tuple[int, str, str],
) -> None:
    port, key, limited = server
    alone, beside, passed, rejected = [], [], 0, 0
    for _ in range(ROUNDS):
        alone.append(p99(calling(port, key, 1, SECONDS, "get")))
        flood = calling(port, limited, 8, SECONDS + 2, "create", str(10 * RATE))
        time.sleep(1.2)
        beside.append(p99(calling(port, key, 1, SECONDS, "get")))
        out, _ = flood.communicate(timeout=60)
        passed += int(out.split()[0])
        rejected += int(out.split()[2])
    before, meanwhile = statistics.median(alone), statistics.median(beside)

    # In each round: the burst, and those of three seconds.
    assert passed <= ROUNDS * 5 * RATE
    assert rejected > 2 * passed
    assert meanwhile < 1.5 * before + NOISE_MS, (alone, beside)

"""Servers that tests kill, callers that go on, and what they were reported."""

import atexit
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from math import ceil
from typing import Any

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub

from portal.oauth.v1 import client_type_pb2 as pb
from portal.oauth.v1 import provider_pb2
from portal.oauth.v1.client_type_pb2_grpc import ClientTypeServiceStub
from portal.oauth.v1.provider_pb2_grpc import ProviderServiceStub
from tests.conftest import with_key
from tests.support.catalog import KEYS
from tests.support.postgres import free_port
from tests.support.stack import ADMIN_KEY, ENVIRONMENT, ROOT, portal, soon

CALLERS = 8

_USUAL_KILLS = 109
"""How many kills the tests marked `crash` do in all, without `KILLS`."""


def scaled(usual: int) -> int:
    """A number of kills or seconds, scaled to the kills in all: `make test-crash KILLS=500`."""
    kills = int(os.environ.get("CRASH_KILLS") or _USUAL_KILLS)
    return ceil(usual * kills / _USUAL_KILLS)


def connect(target: str) -> grpc.Channel:
    """A channel that soon finds a server that was started again."""
    return grpc.insecure_channel(target, [("grpc.max_reconnect_backoff_ms", 500)])


class Ledger:
    """What callers asked for, and what they were reported."""

    def __init__(self) -> None:
        self.asked: dict[str, pb.ClientType] = {}
        self.reported: dict[str, pb.ClientType] = {}
        self.cut_off: list[str] = []
        self.errors: Counter[grpc.StatusCode] = Counter()
        self._numbers = iter(range(10_000_000))
        self._lock = threading.Lock()

    def name(self) -> str:
        """The name of a client type that is to be created, or may have been."""
        with self._lock:
            return self.cut_off.pop() if self.cut_off else str(next(self._numbers))

    def call(self, stub: ClientTypeServiceStub) -> grpc.StatusCode:
        """Create a client type and note what happens."""
        name = self.name()
        asked = pb.ClientType(
            name=name,
            description=name * 50,
            response_types=[pb.RESPONSE_TYPE_CODE, pb.RESPONSE_TYPE_TOKEN],
            grant_types=[pb.GRANT_TYPE_PKCE],
        )
        self.asked[name] = asked
        try:
            request = pb.CreateClientTypeRequest(
                provider_id=1, client_type=asked, request_id=f"create {name}"
            )
            created = stub.CreateClientType(request, timeout=5)
            created.ClearField("findings")  # a list has none
            self.reported[name] = created
        except grpc.RpcError as error:
            code = error.code()
            self.errors[code] += 1
            self.cut_off.append(name)
            return code
        return grpc.StatusCode.OK

    def compare(self, stored: list[pb.ClientType]) -> None:
        """Hold what is stored against what was asked and reported."""
        by_name = {row.name: row for row in stored}
        lost = [name for name, row in self.reported.items() if by_name.get(name) != row]
        strange = [
            row
            for row in stored
            if row.name not in self.asked
            or row.description != self.asked[row.name].description
            or row.response_types != self.asked[row.name].response_types
            or row.grant_types != self.asked[row.name].grant_types
        ]

        assert len(by_name) == len(stored), "a row is there twice"
        assert not lost
        assert not strange


class OwnServer:
    """`portal serve` in a process that a test may kill; with these environment variables too."""

    def __init__(self, database_url: str, **environment: str) -> None:
        self._settings = {
            "PORTAL_DATABASE_URL": database_url,
            "PORTAL_DIRECT_GRPC_PORT": str(free_port()),
            "PORTAL_ADMIN_KEY": ADMIN_KEY,
            "PORTAL_ENCRYPTION_KEYS": KEYS.get_secret_value(),
            "PORTAL_LOG_LEVEL": "ERROR",
            "PYTHONFAULTHANDLER": "1",
        } | environment
        self.target = f"127.0.0.1:{self._settings['PORTAL_DIRECT_GRPC_PORT']}"
        self._process: subprocess.Popen[bytes] | None = None
        assert portal("migrate", **self._settings).returncode == 0

    def start(self) -> None:
        command = [sys.executable, "-m", "portal_server", "serve"]
        environment = ENVIRONMENT | self._settings
        self._process = subprocess.Popen(command, env=environment, cwd=ROOT)
        atexit.register(self._process.kill)  # of a test that failed
        # A start takes two seconds of CPU, of a machine that may be busy.
        if not soon(self._serves, 120):
            self.end(signal.SIGABRT)  # prints the stack of each thread
            message = "the server does not serve"
            raise TimeoutError(message)

    def _serves(self) -> bool:
        assert self._process
        assert self._process.poll() is None, "the server has ended"
        # A call, because a channel may report the connection to the server that was killed.
        with connect(self.target) as channel:
            try:
                stub: Any = HealthStub(channel)
                stub.Check(HealthCheckRequest(), timeout=5)
            except grpc.RpcError:
                return False
        return True

    def stop(self) -> None:
        assert self.end(signal.SIGTERM) == 0

    def end(self, number: signal.Signals) -> int:
        assert self._process
        os.kill(self._process.pid, number)
        return self._process.wait(30)


def stored(target: str) -> list[pb.ClientType]:
    """All client types, page by page."""
    rows: list[pb.ClientType] = []
    request = pb.ListClientTypesRequest(provider_id=1, page_size=1000)
    with connect(target) as channel:
        stub = ClientTypeServiceStub(with_key(channel, ADMIN_KEY))
        while True:
            page = stub.ListClientTypes(request)
            rows += page.client_types
            if not page.next_page_token:
                return rows
            request.page_token = page.next_page_token


def add_provider(target: str, token: str = "") -> None:
    with connect(target) as channel:
        draft = provider_pb2.Provider(
            name="p",
            type=provider_pb2.PROVIDER_TYPE_OTHER,
            well_known_uri="https://idp.test/",
            registration_access_token=token,
        )
        ProviderServiceStub(with_key(channel, ADMIN_KEY)).CreateProvider(
            provider_pb2.CreateProviderRequest(provider=draft)
        )


class Load:
    """Callers that go on until they are stopped."""

    def __init__(self, target: str, ledger: Ledger) -> None:
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._call, args=(target, ledger), daemon=True)
            for _ in range(CALLERS)
        ]
        for thread in self._threads:
            thread.start()

    def _call(self, target: str, ledger: Ledger) -> None:
        with connect(target) as channel:
            stub = ClientTypeServiceStub(with_key(channel, ADMIN_KEY))
            while not self._stop.is_set():
                if ledger.call(stub) != grpc.StatusCode.OK:
                    time.sleep(0.02)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

"""No acknowledged write is lost when a process is killed under load. Run by `make test-crash`.

Callers note what they are reported, and send again what was cut off, with the same
request id, also after the kill. Every acknowledged row must be there, whole and
once; a call that was cut off may have left its row or not, and nothing else may
be there.
"""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator

import grpc
import pytest

from portal.oauth.v1 import client_type_pb2 as pb
from portal.oauth.v1 import provider_pb2
from portal.oauth.v1.client_type_pb2_grpc import ClientTypeServiceStub
from portal.oauth.v1.provider_pb2_grpc import ProviderServiceStub
from tests.conftest import with_key
from tests.support.catalog import KEYS
from tests.support.postgres import Postgres, free_port, running_postgres
from tests.support.stack import ADMIN_KEY, ENVIRONMENT, ROOT, portal

pytestmark = pytest.mark.timeout(600)

CALLERS = 8


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
    """`portal serve` in a process that a test may kill."""

    def __init__(self, database_url: str) -> None:
        self._settings = {
            "PORTAL_DATABASE_URL": database_url,
            "PORTAL_DIRECT_GRPC_PORT": str(free_port()),
            "PORTAL_ADMIN_KEY": ADMIN_KEY,
            "PORTAL_ENCRYPTION_KEYS": KEYS.get_secret_value(),
            "PORTAL_LOG_LEVEL": "ERROR",
        }
        self.target = f"127.0.0.1:{self._settings['PORTAL_DIRECT_GRPC_PORT']}"
        self._process: subprocess.Popen[bytes] | None = None
        assert portal("migrate", **self._settings).returncode == 0

    def start(self) -> None:
        command = [sys.executable, "-m", "portal_server", "serve"]
        environment = ENVIRONMENT | self._settings
        self._process = subprocess.Popen(command, env=environment, cwd=ROOT)
        with grpc.insecure_channel(self.target) as channel:
            grpc.channel_ready_future(channel).result(timeout=30)

    def end(self, number: signal.Signals) -> int:
        assert self._process
        os.kill(self._process.pid, number)
        return self._process.wait(30)


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[Postgres]:
    with running_postgres() as cluster:
        yield cluster


def stored(target: str) -> list[pb.ClientType]:
    """All client types, page by page."""
    rows: list[pb.ClientType] = []
    request = pb.ListClientTypesRequest(provider_id=1, page_size=1000)
    with grpc.insecure_channel(target) as channel:
        stub = ClientTypeServiceStub(with_key(channel, ADMIN_KEY))
        while True:
            page = stub.ListClientTypes(request)
            rows += page.client_types
            if not page.next_page_token:
                return rows
            request.page_token = page.next_page_token


def add_provider(target: str) -> None:
    with grpc.insecure_channel(target) as channel:
        draft = provider_pb2.Provider(
            name="p", type=provider_pb2.PROVIDER_TYPE_OTHER, well_known_uri="https://idp.test/"
        )
        ProviderServiceStub(with_key(channel, ADMIN_KEY)).CreateProvider(
            provider_pb2.CreateProviderRequest(provider=draft)
        )


class Load:
    """Callers that go on until they are stopped."""

    def __init__(self, target: str, ledger: Ledger) -> None:
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._call, args=(target, ledger)) for _ in range(CALLERS)
        ]
        for thread in self._threads:
            thread.start()

    def _call(self, target: str, ledger: Ledger) -> None:
        with grpc.insecure_channel(target) as channel:
            stub = ClientTypeServiceStub(with_key(channel, ADMIN_KEY))
            while not self._stop.is_set():
                if ledger.call(stub) != grpc.StatusCode.OK:
                    time.sleep(0.02)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)


@pytest.mark.parametrize(
    "rounds",
    [
        pytest.param(2, marks=pytest.mark.slow),
        pytest.param(20, marks=pytest.mark.crash),
    ],
)
def test_a_killed_server_has_lost_no_acknowledged_write(database_url: str, rounds: int) -> None:
    server, ledger = OwnServer(database_url), Ledger()
    server.start()
    add_provider(server.target)
    for _ in range(rounds):
        load = Load(server.target, ledger)
        time.sleep(random.uniform(0.1, 0.6))  # noqa: S311
        server.end(signal.SIGKILL)
        load.stop()
        server.start()

        ledger.compare(stored(server.target))
    status = server.end(signal.SIGTERM)
    print(f"{len(ledger.reported)} of {len(ledger.asked)} acknowledged, none lost")  # noqa: T201

    assert status == 0
    assert len(ledger.reported) > rounds * CALLERS
    assert ledger.errors


@pytest.mark.crash
def test_a_killed_postgresql_has_lost_no_acknowledged_write_and_the_server_goes_on(
    own_postgres: Postgres,
) -> None:
    server, ledger = OwnServer(own_postgres.url()), Ledger()
    server.start()
    add_provider(server.target)
    load = Load(server.target, ledger)
    for _ in range(5):
        time.sleep(random.uniform(0.2, 0.8))  # noqa: S311
        own_postgres.stop("immediate")
        time.sleep(0.5)
        own_postgres.start()
        reported, back = len(ledger.reported), time.monotonic()
        while len(ledger.reported) == reported:
            assert time.monotonic() - back < 5, "no call has worked since"
            time.sleep(0.01)
    load.stop()
    rows = stored(server.target)
    server.end(signal.SIGTERM)
    print(f"{len(ledger.reported)} of {len(ledger.asked)} acknowledged, none lost")  # noqa: T201

    ledger.compare(rows)
    assert set(ledger.errors) == {grpc.StatusCode.UNAVAILABLE}

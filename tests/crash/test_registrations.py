"""No registered client is lost when the server is killed and the provider fails.

Callers register and delete clients at a provider that responds late, drops responses, reports
errors after it has done the work, and restarts. Afterwards each client at the provider has its
row, each ACTIVE row has its client, and no request was done twice. Later, each change has ended.
"""

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import grpc
import pytest

from portal.oauth.v1 import client_pb2 as pb
from portal.oauth.v1 import client_type_pb2, provider_pb2
from portal.oauth.v1.client_pb2_grpc import ClientServiceStub
from portal.oauth.v1.client_type_pb2_grpc import ClientTypeServiceStub
from portal.oauth.v1.provider_pb2_grpc import ProviderServiceStub
from tests.conftest import with_key
from tests.crash.load import OwnServer, connect, scaled
from tests.support.postgres import free_port
from tests.support.providers import failing
from tests.support.providers.failing import Failure
from tests.support.stack import ADMIN_KEY, soon

pytestmark = pytest.mark.timeout(scaled(900))

CALLERS = 8
# A lease (60 s), a registration in progress (30 s), and the time until it is searched (60 s).
_SETTLE_S = 240
_SETTLED = (
    pb.CLIENT_STATE_ACTIVE,
    pb.CLIENT_STATE_ORPHANED,  # this provider cannot be searched
    pb.CLIENT_STATE_DETACHED,
)
_FAILURES = [
    *[Failure.NONE] * 6,
    Failure.DROP,
    Failure.ERROR_AFTER,
    Failure.DROP_BEFORE,
    Failure.GARBAGE,
]


class Requests:
    """What callers asked for: each registration has a number, which is its label and request id."""

    def __init__(self) -> None:
        self.cut_off: list[str] = []
        self.deleted: set[int] = set()
        self.registered: dict[str, pb.Client] = {}
        self.errors: Counter[grpc.StatusCode] = Counter()
        self._numbers = iter(range(10_000_000))
        self._lock = threading.Lock()

    def next(self) -> str:
        with self._lock:
            return self.cut_off.pop() if self.cut_off else str(next(self._numbers))

    def call(self, stub: ClientServiceStub) -> None:
        """Register a client and, sometimes, delete it again."""
        number = self.next()
        request = pb.RegisterClientRequest(
            provider_id=1,
            client_type_id=1,
            client=pb.Client(
                name="app",
                redirect_uris=["https://app.example.com/callback"],
                labels={"number": number},
            ),
            request_id=f"register {number}",
        )
        try:
            client = stub.RegisterClient(request, timeout=15).client
        except grpc.RpcError as error:
            self.errors[error.code()] += 1
            self.cut_off.append(number)
            time.sleep(0.02)
            return
        self.registered[number] = client
        if client.state == pb.CLIENT_STATE_ACTIVE and int(number) % 3 == 0:
            self._delete(stub, client)

    def _delete(self, stub: ClientServiceStub, client: pb.Client) -> None:
        try:
            stub.DeleteClient(pb.DeleteClientRequest(provider_id=1, id=client.id), timeout=15)
        except grpc.RpcError as error:
            self.errors[error.code()] += 1
            return
        self.deleted.add(client.id)


class Load:
    """Callers that continue until they are stopped."""

    def __init__(self, target: str, requests: Requests) -> None:
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._call, args=(target, requests), daemon=True)
            for _ in range(CALLERS)
        ]
        for thread in self._threads:
            thread.start()

    def _call(self, target: str, requests: Requests) -> None:
        with connect(target) as channel:
            stub = ClientServiceStub(with_key(channel, ADMIN_KEY))
            while not self._stop.is_set():
                requests.call(stub)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)


@contextmanager
def set_up(target: str, provider: failing.Provider) -> Iterator[ClientServiceStub]:
    with connect(target) as channel:
        keyed = with_key(channel, ADMIN_KEY)
        ProviderServiceStub(keyed).CreateProvider(
            provider_pb2.CreateProviderRequest(
                provider=provider_pb2.Provider(
                    name="p",
                    type=provider_pb2.PROVIDER_TYPE_OTHER,
                    well_known_uri=provider.well_known_uri,
                    registration_access_token=failing.TOKEN,
                )
            )
        )
        ClientTypeServiceStub(keyed).CreateClientType(
            client_type_pb2.CreateClientTypeRequest(
                provider_id=1,
                client_type=client_type_pb2.ClientType(
                    name="code",
                    response_types=[client_type_pb2.RESPONSE_TYPE_CODE],
                    grant_types=[client_type_pb2.GRANT_TYPE_AUTHORIZATION_CODE],
                ),
            )
        )
        yield ClientServiceStub(keyed)


def rows(target: str) -> list[pb.Client]:
    found: list[pb.Client] = []
    request = pb.ListClientsRequest(provider_id=1, page_size=200)
    with connect(target) as channel:
        stub = ClientServiceStub(with_key(channel, ADMIN_KEY))
        while True:
            page = stub.ListClients(request)
            found += page.clients
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token


def compare(found: list[pb.Client], provider: failing.Provider, requests: Requests) -> None:
    """Compare the rows with what the provider has and what callers were reported."""
    marks = {row.uid[-12:] for row in found}
    names = provider.names()
    strangers = [name for name in names if name.rpartition("[")[2].rstrip("]") not in marks]
    missing = [
        row
        for row in found
        if row.state == pb.CLIENT_STATE_ACTIVE and row.client_id not in provider.clients
    ]
    numbers = Counter(row.labels["number"] for row in found)
    by_id = {row.id for row in found}
    lost = [
        client
        for client in requests.registered.values()
        if client.id not in by_id and client.client_id in provider.clients
    ]

    assert not strangers, "the provider has clients that no row knows"
    assert not missing, "the provider does not have clients that are ACTIVE"
    assert len(set(names)) == len(names), "a client is at the provider twice"
    assert max(numbers.values(), default=1) == 1, "a request was done twice"
    assert not requests.deleted & by_id
    assert not lost


def settled(target: str) -> bool:
    return all(row.state in _SETTLED for row in rows(target))


@pytest.mark.parametrize(
    ("rounds", "settles"),
    [
        pytest.param(2, False, marks=pytest.mark.slow),
        pytest.param(scaled(20), True, marks=pytest.mark.crash),
    ],
)
def test_no_client_is_lost(database_url: str, *, rounds: int, settles: bool) -> None:
    server, requests, port = OwnServer(database_url), Requests(), free_port()
    provider = failing.Provider()
    chance = random.Random()  # noqa: S311
    with ExitStack() as at_end:
        running = at_end.enter_context(ExitStack())
        running.enter_context(failing.running(port, provider))
        server.start()
        at_end.callback(server.end, signal.SIGTERM)
        at_end.enter_context(set_up(server.target, provider))
        for number in range(rounds):
            provider.delay_s = chance.uniform(0, 0.05)
            for method in ("POST", "DELETE"):
                provider.fail(method, *chance.choices(_FAILURES, k=50))
            load = Load(server.target, requests)
            time.sleep(chance.uniform(0.3, 1.0))
            if number % 4 == 1:
                running.close()
                time.sleep(0.2)
                running.enter_context(failing.running(port, provider))
            server.end(signal.SIGKILL)
            load.stop()
            server.start()

            compare(rows(server.target), provider, requests)
        if settles:
            assert soon(lambda: settled(server.target), _SETTLE_S)
            compare(rows(server.target), provider, requests)
        states = Counter(pb.ClientState.Name(row.state) for row in rows(server.target))
    print(  # noqa: T201
        f"{rounds} kills, {len(requests.registered)} registered, {len(requests.deleted)} deleted,"
        f" none lost; {dict(states)}"
    )

    assert len(requests.registered) > rounds * 2
    assert requests.errors

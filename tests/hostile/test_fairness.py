"""What one caller does as fast as he can, with a key or without, leaves the others served."""

import itertools
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from multiprocessing import get_context

import httpx
import pytest

from portal.oauth.v1 import provider_pb2
from tests.hostile.http2 import Connection, Headers, http, message, rpc
from tests.hostile.sockets import ADDRESSES
from tests.hostile.system import API, CHECK, LIST, PROVIDER, REFLECTION, System, make_keys

pytestmark = pytest.mark.attack

Shot = tuple[Headers, bytes]


def _flood(ports: list[int], shots: list[Shot], seconds: float) -> None:
    """Call in eight threads without a pause, sixteen calls at a time on each connection."""
    until = time.monotonic() + seconds

    def run(number: int) -> None:
        while time.monotonic() < until:
            source = ADDRESSES[number % len(ADDRESSES)]
            with Connection(ports[number % len(ports)], source=source) as connection:
                turns = itertools.islice(itertools.cycle(shots), number, None)
                while not connection.closed and time.monotonic() < until:
                    for headers, body in itertools.islice(turns, 16):
                        stream = connection.begin(headers, end=not body)
                        if body:
                            connection.data(stream, body, end=True)
                    patience = time.monotonic() + 2
                    while connection.open_streams and time.monotonic() < min(until, patience):
                        connection.pump(0.05)
                    connection.replies.clear()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@contextmanager
def flood(system: System, shots: list[Shot], seconds: float) -> Iterator[None]:
    """A flood from another process, so that it and this one have a core each."""
    arguments = (list(system.ports.values()), shots, seconds)
    process = get_context("spawn").Process(target=_flood, args=arguments, daemon=True)
    process.start()
    try:
        yield
        process.join(seconds + 20)
    finally:
        process.kill()
        process.join()


def _filter(text: str) -> bytes:
    return message(provider_pb2.ListProvidersRequest(filter=text).SerializeToString())


FLOODS: dict[str, Callable[[System], list[Shot]]] = {
    "no key, REST": lambda _: [(http("GET", API), b"")],
    "no key, native": lambda _: [(rpc(LIST), message())],
    "a wrong key": lambda _: [
        (rpc(LIST, key=f"oap_{at:08}_{'x' * 32}"), message()) for at in range(50)
    ],
    "a key with a good name": lambda it: [(rpc(LIST, key=it.viewer[:-1] + "!"), message())],
    "health": lambda _: [(rpc(CHECK), message())],
    "healthz": lambda _: [(http("GET", "/healthz"), b""), (http("GET", "/readyz"), b"")],
    "reflection": lambda _: [(rpc(REFLECTION[0]), message(b"\x3a\x00"))],
    "unknown methods": lambda _: [(rpc(f"/nobody.v1.Nope/{at}"), message()) for at in range(500)],
    "unknown paths": lambda _: [(http("GET", f"/{at}"), b"") for at in range(500)],
    "unknown health names": lambda _: [
        (rpc(CHECK), message(b"\x0a\x08" + f"{at:08}".encode())) for at in range(500)
    ],
    "a greedy reader": lambda it: [(http("GET", API, key=it.greedy_viewer), b"")],
    "a greedy native reader": lambda it: [(rpc(LIST, key=it.greedy_viewer), message())],
    "a greedy writer": lambda it: [
        (
            http(
                "POST",
                f"{API}/999999/client-types",
                ("content-type", "application/json"),
                key=it.greedy_admin,
            ),
            b'{"Name":"x","ResponseTypes":"code","GrantType":"pkce"}',
        )
    ],
    "filters of always new shapes": lambda it: [
        (rpc(LIST, key=it.greedy_viewer), _filter(" AND ".join(shape)))
        for shape in itertools.islice(
            itertools.product(("name:n", 'name!="x"', "type!=PROVIDER_TYPE_OKTA"), repeat=8),
            0,
            6000,
            20,
        )
    ],
    "filters of 180 conditions": lambda it: [
        (rpc(LIST, key=it.greedy_viewer), _filter("name:n AND " * 180 + f"name:q{at}"))
        for at in range(50)
    ],
}


@pytest.mark.long
@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_of_calls_leaves_the_others_served(one: System, seconds: float, name: str) -> None:
    with flood(one, FLOODS[name](one), seconds + 1), one.unharmed():
        time.sleep(seconds + 1)


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(
            ("no key, REST", "no key, native", "a wrong key", "a key with a good name"),
            marks=pytest.mark.alone,
        ),
        ("health", "healthz", "reflection", "unknown health names"),
        ("a greedy reader", "a greedy native reader", "a greedy writer"),
        ("filters of always new shapes", "filters of 180 conditions"),
    ],
    ids=lambda names: names[0],
)
def test_floods_of_a_family_leave_the_others_served(
    one: System, seconds: float, names: tuple[str, ...]
) -> None:
    families = [FLOODS[name](one) for name in names]
    shots = [family[at % len(family)] for at in range(300) for family in families]
    with flood(one, shots, seconds + 1), one.unharmed():
        time.sleep(seconds + 1)


def test_a_new_key_is_served_in_a_flood_of_calls_without_one(one: System, seconds: float) -> None:
    """No server has seen it yet: its first call must not wait with those of strangers."""
    shots = [shot for name in ("no key, native", "a wrong key") for shot in FLOODS[name](one)]
    with flood(one, shots, seconds + 2):
        time.sleep(1)
        for _ in range(3):
            [_, viewer, *_] = make_keys(one.stack)
            for name, port in one.ports.items():
                with Connection(port, source="127.0.0.1") as connection:
                    start = time.monotonic()
                    found = connection.call(rpc(LIST, key=viewer), message(b"\x08\x01"))
                    assert found.grpc == 0, f"on the {name} port: {found}"
                    assert time.monotonic() - start < 1


def test_two_servers_serve_the_others_in_a_flood_of_all_kinds(two: System, seconds: float) -> None:
    shots = [shot for make in FLOODS.values() for shot in make(two)[:20]]
    with flood(two, shots, seconds + 1), two.unharmed():
        time.sleep(seconds + 1)


@pytest.fixture
def many_rows(one: System) -> Iterator[None]:
    """As many providers that a filter takes seconds to read them."""
    with closing(sqlite3.connect(one.stack.folder / "portal.db", timeout=20)) as database:
        [last] = database.execute("SELECT max(id) FROM provider").fetchone()
        columns = [row[1] for row in database.execute("PRAGMA table_info(provider)")]
        values = {"id": f"{last} + i", "uid": "hex(randomblob(16))", "name": "'nnnnnnnnnn'"}
        rows = ", ".join(values.get(name, name) for name in columns)
        with database:
            database.execute(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 150000)"  # noqa: S608
                f" INSERT INTO provider ({', '.join(columns)})"
                f" SELECT {rows} FROM n, provider WHERE provider.id = {one.provider}"
            )
        yield
        with database:
            database.execute("DELETE FROM provider WHERE id > ?", (last,))
            database.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'provider'", (last,))


@pytest.mark.usefixtures("many_rows")
@pytest.mark.parametrize(
    ("deadline", "keys"),
    [
        ("9S", "two keys"),
        pytest.param("9S", "one key", marks=pytest.mark.long),
        pytest.param("1S", "two keys", marks=pytest.mark.long),
        pytest.param("1S", "one key", marks=pytest.mark.long),
    ],
)
def test_reads_that_find_nothing_in_many_rows_leave_the_others_served(
    one: System, seconds: float, deadline: str, keys: str
) -> None:
    callers = [one.greedy_viewer, one.greedy_admin][: 1 if keys == "one key" else 2]
    slow: list[Shot] = [
        (
            rpc(LIST, ("grpc-timeout", deadline), key=key),
            _filter("name:n AND " * 14 + f"name:q{at}"),
        )
        for at in range(16)
        for key in callers
    ]
    with flood(one, slow, seconds + 2), one.unharmed():
        time.sleep(seconds + 2)


def test_replies_that_are_kept_stay_small(one: System) -> None:
    """A replacement of a provider with many client types is asked for with always new keys."""
    row = {"Name": "n", "Description": "d" * 4096, "ResponseTypes": "code", "GrantType": "pkce"}
    folder = one.stack.folder
    with one.stack.client() as client, ThreadPoolExecutor(8) as pool:
        path = f"/oauth-providers/{client.post('/oauth-providers', json=PROVIDER).json()['ID']}"
        made = list(pool.map(lambda _: client.post(f"{path}/client-types", json=row), range(300)))
        assert all(response.status_code == 200 for response in made)
        before = sum(file.stat().st_size for file in folder.glob("portal.db*"))
        for number in range(20):
            key = {"Idempotency-Key": f"kept-{number}"}
            assert client.put(path, json=PROVIDER, headers=key).status_code in {200, 413, 429}
        grown = sum(file.stat().st_size for file in folder.glob("portal.db*")) - before
        client.delete(f"{path}?force=true")

    assert grown < 8 << 20, f"{grown >> 20} MiB"


def test_while_commits_wait_reads_go_on_and_writes_are_reported(one: System) -> None:
    """Another process has the write lock of the database."""
    reported: list[tuple[float, httpx.Response]] = []

    def write(number: int) -> None:
        start = time.monotonic()
        port = list(one.ports.values())[number % 2]
        response = one.call_rest(port, "POST", seconds=20, json=PROVIDER)
        reported.append((time.monotonic() - start, response))

    reads: list[float] = []
    with one.stack.locked_database(), ThreadPoolExecutor(40) as pool:
        writes = [pool.submit(write, number) for number in range(40)]
        time.sleep(0.5)
        until = time.monotonic() + 6
        while time.monotonic() < until:
            for port in one.ports.values():
                start = time.monotonic()
                assert one.call_rest(port, path=f"{API}?per_page=1").status_code == 200
                one.call_native(port)
                reads.append(time.monotonic() - start)
            time.sleep(0.02)
        for done in writes:
            done.result()
    assert max(reads) < 1
    assert {response.status_code for _, response in reported} <= {503, 429}
    assert max(seconds for seconds, _ in reported) < 12
    assert all(json_errors(response) for _, response in reported)


def json_errors(response: httpx.Response) -> list[str]:
    """What a error says."""
    found: list[str] = response.json()["errors"]
    return found


def test_one_greedy_key_leaves_another_its_speed(one: System, seconds: float) -> None:
    """The p99 of one key grows to at most three times while another calls as fast as it can."""

    def p99(length: float) -> float:
        found = []
        until = time.monotonic() + length
        with Connection(one.stack.http_port, source="127.0.0.1") as connection:
            while time.monotonic() < until:
                start = time.perf_counter()
                assert connection.call(rpc(LIST, key=one.viewer), message(b"\x08\x01")).grpc == 0
                found.append(time.perf_counter() - start)
                time.sleep(0.005)
        return sorted(found)[int(len(found) * 0.99)]

    alone = p99(max(seconds, 3))
    shots = [(rpc(LIST, key=one.greedy_viewer), message())]
    with flood(one, shots, max(seconds, 3) + 1):
        time.sleep(1)
        beside = p99(max(seconds, 3))

    # What the cores are shared for is not a unfairness of the server's: on two, 20 ms are.
    assert beside <= max(3 * alone, 0.02), f"{alone * 1000:.1f} ms became {beside * 1000:.1f} ms"

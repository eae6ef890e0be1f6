"""Measures the calls whose cost could grow with the table, in a small and in a large one.

`make bench BENCH=--scale`. Another writer creates client types: a call that blocks others
shows in its longest wait.
"""

import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Self

import grpc
import httpx
import psycopg

from bench import systems
from bench.databases import DATABASES, Database, running
from bench.markdown import table
from bench.systems import System
from bench.workloads import PAGE, SEED_MESSAGE, client_types_path
from portal.oauth.v1 import client_type_pb2 as pb
from portal.oauth.v1 import provider_pb2 as provider_pb
from portal.oauth.v1.client_type_pb2_grpc import ClientTypeServiceStub
from portal.oauth.v1.provider_pb2_grpc import ProviderServiceStub
from portal_server.wire.oauth_v1.paging import page_token
from tests.support.stack import ENVIRONMENT, ROOT

SMALL = 1_000
LARGE = 1_000_000
_FILE = ROOT / "bench" / "results" / "scale.md"

# Half of the client types have the first provider, the others these.
_CROWDED, _OTHERS = 1, range(2, 1002)
# Three more providers have their own client types.
_DETAIL, _TOO_LARGE, _DELETED = 1002, 1003, 1004
_MAX_DETAIL, _MAX_LARGE = 10_000, 100_000
_PROVIDER_NAME = f"REST provider with a tenth of the client types, {_MAX_DETAIL:,} at most"
_TOO_LARGE_NAME = f"REST provider with a tenth of the client types, {_MAX_LARGE:,} at most"
_DELETE_NAME = f"delete a provider with a tenth of the client types, {_MAX_LARGE:,} at most"
# The last client types of the first provider are the ones that the filters find.
_FOUND = 10
# The revision before the migrations that change a table of client types.
_OLD_REVISION = "0003"

_SECONDS = 2.0
_MIN_CALLS, _MAX_CALLS = 3, 200
_TIMEOUT_S = 60.0
# Light enough not to change what is measured.
_WRITER_PAUSE_S = 0.01

_PROVIDERS = """
INSERT INTO provider (id, uid, name, type, well_known_uri, tls_insecure_skip_verify,
  registration_access_token, create_time, update_time)
SELECT n, {uid}, 'Provider ' || n, 'other', 'https://idp.example.com/', {false}, '',
  '2026-01-01 00:00:00.000000', '2026-01-01 00:00:00.000000'
FROM {numbers}
"""
_CLIENT_TYPES = """
INSERT INTO client_type (id, uid, provider_id, name, description, response_types, grant_types,
  token_endpoint_auth_method, okta_app_type, create_time, update_time)
SELECT n, {uid}, {provider},
  CASE WHEN {found} THEN 'Needle ' ELSE 'Application ' END || n,
  'A client type of the benchmark, with a description of the usual length',
  CAST(CASE WHEN {found} THEN '["none"]' ELSE '["code"]' END AS {json}),
  CAST(CASE WHEN {found} THEN '["implicit"]' WHEN n % 3 = 0 THEN '["client_credentials"]'
    ELSE '["authorization_code", "refresh_token"]' END AS {json}),
  'client_secret_basic', NULL, '2026-01-01 00:00:00.000000', '2026-01-01 00:00:00.000000'
FROM {numbers}
"""
_SQLITE_NUMBERS = """(
  WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < {count})
  SELECT n FROM number
)"""


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """Which rows a table has: `rows`, half of them under one provider, and those of three more."""

    rows: int

    @property
    def detail(self) -> int:
        """The client types of the provider that is returned with all of them."""
        return min(_MAX_DETAIL, self.rows // 10)

    @property
    def large(self) -> int:
        """The client types of the provider that has too many, and of the one that is deleted."""
        return min(_MAX_LARGE, self.rows // 10)

    @property
    def crowded(self) -> int:
        """The client types of the first provider."""
        return self.rows // 2

    @property
    def total(self) -> int:
        """All client types."""
        return self.rows + self.detail + 2 * self.large

    def provider(self) -> str:
        """The provider of client type n, as SQL. Odd numbers belong to the first one."""
        end_of_detail = self.rows + self.detail
        return (
            f"CASE WHEN n > {end_of_detail + self.large} THEN {_DELETED}"
            f" WHEN n > {end_of_detail} THEN {_TOO_LARGE} WHEN n > {self.rows} THEN {_DETAIL}"
            f" WHEN n % 2 = 1 THEN {_CROWDED} ELSE {_OTHERS.start} + (n / 2) % {len(_OTHERS)} END"
        )

    def found(self) -> str:
        """Whether the filters find client type n, as SQL."""
        return f"n > {self.rows - 2 * _FOUND} AND n <= {self.rows} AND n % 2 = 1"

    def some_id(self) -> int:
        """The ID of a client type of the first provider."""
        return random.randrange(1, self.rows, 2)  # noqa: S311 - no secret


def _fill(url: str, layout: _Layout) -> None:
    """Insert the rows with statements in the database itself; calls would take an hour."""
    providers, rows = _DELETED, layout.total
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            for template, count in ((_PROVIDERS, providers), (_CLIENT_TYPES, rows)):
                connection.execute(_sqlite_statement(template, count, layout))
            connection.commit()
        return
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        for template, name, count in (
            (_PROVIDERS, "provider", providers),
            (_CLIENT_TYPES, "client_type", rows),
        ):
            connection.execute(_postgresql_statement(template, count, layout).encode())
            connection.execute(f"SELECT setval('{name}_id_seq', {count})".encode())
        # As autovacuum leaves a table that is in use.
        connection.execute("VACUUM ANALYZE")


def _sqlite_statement(template: str, count: int, layout: _Layout) -> str:
    return template.format(
        uid="printf('01a00000-%04x-7000-8000-%012x', n >> 16, n)",
        false="0",
        json="TEXT",
        provider=layout.provider(),
        found=layout.found(),
        numbers=_SQLITE_NUMBERS.format(count=count),
    )


def _postgresql_statement(template: str, count: int, layout: _Layout) -> str:
    times = "CAST('2026-01-01 00:00:00+00' AS timestamptz)"
    text = template.replace("'2026-01-01 00:00:00.000000'", times)
    uid = "lpad(to_hex(n >> 16), 4, '0') || '-7000-8000-' || lpad(to_hex(n), 12, '0')"
    return text.format(
        uid=f"'01a00000-' || {uid}",
        false="false",
        json="json",
        provider=layout.provider(),
        found=layout.found(),
        numbers=f"generate_series(1, {count}) AS number(n)",
    )


class _Writer(threading.Thread):
    """Another writer, which creates client types all the time."""

    def __init__(self, system: System) -> None:
        super().__init__(daemon=True)
        self.errors: Counter[str] = Counter()
        self._system = system
        self._done = threading.Event()
        # Begin and end of each call.
        self._calls: list[tuple[float, float]] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._done.set()
        self.join()

    def run(self) -> None:
        """Create until the end."""
        request = pb.CreateClientTypeRequest()
        request.CopyFrom(SEED_MESSAGE)
        request.provider_id = _OTHERS.start
        with _channel(self._system) as channel:
            stub = ClientTypeServiceStub(channel)
            while not self._done.wait(_WRITER_PAUSE_S):
                begin = time.perf_counter()
                try:
                    stub.CreateClientType(request, metadata=_key(self._system), timeout=_TIMEOUT_S)
                except grpc.RpcError as error:
                    self.errors[str(error.code())] += 1
                self._calls.append((begin, time.perf_counter()))

    def longest_since(self, since: float) -> float:
        """The longest call that ended after this time, the one that is in flight included."""
        now = time.perf_counter()
        while not self._calls or self._calls[-1][0] < now:
            time.sleep(_WRITER_PAUSE_S)
        return max(end - begin for begin, end in self._calls if end >= since)


@dataclass(frozen=True, kw_only=True)
class _Operation:
    """A call; it returns its error, or "". `once` is for one that cannot be repeated."""

    name: str
    call: Callable[[], str]
    once: bool = False


@dataclass(frozen=True, kw_only=True)
class _Timing:
    """Times in seconds: of the calls, and the longest of the other writer."""

    median: float
    longest: float
    others: float = 0.0
    error: str = ""


def _key(system: System) -> tuple[tuple[str, str]]:
    return (("authorization", system.key),)


def _channel(system: System) -> grpc.Channel:
    return grpc.insecure_channel(f"127.0.0.1:{system.port}")


@contextmanager
def _operations(layout: _Layout, rest: System, native: System) -> Iterator[Sequence[_Operation]]:
    """All operations; the last one deletes."""
    headers = {"Authorization": rest.key}
    address = f"http://127.0.0.1:{rest.port}"
    with (
        _channel(native) as channel,
        httpx.Client(base_url=address, headers=headers, timeout=_TIMEOUT_S) as client,
    ):
        client_types, providers = ClientTypeServiceStub(channel), ProviderServiceStub(channel)

        def rpc(method: Callable[..., object], request: object) -> str:
            try:
                method(request, metadata=_key(native), timeout=_TIMEOUT_S)
            except grpc.RpcError as error:
                return str(error.code().name)
            return ""

        def get() -> str:
            request = pb.GetClientTypeRequest(provider_id=_CROWDED, id=layout.some_id())
            return rpc(client_types.GetClientType, request)

        def listed(name: str, filter_: str = "", after: int = 0) -> _Operation:
            request = pb.ListClientTypesRequest(provider_id=_CROWDED, filter=filter_)
            if after:
                request.page_token = page_token(after, request, _CROWDED)
            return _Operation(name=name, call=lambda: rpc(client_types.ListClientTypes, request))

        def fetched(name: str, path: str) -> _Operation:
            def call() -> str:
                response = client.get(path)
                return "" if response.is_success else str(response.status_code)

            return _Operation(name=name, call=call)

        page = f"{client_types_path(_CROWDED)}?per_page={PAGE}&page="
        provider = "/portal-api/oauth-providers/"
        delete = provider_pb.DeleteProviderRequest(id=_DELETED)
        yield (
            _Operation(name="get", call=get),
            _Operation(
                name="create", call=lambda: rpc(client_types.CreateClientType, SEED_MESSAGE)
            ),
            listed("list, first page"),
            listed("list, last page, by token", after=layout.rows - 4 * PAGE),
            listed("filter: frequent grant type", "grant_types : GRANT_TYPE_REFRESH_TOKEN"),
            listed("filter: rare grant type", "grant_types : GRANT_TYPE_IMPLICIT"),
            listed("filter: rare response type", "response_types : RESPONSE_TYPE_NONE"),
            listed("filter: rare part of a name", 'name : "Needle"'),
            fetched("REST list, first page", f"{page}1"),
            fetched("REST list, last page", f"{page}{max(1, layout.crowded // PAGE)}"),
            fetched(_PROVIDER_NAME, f"{provider}{_DETAIL}"),
            fetched(_TOO_LARGE_NAME, f"{provider}{_TOO_LARGE}"),
            _Operation(
                name=_DELETE_NAME,
                call=lambda: rpc(providers.DeleteProvider, delete),
                once=True,
            ),
        )


def _time(operation: _Operation, writer: _Writer) -> _Timing:
    begin = time.perf_counter()
    times: list[float] = []
    errors: Counter[str] = Counter()
    most = 1 if operation.once else _MAX_CALLS
    while len(times) < most and (len(times) < _MIN_CALLS or time.perf_counter() - begin < _SECONDS):
        since = time.perf_counter()
        if error := operation.call():
            errors[error] += 1
        times.append(time.perf_counter() - since)
    return _Timing(
        median=median(times),
        longest=max(times),
        others=writer.longest_since(begin),
        error=", ".join(f"{error} ({count}x)" for error, count in errors.items()),
    )


def _migrate(database: Database, layout: _Layout) -> _Timing:
    """Fill the database in the schema of an old version, and time the migration from there."""
    url = database.url("portal")
    _migrated(url, _OLD_REVISION)
    _fill(url, layout)
    seconds = _migrated(url, "head")
    return _Timing(median=seconds, longest=seconds)


def _migrated(url: str, revision: str) -> float:
    """Migrate to this revision; returns how many seconds it took."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.migrate", url, revision],
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return float(done.stdout)


def _measure(name: str, layout: _Layout, folder: Path) -> dict[str, _Timing]:
    """The timings of all operations on one database with this number of rows."""
    folder.mkdir()
    with running(name, folder) as database:
        found = {f"migration from {_OLD_REVISION}": _migrate(database, layout)}
        with systems.portal(database, folder) as (rest, native, _), _Writer(native) as writer:
            with _operations(layout, rest, native) as operations:
                for operation in operations:
                    timing = found[operation.name] = _time(operation, writer)
                    _say(
                        f"{name:<11}{layout.rows:>9,} rows  {operation.name:<72}"
                        f"{timing.median * 1e3:>9.1f} ms  others {timing.others * 1e3:>7.1f} ms"
                        f"  {timing.error}"
                    )
            for error, count in writer.errors.items():
                _say(f"the other writer: {count} times {error}")
    return found


def _say(text: str) -> None:
    print(text, flush=True)


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.1f}"


def _report(small: dict[str, _Timing], large: dict[str, _Timing], layouts: list[_Layout]) -> str:
    rows = [
        (
            name,
            _ms(small[name].median),
            _ms(timing.median),
            f"{timing.median / small[name].median:.1f}x",
            _ms(timing.longest),
            _ms(timing.others) if timing.others else "",
            timing.error,
        )
        for name, timing in large.items()
    ]
    head = (
        "ms; the median of the calls",
        *(f"{layout.rows:,} client types" for layout in layouts),
        "ratio",
        "longest",
        "longest wait of another writer",
        "errors",
    )
    worst = max(large, key=lambda name: large[name].others)
    stall = f"The longest stall of another writer: {_ms(large[worst].others)} ms ({worst})."
    return f"{table(head, rows)}\n{stall}\n"


def measure(databases: Sequence[str], rows: int, folder: Path | None) -> None:
    """Measure all operations with few and with this many client types, and write the report."""
    layouts = [_Layout(rows=number) for number in (SMALL, rows)]
    sections = []
    with tempfile.TemporaryDirectory(prefix="portal-bench-", dir=folder) as home:
        # root runs PostgreSQL as another user, who needs access.
        Path(home).chmod(0o755)
        for name in databases:
            small, large = (
                _measure(name, layout, Path(home) / f"{name}-{number}")
                for number, layout in enumerate(layouts)
            )
            sections.append(f"### {DATABASES[name]}\n\n{_report(small, large, layouts)}")
    text = "\n".join(sections)
    _FILE.write_text(text)
    _say(f"\n{text}\nWritten: {_FILE.relative_to(ROOT)}")

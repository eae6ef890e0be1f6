"""Measures registrations at an identity provider, and creates while a provider hangs.

`make bench BENCH=--registrations`. The provider is oidc-provider, which needs Node and npm. The
rounds alternate between callers that register at the provider directly and callers of the portal.
All use httpx, as a developer portal would, and some the portal's own Python client: a registration
at this provider is so cheap that most of its cost is the client's.
"""

import asyncio
import json
import socket
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

import httpx

from bench import systems
from bench.connection import Measurement, percentile
from bench.databases import running
from bench.http1 import HttpCaller
from bench.markdown import table
from bench.systems import System
from bench.workloads import SEED, Request, client_types_path
from portal_client import Client, PortalError
from portal_client import Portal as PortalClient
from tests.support.providers.oidc import oidc_provider

CALLERS = 16
_HANGING_CALLERS = 64
_TOKEN = "benchmark"  # noqa: S105 - of a provider that only this process reaches
_WARM_UP_S, _DRAIN_S = 0.5, 4.0
# When creates are measured: while the registrations wait for the provider, and when it is known to
# be down, after five failures of 10 seconds each.
_HANGS_S, _OPENS_S = 1.0, 14.0
_CLIENT_TYPE = {
    "Name": "Benchmark",
    "ResponseTypes": "none",
    "GrantType": "client_credentials",
    "TokenEndpointAuthMethod": "client_secret_basic",
}


@dataclass(frozen=True, kw_only=True)
class _Load:
    """Callers that send one request again and again."""

    port: int
    request: bytes
    callers: int


@dataclass(frozen=True, kw_only=True)
class _Loaded:
    """What the callers got: successful calls a second, and their median time."""

    calls_per_second: float
    median_ms: float
    errors: int


@dataclass(frozen=True, kw_only=True)
class _Post:
    """A POST of httpx."""

    url: str
    body: object
    authorization: str


# Opens what a caller uses for its calls; the result sends one and returns whether it succeeded.
_Open = Callable[[], AbstractContextManager[Callable[[], bool]]]


class _Portal:
    """A portal and the paths of its client types."""

    def __init__(self, system: System, grpc: System) -> None:
        self._system = system
        self._grpc_port = grpc.port
        self._http = httpx.Client(
            base_url=f"http://127.0.0.1:{system.port}/portal-api",
            headers={"Authorization": system.key},
            timeout=30,
        )

    def provider(self, well_known: str, token: str = "") -> int:
        """Add a provider; returns its ID."""
        given = {
            "Name": "Benchmark",
            "Type": "Other",
            "WellKnownURL": well_known,
            "RegistrationAccessToken": token,
        }
        return int(self._post("/oauth-providers", given))

    def client_type(self, provider: int) -> int:
        """Add a client type; returns its ID."""
        return int(self._post(f"/oauth-providers/{provider}/client-types", _CLIENT_TYPE))

    def registering(self, provider: int, client_type: int) -> _Post:
        """The registration of a client of this client type."""
        path = f"oauth-providers/{provider}/client-types/{client_type}/clients"
        url = f"{self._http.base_url}{path}"
        return _Post(url=url, body={"Name": "Benchmark"}, authorization=self._system.key)

    def registering_by_client(self, provider: int, client_type: int) -> _Open:
        """The same by the Python client, which sends a request ID; one for each caller."""

        @contextmanager
        def opened() -> Iterator[Callable[[], bool]]:
            target = f"127.0.0.1:{self._grpc_port}"
            with PortalClient(target, key=self._system.key, timeout=30) as portal:

                def send() -> bool:
                    try:
                        portal.register_client(provider, client_type, Client(name="Benchmark"))
                    except PortalError:
                        return False
                    return True

                yield send

        return opened

    def stuck(self, post: _Post) -> _Load:
        """Callers that send this request."""
        path = urlsplit(post.url).path
        request = _http(path, post.body, post.authorization)
        return _Load(port=self._system.port, request=request, callers=_HANGING_CALLERS)

    def creating(self, provider: int, callers: int) -> _Load:
        """Callers that create client types of this provider."""
        request = _http(client_types_path(provider), SEED, self._system.key)
        return _Load(port=self._system.port, request=request, callers=callers)

    def _post(self, path: str, body: object) -> int:
        response = self._http.post(path, json=body).raise_for_status()
        return int(response.json()["ID"])


def _by_httpx(post: _Post) -> _Open:
    """A POST by httpx; a connection for each caller."""

    @contextmanager
    def opened() -> Iterator[Callable[[], bool]]:
        with httpx.Client(headers={"Authorization": post.authorization}, timeout=30) as client:
            yield lambda: client.post(post.url, json=post.body).is_success

    return opened


def _by_threads(open_: _Open, callers: int, seconds: float) -> _Loaded:
    """Measure threads that send the same request again and again."""
    times: list[float] = []
    failed: list[float] = []
    begin = time.perf_counter() + _WARM_UP_S

    def call() -> None:
        with open_() as send:
            while (start := time.perf_counter()) < begin + seconds:
                succeeded = send()
                if start < begin:
                    continue
                times.append(time.perf_counter() - start)
                if not succeeded:
                    failed.append(start)

    threads = [threading.Thread(target=call) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return _Loaded(
        calls_per_second=(len(times) - len(failed)) / seconds,
        median_ms=median(times) * 1e3,
        errors=len(failed),
    )


def _http(path: str, body: object, authorization: str) -> bytes:
    data = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {authorization}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


def _direct(url: str) -> _Post:
    """The registration of the same client at the provider itself."""
    metadata = {
        "client_name": "Benchmark",
        "grant_types": ["client_credentials"],
        "response_types": [],
        "redirect_uris": [],
        "token_endpoint_auth_method": "client_secret_basic",
    }
    return _Post(url=f"{url}/reg", body=metadata, authorization=f"Bearer {_TOKEN}")


async def _callers(load: _Load, measurement: Measurement) -> list[HttpCaller]:
    callers = []
    for _ in range(load.callers):
        callers.append(caller := HttpCaller(measurement))
        caller.requests = [Request(data=load.request)]
        await caller.connect(load.port)
        caller.call()
    return callers


async def _measured(
    load: _Load, seconds: float, beside: Sequence[_Load], after_s: float
) -> _Loaded:
    others = Measurement()
    begin = time.perf_counter() + after_s + _WARM_UP_S
    measurement = Measurement()
    measurement.begin, measurement.end = begin, begin + seconds
    others.end = measurement.end
    noise = [caller for each in beside for caller in await _callers(each, others)]
    await asyncio.sleep(after_s)
    callers = await _callers(load, measurement)
    await asyncio.sleep(measurement.end - time.perf_counter())
    patience = measurement.end + _DRAIN_S
    while any(caller.busy for caller in callers) and time.perf_counter() < patience:  # noqa: ASYNC110 - as in bench.load
        await asyncio.sleep(0.01)
    for caller in callers + noise:
        caller.close()
    return _Loaded(
        calls_per_second=measurement.good / seconds,
        median_ms=percentile(sorted(measurement.latencies), 0.5) * 1e3,
        errors=sum(measurement.errors.values()),
    )


def _run(
    load: _Load, seconds: float, beside: Sequence[_Load] = (), after_s: float = 0.0
) -> _Loaded:
    """Measure callers, `after_s` seconds after those `beside` them have begun."""
    return asyncio.run(_measured(load, seconds, beside, after_s))


@contextmanager
def _hanging() -> Iterator[str]:
    """The URL of a provider that accepts connections and never responds."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as silent:
        yield f"http://127.0.0.1:{silent.getsockname()[1]}"


def _registrations(portal: _Portal, url: str, rounds: int, seconds: float) -> list[list[str]]:
    provider = portal.provider(f"{url}/.well-known/openid-configuration", _TOKEN)
    client_type = portal.client_type(provider)
    ways = {
        "direct": _by_httpx(_direct(url)),
        "through": _by_httpx(portal.registering(provider, client_type)),
        "by client": portal.registering_by_client(provider, client_type),
    }
    found: dict[str, list[_Loaded]] = defaultdict(list)
    for _ in range(rounds):
        for name, way in ways.items():
            found[name].append(_by_threads(way, CALLERS, seconds))
            found[f"one {name}"].append(_by_threads(way, 1, seconds))
    rate = {name: median(each.calls_per_second for each in of) for name, of in found.items()}
    time_ms = {name: median(each.median_ms for each in of) for name, of in found.items()}
    errors = sum(each.errors for of in found.values() for each in of)
    return [
        ["registrations/s at the provider, 16 callers", f"{rate['direct']:.0f}"],
        ["registrations/s through the portal, 16 callers", f"{rate['through']:.0f}"],
        ["share", f"{rate['through'] / rate['direct']:.0%}"],
        ["registrations/s by the portal's Python client, 16 callers", f"{rate['by client']:.0f}"],
        ["share", f"{rate['by client'] / rate['direct']:.0%}"],
        ["a registration at the provider, 1 caller, ms", f"{time_ms['one direct']:.1f}"],
        ["a registration through the portal, 1 caller, ms", f"{time_ms['one through']:.1f}"],
        ["our own time, ms", f"{time_ms['one through'] - time_ms['one direct']:.1f}"],
        ["errors", f"{errors}"],
    ]


def _creates(portal: _Portal, rounds: int, seconds: float) -> list[list[str]]:
    own = portal.provider("https://idp.example.com/.well-known/openid-configuration")
    creating = portal.creating(own, CALLERS)
    alone: list[_Loaded] = []
    beside: dict[float, list[_Loaded]] = {_HANGS_S: [], _OPENS_S: []}
    for _ in range(rounds):
        for after_s, loaded in beside.items():
            alone.append(_run(creating, seconds))
            # A new provider each time: the one before is known to be down.
            with _hanging() as url:
                provider = portal.provider(f"{url}/.well-known/openid-configuration")
                client_type = portal.client_type(provider)
                stuck = portal.stuck(portal.registering(provider, client_type))
                loaded.append(_run(creating, seconds, [stuck], after_s))
    rate = median(each.calls_per_second for each in alone)
    rows = [["creates/s, 16 callers", f"{rate:.0f}"]]
    for after_s, what in ((_HANGS_S, "hangs"), (_OPENS_S, "is known to be down")):
        ratio = median(each.calls_per_second for each in beside[after_s]) / rate
        text = f"share of it beside {_HANGING_CALLERS} callers that register, whose provider {what}"
        rows.append([text, f"{ratio:.0%}"])
    every = [*alone, *(each for loaded in beside.values() for each in loaded)]
    rows.append(["errors", f"{sum(each.errors for each in every)}"])
    return rows


def run(database: str, rounds: int, seconds: float, folder: Path | None) -> None:
    """Measure on a database, and print the figures."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        home = Path(name)
        home.chmod(0o755)  # root runs PostgreSQL as another user
        own = home / "portal"
        own.mkdir()
        with (
            oidc_provider(_TOKEN) as url,
            running(database, home) as opened,
            systems.portal(opened, own) as (rest, grpc, *_),
        ):
            portal = _Portal(rest, grpc)
            rows = _registrations(portal, url, rounds, seconds)
            rows += _creates(portal, rounds, seconds)
    print(f"### {database}\n\n{table(['what', 'measured'], rows)}")

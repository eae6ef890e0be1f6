"""Callers with valid keys, in a separate process, who must not notice an attack.

They call on both ports, over REST and native gRPC, reading and writing, on open
connections and on new ones, and note how long each call takes and what fails.
"""

import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import grpc
import httpx

from portal.oauth.v1 import client_type_pb2 as pb
from portal.oauth.v1 import provider_pb2
from portal.oauth.v1.client_type_pb2_grpc import ClientTypeServiceStub
from portal.oauth.v1.provider_pb2_grpc import ProviderServiceStub
from tests.support.stack import TLS

P99_SECONDS = 1.0
# What a victim must at least have got done for its figures to say anything.
CALLS_A_SECOND = 3
DEADLINE_SECONDS = 5
LEAST_SECONDS = 0.7
PAUSE_SECONDS = 0.02

CLIENT_TYPE = {"Name": "victim", "ResponseTypes": "code", "GrantType": "pkce"}


@dataclass(frozen=True)
class Target:
    """Whom the victims call: the two ports, keys that may write or read, a provider."""

    ports: dict[str, int]
    writers: tuple[str, ...]
    viewer: str
    provider: int


@dataclass
class Notes:
    """What one victim has seen."""

    seconds: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    @property
    def p99(self) -> float:
        """Seconds; 0 without calls."""
        ordered = sorted(self.seconds)
        return ordered[ceil(len(ordered) * 0.99) - 1] if ordered else 0.0

    def call(self, what: str, call: Callable[[], Any]) -> Any:
        """The result of a call, or None when it fails."""
        start = time.perf_counter()
        try:
            return call()
        except grpc.RpcError as error:
            self.errors[f"{what}: {_reported(error)}"[:200]] += 1
        except (httpx.HTTPError, OSError, ValueError, KeyError) as error:
            self.errors[f"{what}: {error!r}"[:200]] += 1
        finally:
            self.seconds.append(time.perf_counter() - start)
        return None


def _reported(error: grpc.RpcError) -> str:
    if isinstance(error, grpc.Call):
        return f"{error.code().name} {error.details()}"
    return repr(error)


class _Repeats(httpx.HTTPTransport):
    """Sends a POST again, on another connection, if its connection was closed.

    Each round begins with a POST, on a connection that was idle. Envoy may be closing it, which
    HTTP/1.1 cannot announce, so clients have to repeat the request (RFC 9112, section 9.6).
    """

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        try:
            return super().handle_request(request)
        except (httpx.ReadError, httpx.RemoteProtocolError):
            if request.method != "POST":
                raise
            return super().handle_request(request)


def rest(target: Target, port: int, notes: Notes, stop: threading.Event) -> None:
    """A victim of REST."""
    provider = f"/portal-api/oauth-providers/{target.provider}"
    with httpx.Client(
        base_url=f"http://127.0.0.1:{port}",
        timeout=DEADLINE_SECONDS,
        transport=_Repeats(verify=TLS),
    ) as lasting:
        turn = 0
        while not stop.wait(PAUSE_SECONDS):
            writer = {"Authorization": target.writers[turn % len(target.writers)]}
            turn += 1
            with _fresh_client(port) if turn % 2 else _same(lasting) as client:
                _rest_round(client, provider, writer, {"Authorization": target.viewer}, notes)


def _rest_round(
    client: httpx.Client,
    provider: str,
    writer: dict[str, str],
    viewer: dict[str, str],
    notes: Notes,
) -> None:
    def ask(method: str, path: str, headers: dict[str, str], body: object = None) -> Any:
        def call() -> Any:
            response = client.request(method, path, headers=headers, json=body)
            if response.status_code != 200:
                raise ValueError(f"{response.status_code} {response.text[:100]}")
            return response.json()

        return notes.call(f"{method} {path.rstrip('0123456789')}", call)

    once = {"Idempotency-Key": str(uuid.uuid4())}
    made = ask("POST", f"{provider}/client-types", writer | once, CLIENT_TYPE)
    ask("GET", "/portal-api/oauth-providers?per_page=5", viewer)
    if made:
        ask("GET", f"{provider}/client-types/{made['ID']}", viewer)
        ask("DELETE", f"{provider}/client-types/{made['ID']}", writer)
    ask("GET", "/healthz", {})


@contextmanager
def _fresh_client(port: int) -> Iterator[httpx.Client]:
    with httpx.Client(
        base_url=f"http://127.0.0.1:{port}", timeout=DEADLINE_SECONDS, verify=TLS
    ) as client:
        yield client


@contextmanager
def _same(client: httpx.Client) -> Iterator[httpx.Client]:
    yield client


def native(target: Target, port: int, notes: Notes, stop: threading.Event) -> None:
    """A victim of native gRPC."""
    with _channel(port) as lasting:
        turn = 0
        while not stop.wait(PAUSE_SECONDS):
            writer = target.writers[turn % len(target.writers)]
            turn += 1
            if turn % 2:
                with _channel(port) as fresh:
                    _native_round(fresh, target, writer, notes)
            else:
                _native_round(lasting, target, writer, notes)


def _channel(port: int) -> grpc.Channel:
    options = [("grpc.use_local_subchannel_pool", 1)]
    return grpc.insecure_channel(f"127.0.0.1:{port}", options)


def _native_round(channel: grpc.Channel, target: Target, writer: str, notes: Notes) -> None:
    writes: Any = {"metadata": (("authorization", writer),), "timeout": DEADLINE_SECONDS}
    reads: Any = {"metadata": (("authorization", target.viewer),), "timeout": DEADLINE_SECONDS}
    types, providers = ClientTypeServiceStub(channel), ProviderServiceStub(channel)
    provider = target.provider
    new = pb.CreateClientTypeRequest(
        provider_id=provider,
        client_type=pb.ClientType(
            name="victim",
            response_types=[pb.RESPONSE_TYPE_CODE],
            grant_types=[pb.GRANT_TYPE_PKCE],
        ),
    )
    made = notes.call("create", lambda: types.CreateClientType(new, **writes))
    page = provider_pb2.ListProvidersRequest(page_size=5)
    notes.call("list", lambda: providers.ListProviders(page, **reads))
    if made:
        one = pb.GetClientTypeRequest(provider_id=provider, id=made.id)
        notes.call("get", lambda: types.GetClientType(one, **reads))
        end = pb.DeleteClientTypeRequest(provider_id=provider, id=made.id)
        notes.call("delete", lambda: types.DeleteClientType(end, **writes))


SURFACES: dict[str, Callable[[Target, int, Notes, threading.Event], None]] = {
    "REST": rest,
    "native": native,
}


def _serve(pipe: Connection) -> None:
    """What the process does: victims from one order to the next, until None."""
    while target := pipe.recv():
        stop = threading.Event()
        notes: dict[str, Notes] = {}
        threads = []
        for name, port in target.ports.items():
            for surface, run in SURFACES.items():
                mine = notes[f"{surface} on the {name} port"] = Notes()
                thread = threading.Thread(target=run, args=(target, port, mine, stop))
                thread.start()
                threads.append(thread)
        pipe.recv()
        stop.set()
        for thread in threads:
            thread.join()
        pipe.send(notes)


class Victims:
    """The process of the victims. `calling` has them call for the length of a block."""

    def __init__(self) -> None:
        # Not a fork: gRPC has threads. Not threads: an attacker would take their turns.
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()

    def end(self) -> None:
        self._pipe.send(None)
        self._process.join(10)
        self._process.kill()

    @contextmanager
    def calling(self, target: Target, p99_seconds: float = P99_SECONDS) -> Iterator[None]:
        """Victims call during the block; none may get an error or wait long."""
        self._pipe.send(target)
        start = time.monotonic()
        notes: dict[str, Notes] = {}
        try:
            yield
        finally:
            # Their figures say nothing of a shorter time.
            time.sleep(max(0, LEAST_SECONDS - (time.monotonic() - start)))
            seconds = time.monotonic() - start
            self._pipe.send("stop")
            notes = self._pipe.recv()
        problems = {
            name: found
            for name, mine in notes.items()
            if (found := _judge(mine, seconds, p99_seconds))
        }
        assert not problems, json.dumps(problems, indent=1)


def _judge(notes: Notes, seconds: float, p99_seconds: float) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if notes.errors:
        found["errors"] = dict(notes.errors.most_common(3))
        found["of calls"] = len(notes.seconds)
    if notes.p99 > p99_seconds:
        found["p99, seconds"] = round(notes.p99, 2)
    if len(notes.seconds) < seconds * CALLS_A_SECOND:
        found["too few calls"] = f"{len(notes.seconds)} in {seconds:.1f} s"
    return found

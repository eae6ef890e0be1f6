"""The attacked system, and what must hold while it is attacked and after."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx

from portal.oauth.v1 import provider_pb2
from portal.oauth.v1.provider_pb2_grpc import ProviderServiceStub
from portal_server.domain.keys import Role
from portal_server.storage.sql.engine import open_engine, parse_url
from portal_server.storage.store import Store
from tests.hostile.http2 import Connection, http, message, rpc
from tests.hostile.victims import P99_SECONDS, Target, Victims
from tests.support.keys import Keys
from tests.support.stack import ADMIN_KEY, TLS, Stack

# How long an attack is held, unless its effect needs longer to show.
SECONDS = float(os.environ.get("HOSTILE_SECONDS", "1"))
# After two failed health checks Envoy takes a server away: an attack on them lasts longer.
SECONDS_OF_HEALTH = 9.0

MEMORY_SHARE = 1.2
MEMORY_SECONDS = 30
# After its first attack Envoy's allocator keeps so much in pages that are partly in use;
# a second attack does not add to it.
MEMORY_FLOOR_MIB = 24

API = "/portal-api/oauth-providers"
LIST = "/portal.oauth.v1.ProviderService/ListProviders"
CHECK = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"
REFLECTION = (
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
)
PROVIDER = {"Name": "Idp", "Type": "Keycloak", "WellKnownURL": "https://idp.test/x"}

_TROUBLE = re.compile(r"Traceback \(most recent call last\)|error=[0-9a-f]{8}\b|Segmentation")


def rss_mib(pid: int) -> float:
    """What a process has in memory."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def cpu_seconds(pid: int) -> float:
    """What a process has computed so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Memory:
    """What each process of a system has in memory before an attack."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._before = self._now()

    def _now(self) -> dict[tuple[str, int], float]:
        children = self._stack.children()
        return {(name, pid): rss_mib(pid) for name, pids in children.items() for pid in pids}

    def require_back(self) -> None:
        """Wait until each process has about what it had before, and is the same one."""
        deadline = time.monotonic() + MEMORY_SECONDS
        while True:
            now = self._now()
            assert set(now) == set(self._before), f"processes died: {self._before} became {now}"
            grown = {
                name: f"{before:.0f} became {now[name, pid]:.0f} MiB"
                for (name, pid), before in self._before.items()
                if now[name, pid] > max(before * MEMORY_SHARE, before + MEMORY_FLOOR_MIB)
            }
            if not grown:
                return
            assert time.monotonic() < deadline, f"memory did not come back: {grown}"
            time.sleep(0.25)


@dataclass(frozen=True)
class System:
    """A running stack, keys for it, and a provider of the victims."""

    stack: Stack
    victims: Victims
    admin: str
    viewer: str
    # Keys of attackers: what one of them does is not to harm another key.
    greedy_admin: str
    greedy_viewer: str
    provider: int

    @property
    def ports(self) -> dict[str, int]:
        """Both public ports; the same rules hold on both."""
        return {"REST": self.stack.http_port, "gRPC": self.stack.grpc_port}

    @property
    def target(self) -> Target:
        return Target(self.ports, (ADMIN_KEY, self.admin), self.viewer, self.provider)

    @property
    def envoy(self) -> int:
        """The process of Envoy."""
        [pid] = self.stack.children()["envoy"]
        return pid

    @contextmanager
    def unharmed(self, *, p99_seconds: float = P99_SECONDS) -> Iterator[None]:
        """Victims are served during the block; memory, processes and the log are in order after."""
        memory = Memory(self.stack)
        logged = self.stack.err.stat().st_size
        with self.victims.calling(self.target, p99_seconds):
            yield
        memory.require_back()
        self.require_quiet_log(logged)

    def log(self, since: int = 0) -> str:
        """What the system has written to its log."""
        with self.stack.err.open("rb") as file:
            file.seek(since)
            return file.read().decode(errors="replace")

    def require_quiet_log(self, since: int) -> None:
        """No error that nobody foresaw was logged."""
        trouble = _TROUBLE.search(text := self.log(since))
        assert not trouble, text[max(0, trouble.start() - 200) : trouble.end() + 1500]

    def call_rest(
        self, port: int, method: str = "GET", path: str = API, *, seconds: float = 5, **more: Any
    ) -> httpx.Response:
        """A REST call with the admin key, which must be served within so long."""
        headers = {"Authorization": self.admin} | more.pop("headers", {})
        url = f"http://127.0.0.1:{port}{path}"
        return httpx.request(method, url, headers=headers, timeout=seconds, verify=TLS, **more)

    def call_native(self, port: int) -> provider_pb2.ListProvidersResponse:
        """A native call with the viewer's key, on a separate connection."""
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(f"127.0.0.1:{port}", options) as channel:
            stub = ProviderServiceStub(channel)
            request = provider_pb2.ListProvidersRequest(page_size=1)
            metadata = (("authorization", self.viewer),)
            return stub.ListProviders(request, metadata=metadata, timeout=5)

    def require_served(self, times: int = 1) -> None:
        """Calls with a key work, over REST and native, on both ports."""
        for name, port in self.ports.items():
            with Connection(port, source="127.0.0.1") as connection:
                for _ in range(times):
                    found = connection.call(http("GET", f"{API}?per_page=1", key=self.viewer))
                    assert found.status == 200, f"REST on the {name} port: {found}"
                    timed = rpc(LIST, ("grpc-timeout", "5S"), key=self.viewer)
                    found = connection.call(timed, message(b"\x08\x01"))
                    assert found.grpc == 0, f"native on the {name} port: {found}"

    def make_provider(self) -> int:
        """A provider of a test's own."""
        made = self.call_rest(self.stack.http_port, "POST", json=PROVIDER)
        assert made.status_code == 200, made.text
        number: int = made.json()["ID"]
        return number

    def is_well(self) -> bool:
        """Whether it serves on each port at all, and the victims' provider is there."""
        try:
            self.require_served()
            path = f"{API}/{self.provider}"
            with Connection(self.stack.http_port, source="127.0.0.1") as connection:
                found = connection.call(http("GET", path, key=self.viewer))
                assert found.status == 200
        except AssertionError:
            return False
        return True


def start_system(folder: Path, victims: Victims, **settings: str) -> System:
    """Start a system, make its keys and the victims' provider."""
    stack = Stack(folder, **settings).start()
    try:
        keys = make_keys(stack)
        with stack.client() as client:
            made = client.post("/oauth-providers", json=PROVIDER)
            assert made.status_code == 200, made.text
        return System(stack, victims, *keys, made.json()["ID"])
    except BaseException:
        end(stack)
        raise


def make_keys(stack: Stack) -> tuple[str, str, str, str]:
    """Two keys of an admin and two of a viewer: admin, viewer, admin, viewer."""
    engine = open_engine(parse_url(stack.settings["PORTAL_DATABASE_URL"]))
    try:
        create = Keys(Store(engine)).create
        roles = Role.ADMIN, Role.VIEWER
        (a, b), (c, d) = ([create(role, "of the tests") for role in roles] for _ in range(2))
        return a, b, c, d
    finally:
        engine.dispose()


def end(stack: Stack) -> None:
    """End a stack whatever state it is in."""
    assert stack.process
    children = (
        [pid for pids in stack.children().values() for pid in pids]
        if stack.process.poll() is None
        else []
    )
    stack.process.send_signal(signal.SIGTERM)
    try:
        stack.process.wait(30)
    except subprocess.TimeoutExpired:
        pass
    finally:
        if stack.process.poll() is None:
            stack.process.kill()
            stack.process.wait()
        for pid in children:
            if Path(f"/proc/{pid}").exists():
                os.kill(pid, signal.SIGKILL)

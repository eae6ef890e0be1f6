"""What a release delivers: its SBOM, licenses and known vulnerabilities."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from portal_server.run import edge
from portal_server.run.settings import Settings
from tests.support.commands import ROOT
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
    packages = ("--packages", *pinned())
    return subprocess.run(
        [BIN / "pip-licenses", *options.split(), *packages, "--allow-only", allowed],
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


class Database(BaseHTTPRequestHandler):
    """The part of the API of osv.dev that pip-audit uses; it knows one vulnerability."""

    def do_POST(self) -> None:
        query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        vulnerable = (query["package"]["name"], query["version"]) == ("h11", "0.14.0")
        body = json.dumps({"vulns": [VULNERABILITY]} if vulnerable else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


VULNERABILITY = {
    "id": "PYSEC-2025-1",
    "summary": "lenient parsing",
    "modified": "2025-04-24T00:00:00Z",
    "affected": [
        {
            "package": {"name": "h11", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "0.16.0"}]}],
            "versions": ["0.14.0"],
        }
    ],
}


@contextmanager
def database() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Database) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("planted", [False, True], ids=["as it is", "planted"])
def test_a_pin_with_a_known_vulnerability_is_found(tmp_path: Path, *, planted: bool) -> None:
    pins = RUN.read_text()
    if planted:
        pins, number = re.subn(r"^h11==\S+", "h11==0.14.0", pins, flags=re.MULTILINE)
        assert number == 1
    (tmp_path / "run.txt").write_text(pins)
    [options] = re.findall(r"\$\(BIN\)/pip-audit (.*) \\\n\t\t(.*) \$\(AUDIT\)", MAKEFILE)
    with database() as url:
        found = subprocess.run(
            [
                BIN / "pip-audit",
                *" ".join(options).split(),
                *("--osv-url", url),
                *("--requirement", str(tmp_path / "run.txt")),
                *("--cache-dir", str(tmp_path)),
            ],
            text=True,
            capture_output=True,
            check=False,
        )

    assert found.returncode == int(planted), found.stderr
    assert ("PYSEC-2025-1" in found.stdout) is planted

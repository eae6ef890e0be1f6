"""The packages as they are released: installed from wheels, without a clone, in an empty folder."""

import json
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from tests.support.packages import add_our_dependencies, run, version_of
from tests.support.pythons import newest
from tests.support.stack import ROOT, TLS, Stack
from tests.system.test_readme import block

NEWEST = newest()

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.needs("git"),
    pytest.mark.xdist_group("wheels"),
]


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def test_there_are_a_wheel_and_an_sdist_of_each_package(packages: Path) -> None:
    wheels = sorted(file.name.split("-")[0] for file in packages.glob("*.whl"))
    sources = sorted(file.name.split("-")[0] for file in packages.glob("*.tar.gz"))

    assert wheels == sources == ["oauth_portal", "oauth_portal_server"]
    assert names(packages) >= {"oauth-portal.cdx.json"}
    assert len(names(packages)) == 5


@dataclass
class Installed:
    """A virtual environment with both wheels."""

    python: Path
    stack: Stack

    @property
    def portal(self) -> Path:
        return self.python.with_name("portal")

    def run(self, *arguments: str) -> str:
        return run(self.portal, *arguments, folder=self.stack.folder)


def with_pinned_dependencies(home: Path, wheels: list[Path]) -> None:
    """Install the wheels and the pinned packages that they need."""
    pinned = ROOT / "requirements/run.txt"
    run(home / "bin/pip", "install", "--require-hashes", "-r", pinned, folder=home)
    run(home / "bin/pip", "install", "--no-deps", "--no-index", *wheels, folder=home)
    run(home / "bin/pip", "check", folder=home)


@pytest.fixture(
    scope="module",
    params=[sys.executable, *filter(None, [NEWEST])],
    ids=["this Python", *filter(None, [NEWEST and NEWEST.name])],
)
def installed(
    request: pytest.FixtureRequest, packages: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installed]:
    """A system that was started from wheels, in an empty folder, with the default settings."""
    home, folder = tmp_path_factory.mktemp("venv"), tmp_path_factory.mktemp("empty")
    wheels = sorted(packages.glob("*.whl"))
    if request.param == sys.executable:
        add_our_dependencies(home)
    run(request.param, "-m", "venv", home, folder=folder)
    if request.param == sys.executable:
        run(home / "bin/pip", "install", "--no-deps", "--no-index", *wheels, folder=home)
    else:
        with_pinned_dependencies(home, wheels)
    stack = Stack(folder)
    kept = ("PORTAL_HTTP_PORT", "PORTAL_GRPC_PORT", "PORTAL_DEVELOPMENT")
    stack.settings = {name: stack.settings[name] for name in kept}
    stack.command = (str(home / "bin/portal"),)
    stack.start(folder=folder)
    yield Installed(home / "bin/python", stack)
    stack.stop()


def test_the_code_and_the_files_are_those_of_the_wheels(installed: Installed) -> None:
    code = (
        "import portal_server, portal_client; print(portal_server.__file__, portal_client.__file__)"
    )
    modules = run(installed.python, "-c", code, folder=installed.stack.folder).split()
    configuration = (installed.stack.run_folder / "envoy.json").read_text()
    home = str(installed.python.parents[1])

    assert all(module.startswith(home) for module in modules)
    assert f"{home}/lib/" in configuration
    assert str(ROOT) not in configuration


def test_the_data_is_where_the_banner_says(installed: Installed) -> None:
    folder = installed.stack.folder
    banner = installed.stack.out.read_text()

    assert f"Data       {folder}/data/portal.db\n" in banner
    assert f"Admin key  in the file {folder}/data/admin.key\n" in banner
    assert f"the key in {folder}/data/encryption.key\n" in banner
    assert {"portal.db", "admin.key", "encryption.key"} <= names(folder / "data")
    assert names(folder) == {"data", "out.txt", "err.txt"}


def test_the_request_of_the_readme_creates_a_client_type(installed: Installed) -> None:
    key = (installed.stack.folder / "data/admin.key").read_text().strip()
    arguments = shlex.split(block("sh", "--request POST").replace("$PORTAL_KEY", key))
    pairs = list(pairwise(arguments))
    url = dict(pairs)["--url"].replace("3001", str(installed.stack.http_port))
    headers = dict(text.split(": ", 1) for option, text in pairs if option == "--header")
    response = httpx.post(url, content=dict(pairs)["--data"], headers=headers, verify=TLS)

    assert response.status_code == 200
    assert response.json()["Name"] == "Server-side application"


@pytest.mark.parametrize(
    ("path", "file"),
    [
        ("/docs", "edge/api-explorer/index.html"),
        ("/docs/swagger-ui-bundle.js", "third_party/swagger-ui/swagger-ui-bundle.js"),
        ("/openapi.json", "edge/openapi.json"),
    ],
)
def test_the_page_to_try_the_api_is_served(installed: Installed, path: str, file: str) -> None:
    response = httpx.get(f"http://127.0.0.1:{installed.stack.http_port}{path}", verify=TLS)

    assert response.status_code == 200
    assert response.content == (ROOT / file).read_bytes()


def test_keys_are_created_in_the_same_database(installed: Installed) -> None:
    key = installed.run("keys", "create", "--role", "viewer").strip()
    with installed.stack.client(key) as rest:
        status = rest.get("/oauth-providers").status_code
    name = key.split("_")[1]

    assert status == 200
    assert name in installed.run("keys", "list")


def test_every_part_reports_the_same_version(installed: Installed, packages: Path) -> None:
    version = version_of(packages)

    assert installed.run("--version") == f"portal {version}\n"
    assert f"OAuth Portal {version} is up" in installed.stack.out.read_text()
    key = (installed.stack.folder / "data/admin.key").read_text().strip()
    target = f"127.0.0.1:{installed.stack.grpc_port}"
    status = json.loads(installed.run("status", f"--target={target}", f"--key={key}", "-o", "json"))
    assert (status["server_version"], status["client_version"]) == (version, version)


def test_everything_stops(installed: Installed) -> None:
    assert installed.stack.stop() == 0
    assert "Traceback" not in installed.stack.err.read_text()

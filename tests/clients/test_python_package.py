"""What `pip install` installs: the typed client without the server."""

import re
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.stack import ADMIN_KEY, ENVIRONMENT, ROOT, Stack

EXAMPLE = ROOT / "clients" / "python" / "create_client_type.py"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = ["pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([sys.executable, "-m", *command, "-w", folder, ROOT], check=True)
    [found] = folder.glob("oauth_portal-*.whl")
    return found


def test_the_package_has_stubs_client_and_types_and_no_server(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        names = opened.namelist()
        [metadata] = [opened.read(name).decode() for name in names if name.endswith("/METADATA")]

    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"portal", "portal_client", "portal_cli"}
    for name in ("portal/py.typed", "portal_client/py.typed"):
        assert name in names
    assert "portal/oauth/v1/client_type_pb2_grpc.pyi" in names
    needed = {
        name
        for name, rest in re.findall(r"^Requires-Dist: ([\w-]+)(.*)$", metadata, re.MULTILINE)
        if "extra" not in rest
    }
    assert needed == {"grpcio", "protobuf", "googleapis-common-protos"}


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a virtual environment with the package and its dependencies."""
    home = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", home], check=True)
    subprocess.run([home / "bin/pip", "install", "--quiet", wheel], check=True)
    return home / "bin" / "python"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_fresh_environment_runs_the_example(python: Path, stack: Stack) -> None:
    target = {"PORTAL_TARGET": f"localhost:{stack.grpc_port}", "PORTAL_KEY": ADMIN_KEY}
    example = subprocess.run(
        [python, EXAMPLE], env=ENVIRONMENT | target, check=True, capture_output=True, text=True
    )

    assert "Single-page application (new)" in example.stdout


@pytest.mark.slow
@pytest.mark.parametrize("absent", ["portal_server", "sqlmodel", "sqlalchemy", "typer"])
def test_the_server_and_its_dependencies_are_not_installed(python: Path, absent: str) -> None:
    code = f"import importlib.util as u; raise SystemExit(u.find_spec('{absent}') is not None)"
    assert subprocess.run([python, "-c", code], check=False).returncode == 0


@pytest.mark.slow
def test_the_command_names_the_packages_that_it_needs(python: Path) -> None:
    command = [python.with_name("portal")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 1
    packages = shlex.split(done.stderr.partition(": pip install ")[2])

    assert done.stderr.startswith("portal: the command line needs ")
    assert done.stderr.count("\n") == 1
    assert {"httpx>=0.28", "typer>=0.29"} <= set(packages)
    # Our own packages are not in a registry.
    assert not [name for name in packages if "portal" in name]


@pytest.mark.slow
def test_a_type_checker_finds_wrong_arguments_and_names(python: Path, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "from portal_client import GRANT_TYPE_PKCE, ClientType, Portal, unknown\n"
        "Portal().get_provider('one').name.upper()\n"
        "ClientType(grant_types=[GRANT_TYPE_PKCE], okta_app_type=GRANT_TYPE_PKCE)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--python-executable", python, program],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )

    assert 'Module "portal_client" has no attribute "unknown"' in done.stdout
    assert 'incompatible type "str"; expected "int"' in done.stdout
    assert 'Argument "okta_app_type" to "ClientType" has incompatible type' in done.stdout
    assert "Found 3 errors" in done.stdout

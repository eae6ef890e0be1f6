"""`make generate` and `make verify`, in a copy of the project."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.stack import ROOT

# Without Go and Node: their generators would be downloaded into each copy.
COMMANDS = (
    *("awk", "cp", "diff", "find", "make", "mkdir", "rm", "sed", "sh", "sha256sum", "sort"),
    *("touch", "uname"),
)
COPIED = (
    *("Makefile", "pyproject.toml", "requirements"),
    *("server", "protos", "clients", "tools", "edge", "docs", "deploy"),
)
pytestmark = pytest.mark.slow

STUB = "protos/portal/oauth/v1/provider_pb2.pyi"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the project with the installed packages, and a path with few commands."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("node_modules", "target", "__pycache__")
            shutil.copytree(source, tmp_path / name, ignore=ignored)
        else:
            shutil.copy(source, tmp_path)
    venv = tmp_path / ".venv"
    venv.mkdir()
    for name in ("bin", "include", "lib", "pyvenv.cfg"):
        (venv / name).symlink_to(Path(sys.prefix) / name)
    for stamp in ("run", "dev"):  # installed, after everything else that was copied
        (venv / stamp).touch()
    commands = tmp_path / "commands"
    commands.mkdir()
    for command in COMMANDS:
        found = shutil.which(command)
        assert found
        (commands / command).symlink_to(found)
    return tmp_path


def make(copy: Path, target: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    environment = {key: value for key, value in os.environ.items() if key != "CI"}
    return subprocess.run(
        ["make", "--no-print-directory", target],
        cwd=copy,
        env=environment | {"PATH": str(copy / "commands")} | variables,
        text=True,
        capture_output=True,
        timeout=100,
        check=False,
    )


def test_verify_names_a_file_that_is_not_current_and_generates_it(copy: Path) -> None:
    proto = copy / "protos/portal/oauth/v1/provider.proto"
    proto.write_text(proto.read_text().replace("// The provider to create.", "// A new comment."))

    first, second = make(copy, "verify"), make(copy, "verify")

    assert first.returncode != 0
    assert STUB in first.stdout
    assert "A new comment." in (copy / STUB).read_text()
    assert second.returncode == 0, second.stdout + second.stderr


def test_verify_finds_a_stub_whose_proto_is_gone(copy: Path) -> None:
    stub = copy / "protos/portal/oauth/v1/gone_pb2.py"
    stub.touch()

    assert str(stub.relative_to(copy)) in make(copy, "verify").stdout
    assert not stub.exists()


@pytest.mark.parametrize(("language", "tool"), [("go", "go"), ("typescript", "npm")])
def test_a_language_without_its_tool_is_named_and_fails_in_ci(
    copy: Path, language: str, tool: str
) -> None:
    skipped = make(copy, f"generate-{language}")
    in_ci = make(copy, f"generate-{language}", CI="true")

    message = f"clients/{language}: stubs not generated, because {tool} is not installed\n"
    assert (skipped.returncode, skipped.stdout) == (0, message), skipped.stderr
    assert in_ci.returncode != 0
    assert in_ci.stdout == message

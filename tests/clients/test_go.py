"""The example program in Go, built by its own toolchain, against the running system."""

import sys
from pathlib import Path

import pytest

import programs
from postgres import free_port
from stack import Stack

FOLDER = programs.CLIENTS / "go"

pytestmark = [pytest.mark.needs("go"), pytest.mark.timeout(600)]  # a cold build is slow


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("go") / "program")
    programs.build(["go", "build", "-o", path, "."], FOLDER)
    return path


def test_it_runs_against_the_server(program: str, stack: Stack) -> None:
    programs.check(programs.run([program], FOLDER, f"127.0.0.1:{stack.grpc_port}"))


def test_it_runs_through_envoy(program: str, stack: Stack) -> None:
    programs.check(programs.run([program], FOLDER, f"127.0.0.1:{stack.http_port}"))


def test_it_says_in_one_line_that_the_key_is_wrong(program: str, stack: Stack) -> None:
    target = f"127.0.0.1:{stack.grpc_port}"
    assert "Unauthenticated" in programs.failure([program], FOLDER, target, "wrong")


def test_it_says_in_one_line_that_nobody_answers(program: str) -> None:
    target = f"127.0.0.1:{free_port()}"
    assert "connection refused" in programs.failure([program], FOLDER, target)


def test_it_gives_up_at_its_deadline(program: str) -> None:
    with programs.silent() as target:
        assert "DeadlineExceeded" in programs.failure([program], FOLDER, target)


def test_it_is_formatted_and_vetted(program: str) -> None:
    assert program
    assert programs.build(["gofmt", "-l", "."], FOLDER) == ""
    programs.build(["go", "vet", "./..."], FOLDER)
    programs.build(["go", "mod", "tidy", "-diff"], FOLDER)


def test_its_stubs_are_fresh(tmp_path: Path) -> None:
    buf = str(Path(sys.executable).with_name("buf"))
    programs.build([buf, "generate", "--output", str(tmp_path)], FOLDER)
    fresh, committed = (
        {path.relative_to(folder): path.read_text() for path in (folder / "portal").rglob("*.go")}
        for folder in (tmp_path, FOLDER)
    )
    assert fresh
    assert committed == fresh

"""The example program in Rust, built by its own toolchain, against the running system."""

import pytest

import programs
from postgres import free_port
from stack import Stack

FOLDER = programs.CLIENTS / "rust"

pytestmark = [pytest.mark.needs("cargo"), pytest.mark.timeout(600)]  # a cold build is slow


@pytest.fixture(scope="module")
def program() -> str:
    programs.export_protos()
    programs.build(["cargo", "build", "--locked"], FOLDER)
    return str(FOLDER / "target/debug/oauth-portal-example")


def test_it_runs_against_the_server(program: str, stack: Stack) -> None:
    programs.check(programs.run([program], FOLDER, f"127.0.0.1:{stack.grpc_port}"))


def test_it_runs_through_envoy(program: str, stack: Stack) -> None:
    programs.check(programs.run([program], FOLDER, f"127.0.0.1:{stack.http_port}"))


def test_it_says_in_one_line_that_the_key_is_wrong(program: str, stack: Stack) -> None:
    target = f"127.0.0.1:{stack.grpc_port}"
    assert "authentication" in programs.failure([program], FOLDER, target, "wrong")


def test_it_says_in_one_line_that_nobody_answers(program: str) -> None:
    target = f"127.0.0.1:{free_port()}"
    assert "Connection refused" in programs.failure([program], FOLDER, target)


def test_it_gives_up_at_its_deadline(program: str) -> None:
    with programs.silent() as target:
        assert "Timeout expired" in programs.failure([program], FOLDER, target)


def test_it_is_formatted_and_vetted(program: str) -> None:
    assert program
    programs.build(["cargo", "fmt", "--check"], FOLDER)
    programs.build(["cargo", "clippy", "--locked", "--", "--deny", "warnings"], FOLDER)

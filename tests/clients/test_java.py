"""The example program in Java, built by its own toolchain, against the running system."""

import pytest

import programs
from postgres import free_port
from stack import Stack

FOLDER = programs.CLIENTS / "java"
# Downloads are told line by line otherwise; a cold build takes many.
MAVEN = ("mvn", "--batch-mode", "--quiet")

pytestmark = [pytest.mark.needs("mvn", "javac"), pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def program() -> list[str]:
    programs.build([*MAVEN, "package"], FOLDER)
    return ["java", "-cp", "target/classes:target/lib/*", "com.example.portal.CreateClientType"]


def test_it_runs_against_the_server(program: list[str], stack: Stack) -> None:
    programs.check(programs.run(program, FOLDER, f"127.0.0.1:{stack.grpc_port}"))


def test_it_runs_through_envoy(program: list[str], stack: Stack) -> None:
    programs.check(programs.run(program, FOLDER, f"127.0.0.1:{stack.http_port}"))


def test_it_says_in_one_line_that_the_key_is_wrong(program: list[str], stack: Stack) -> None:
    target = f"127.0.0.1:{stack.grpc_port}"
    assert "UNAUTHENTICATED" in programs.failure(program, FOLDER, target, "wrong")


def test_it_says_in_one_line_that_nobody_answers(program: list[str]) -> None:
    assert "UNAVAILABLE" in programs.failure(program, FOLDER, f"127.0.0.1:{free_port()}")


def test_it_gives_up_at_its_deadline(program: list[str]) -> None:
    with programs.silent() as target:
        assert "DEADLINE_EXCEEDED" in programs.failure(program, FOLDER, target)


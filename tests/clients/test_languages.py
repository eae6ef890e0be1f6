"""The example program of each language, built by its own toolchain, against the running system."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest
from _pytest.mark.structures import ParameterSet

from tests.clients import programs
from tests.support.postgres import free_port
from tests.support.stack import Stack


@dataclass(frozen=True)
class Language:
    """How a language's program is built, run and vetted, and how it words what went wrong."""

    name: str
    tools: tuple[str, ...]
    build: tuple[str, ...]
    run: tuple[str, ...]
    bad_key: str
    nobody: str
    late: str
    vet: tuple[str, ...] = ()
    committed_stubs: str | None = None  # which files they are

    @property
    def folder(self) -> Path:
        """Where the program is; every command runs there."""
        return programs.CLIENTS / self.name


LANGUAGES = [
    Language(
        name="go",
        tools=("go", "gofmt"),
        build=("go build -o oauth-portal-example .",),
        run=("./oauth-portal-example",),
        bad_key="Unauthenticated",
        nobody="connection refused",
        late="DeadlineExceeded",
        vet=("test -z $(gofmt -l .)", "go vet ./...", "go mod tidy -diff"),
        committed_stubs="*.pb.go",
    ),
    Language(
        name="java",
        tools=("mvn", "javac"),
        build=("mvn --batch-mode --quiet package",),
        run=("java", "-cp", "target/classes:target/lib/*", "com.example.portal.CreateClientType"),
        bad_key="UNAUTHENTICATED",
        nobody="UNAVAILABLE",
        late="DEADLINE_EXCEEDED",
    ),
    Language(
        name="kotlin",
        tools=("mvn", "javac"),
        build=("mvn --batch-mode --quiet package",),
        run=("java", "-cp", "target/classes:target/lib/*", "com.example.portal.CreateClientTypeKt"),
        bad_key="UNAUTHENTICATED",
        nobody="UNAVAILABLE",
        late="DEADLINE_EXCEEDED",
    ),
    Language(
        name="typescript",
        tools=("node", "npm"),
        build=("npm ci --no-audit --no-fund", "npm run build --workspace node"),
        run=("node", "node/dist/main.js"),
        bad_key="unauthenticated",
        nobody="ECONNREFUSED",
        late="deadline_exceeded",
        committed_stubs="*_pb.*",
    ),
    Language(
        name="rust",
        tools=("cargo", "rustfmt", "cargo-clippy"),
        build=("make -C ../.. protos-export", "cargo build --locked"),
        run=("target/debug/oauth-portal-example",),
        bad_key="authentication",
        nobody="Connection refused",
        late="Timeout expired",
        vet=("cargo fmt --check", "cargo clippy --locked -- --deny warnings"),
    ),
]

# A cold build is slow. One process for all: they share build/protos.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("toolchains"),
]


def params(languages: Iterable[Language]) -> "list[ParameterSet]":
    """Languages as parameters; each needs its own tools."""
    return [
        pytest.param(
            language,
            id=language.name,
            marks=pytest.mark.needs(*language.tools),
        )
        for language in languages
    ]


VETTED = params(each for each in LANGUAGES if each.vet)
COMMITTED = params(each for each in LANGUAGES if each.committed_stubs)


@pytest.fixture(scope="module", params=params(LANGUAGES))
def built(request: pytest.FixtureRequest) -> Language:
    """Each language in turn, its program built."""
    language: Language = request.param
    for command in language.build:
        programs.build(command, language.folder)
    return language


def test_it_runs_against_the_server(built: Language, stack: Stack) -> None:
    programs.check(programs.run(built.run, built.folder, f"127.0.0.1:{stack.grpc_port}"))


def test_it_runs_through_envoy(built: Language, stack: Stack) -> None:
    programs.check(programs.run(built.run, built.folder, f"127.0.0.1:{stack.http_port}"))


def test_it_reports_in_one_line_that_the_key_is_wrong(built: Language, stack: Stack) -> None:
    target = f"127.0.0.1:{stack.grpc_port}"
    assert built.bad_key in programs.failure(built.run, built.folder, target, "wrong")


def test_it_reports_in_one_line_that_there_is_no_response(built: Language) -> None:
    target = f"127.0.0.1:{free_port()}"
    assert built.nobody in programs.failure(built.run, built.folder, target)


def test_it_gives_up_at_its_deadline(built: Language) -> None:
    with programs.silent() as target:
        assert built.late in programs.failure(built.run, built.folder, target)


@pytest.mark.parametrize("built", VETTED, indirect=True)
def test_its_own_tools_find_nothing(built: Language) -> None:
    for command in built.vet:
        programs.build(command, built.folder)


@pytest.mark.parametrize("built", COMMITTED, indirect=True)
def test_its_stubs_are_fresh(built: Language, tmp_path: Path) -> None:
    assert built.committed_stubs
    programs.check_stubs(built.folder, built.committed_stubs, tmp_path)

"""Systems to attack: with one server, with two, each shared by its tests."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.hostile import system as settings
from tests.hostile.system import System, end, start_system
from tests.hostile.victims import Victims


@pytest.fixture(scope="session")
def victims() -> Iterator[Victims]:
    """The process of the callers who are to notice nothing."""
    process = Victims()
    yield process
    process.end()


class _Kept:
    """A system that is started again when a test has broken it."""

    def __init__(self, start: Callable[[], System]) -> None:
        self._start = start
        self._system: System | None = None
        self._failures = 0

    def get(self, session: pytest.Session) -> System:
        if self._system and session.testsfailed != self._failures:
            self._failures = session.testsfailed
            if not self._system.is_well():
                self.end()
        if self._system is None:
            self._system = self._start()
        return self._system

    def end(self) -> None:
        if self._system:
            end(self._system.stack)
        self._system = None


def _kept(
    factory: pytest.TempPathFactory, victims: Victims, name: str, **more: str
) -> Iterator[_Kept]:
    def start() -> System:
        folder: Path = factory.mktemp(name)
        return start_system(folder, victims, **more)

    kept = _Kept(start)
    yield kept
    kept.end()


@pytest.fixture(scope="session")
def _one(tmp_path_factory: pytest.TempPathFactory, victims: Victims) -> Iterator[_Kept]:
    yield from _kept(tmp_path_factory, victims, "one", PORTAL_WORKERS="1")


@pytest.fixture(scope="session")
def _two(tmp_path_factory: pytest.TempPathFactory, victims: Victims) -> Iterator[_Kept]:
    yield from _kept(tmp_path_factory, victims, "two", PORTAL_WORKERS="2")


@pytest.fixture
def one(_one: _Kept, request: pytest.FixtureRequest) -> System:
    """A system with one server."""
    return _one.get(request.session)


@pytest.fixture
def two(_two: _Kept, request: pytest.FixtureRequest) -> System:
    """A system with two servers."""
    return _two.get(request.session)


@pytest.fixture(params=["one server", "two servers"])
def each(request: pytest.FixtureRequest) -> System:
    """A system with one server, and one with two."""
    kept: _Kept = request.getfixturevalue("_one" if request.param == "one server" else "_two")
    return kept.get(request.session)


@pytest.fixture(params=["two servers", pytest.param("one server", marks=pytest.mark.long)])
def attacked(request: pytest.FixtureRequest) -> System:
    """A system with two servers; in the long form of the attacks also one with one server."""
    kept: _Kept = request.getfixturevalue("_one" if request.param == "one server" else "_two")
    return kept.get(request.session)


@pytest.fixture(params=["REST", "gRPC"])
def port(request: pytest.FixtureRequest) -> str:
    """The name of each public port."""
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def seconds() -> float:
    """How long an attack is held."""
    return settings.SECONDS

"""What all workers of a run share, and which tests must run in one worker."""

import fcntl
import pickle
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.support.databases import MIGRATED, migrated
from tests.support.postgres import Postgres

_FOLDER = pytest.StashKey[Path]()
_WAITING = frozenset({"crash", "edge", "hostile", "system"})


def pytest_configure(config: pytest.Config) -> None:
    """Give the run a folder; a worker gets that of the process that started it."""
    workerinput: dict[str, Any] | None = getattr(config, "workerinput", None)
    if workerinput is None:
        config.stash[_FOLDER] = Path(tempfile.mkdtemp(prefix="portal-tests-"))
        # PostgreSQL runs as another user when the tests run as root.
        config.stash[_FOLDER].chmod(0o755)
    else:
        config.stash[_FOLDER] = Path(workerinput["shared_folder"])


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Called by xdist before it starts a worker."""
    node.workerinput["shared_folder"] = str(node.config.stash[_FOLDER])


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests that share a fixture of their module or package in one worker.

    A running system costs a worker seconds to start, and CPU as long as it runs. So do all tests
    of `stack`, and those of tests/hostile, which share the attacked systems.

    The folders whose tests mostly wait come first, together with those that mostly compute.
    """
    items.sort(key=lambda item: item.path.parent.name not in _WAITING)
    shared = {
        item.path
        for item in items
        if isinstance(item, pytest.Function) and "stack" in item.fixturenames
    }
    for item in items:
        if not isinstance(item, pytest.Function) or item.get_closest_marker("xdist_group"):
            continue
        found = item._fixtureinfo.name2fixturedefs  # noqa: SLF001
        scopes = {definitions[-1].scope for definitions in found.values()}
        if "package" in scopes or item.path.parent.name == "hostile":
            item.add_marker(pytest.mark.xdist_group(str(item.path.parent)))
        elif "stack" in item.fixturenames or ("module" in scopes and item.path in shared):
            item.add_marker(pytest.mark.xdist_group("stack"))
        elif "module" in scopes:
            item.add_marker(pytest.mark.xdist_group(str(item.path)))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop what was started, when all workers have ended."""
    if hasattr(config, "workerinput"):
        return
    folder = config.stash[_FOLDER]
    if (folder / "running").exists():
        _read(folder).stop()
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres(pytestconfig: pytest.Config) -> Postgres:
    """A running PostgreSQL for all workers of the run: each test has its own database there."""
    folder = pytestconfig.stash[_FOLDER]
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "running").exists():
            # A new folder: after a start that failed, the next test starts another one.
            home = Path(tempfile.mkdtemp(prefix="postgres-", dir=folder))
            home.chmod(0o755)
            cluster = Postgres(home)
            cluster.start()
            migrated(cluster.new_database(MIGRATED))
            (folder / "running").write_bytes(pickle.dumps(cluster))
        return _read(folder)


def _read(folder: Path) -> Postgres:
    cluster: Postgres = pickle.loads((folder / "running").read_bytes())  # noqa: S301
    return cluster

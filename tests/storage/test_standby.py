"""Reads from a standby: recent enough, and from the primary if the standby is not."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from portal_server.domain.errors import NotFound
from portal_server.domain.provider import ProviderDraft, ProviderType
from portal_server.storage.sql import hosts
from portal_server.storage.sql.engine import open_engine, parse_url
from portal_server.storage.store import Recent, Store
from tests.support.catalog import CALL, VAULT, Catalog
from tests.support.databases import migrated
from tests.support.postgres import Postgres
from tests.support.stack import soon

# Each test waits for a standby, and one of them for timeouts.
pytestmark = pytest.mark.slow

MAX_AGE_S = 2.0


class Pair:
    """A primary, its asynchronous standby, and a store that reads from the standby."""

    def __init__(self, folder: Path) -> None:
        for name in ("primary", "standby"):
            (folder / name).mkdir()
        self.primary = Postgres(folder / "primary")
        self.primary.start()
        migrated(self.primary.url())
        self.standby = Postgres(folder / "standby", self.primary)
        self.standby.start()
        standby = open_engine(parse_url(self.standby.url(), hosts.STANDBY))
        engine = open_engine(parse_url(self.primary.url()))
        self.store = Store(engine, VAULT, Recent(standby, MAX_AGE_S))
        self.catalog = Catalog(self.store)

    def create(self, name: str) -> int:
        draft = ProviderDraft(
            name=name, type=ProviderType.OTHER, well_known_uri="https://idp.test/x"
        )
        return self.catalog.providers.create(CALL, draft).id

    def rename(self, id_: int, name: str) -> None:
        self.primary.execute(f"UPDATE provider SET name = '{name}' WHERE id = {id_}")  # noqa: S608

    def name(self, id_: int) -> str:
        return self.catalog.providers.get(CALL, id_).name

    def replayed(self, id_: int, name: str) -> bool:
        query = f"SELECT name FROM provider WHERE id = {id_}"  # noqa: S608
        return self.standby.execute(query) == (name,)

    def is_fresh(self) -> bool:
        standby = self.store._standby  # noqa: SLF001 - nothing else shows which one is read
        return standby is not None and standby.is_fresh

    def reads_at_the_standby(self, id_: int) -> bool:
        """Whether a read sees an old row while nothing is replayed."""
        self.rename(id_, "old")
        assert soon(lambda: self.replayed(id_, "old"), 10)
        self.standby.execute("SELECT pg_wal_replay_pause()")
        try:
            self.rename(id_, "new")
            return self.name(id_) == "old"
        finally:
            self.standby.execute("SELECT pg_wal_replay_resume()")


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    folder = Path(tempfile.mkdtemp(prefix="portal-standby-"))
    folder.chmod(0o755)
    running = Pair(folder)
    yield running
    running.store.close()
    for cluster in (running.standby, running.primary):
        cluster.kill()
    shutil.rmtree(folder)


def test_reads_use_the_standby_and_are_never_older_than_permitted(pair: Pair) -> None:
    id_ = pair.create("p")
    assert soon(lambda: pair.reads_at_the_standby(id_), 20)
    assert soon(lambda: pair.replayed(id_, "new"), 10)
    assert soon(pair.is_fresh, 10)
    pair.standby.execute("SELECT pg_wal_replay_pause()")
    pair.rename(id_, "newest")
    changed = time.monotonic()
    before = pair.name(id_)
    while pair.name(id_) != "newest":
        time.sleep(0.01)
    taken = time.monotonic() - changed
    pair.standby.execute("SELECT pg_wal_replay_resume()")

    assert before == "new"
    assert taken < MAX_AGE_S + 0.5


def test_what_was_just_created_is_found(pair: Pair) -> None:
    assert soon(lambda: pair.reads_at_the_standby(pair.create("q")), 20)
    pair.standby.execute("SELECT pg_wal_replay_pause()")
    created = pair.create("r")
    found = pair.name(created)
    with pytest.raises(NotFound):
        pair.name(created + 1000)
    pair.standby.execute("SELECT pg_wal_replay_resume()")

    assert found == "r"


def test_reads_go_on_while_the_standby_is_away(pair: Pair) -> None:
    id_ = pair.create("s")
    assert soon(lambda: pair.reads_at_the_standby(id_), 20)
    pair.standby.stop()
    read = [pair.name(id_) for _ in range(20)]
    pair.standby.start()

    assert read == ["new"] * 20
    assert soon(lambda: pair.reads_at_the_standby(id_), 20)


def test_a_standby_that_hangs_delays_reads_for_a_short_time(pair: Pair) -> None:
    id_ = pair.create("t")
    assert soon(lambda: pair.reads_at_the_standby(id_), 20)
    assert soon(lambda: pair.replayed(id_, "new"), 10)
    with pair.standby.hanging():
        begun = time.monotonic()
        first = pair.name(id_)
        delay = time.monotonic() - begun
        assert soon(lambda: not _delayed(pair, id_), 10)

    assert first == "new"
    assert delay < 5
    assert soon(lambda: pair.reads_at_the_standby(id_), 20)


def _delayed(pair: Pair, id_: int) -> bool:
    begun = time.monotonic()
    pair.name(id_)
    return time.monotonic() - begun > 0.5


def test_a_standby_that_was_promoted_is_not_read(pair: Pair) -> None:
    id_ = pair.create("u")
    assert soon(lambda: pair.reads_at_the_standby(id_), 20)
    pair.standby.promote()
    assert soon(lambda: _is_new(pair, id_), MAX_AGE_S + 2)
    pair.standby.execute(f"UPDATE provider SET name = 'other' WHERE id = {id_}")  # noqa: S608

    assert {pair.name(id_) for _ in range(20)} == {"new"}


def _is_new(pair: Pair, id_: int) -> bool:
    pair.rename(id_, "new")
    return not pair.is_fresh()

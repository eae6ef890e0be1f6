"""When keys were last used: to the minute, and one write a minute of a key."""

from datetime import UTC, datetime, timedelta

import pytest

from portal_server.catalog import keyring as keyring_module
from portal_server.catalog import last_uses as module
from portal_server.catalog.keyring import KeyRing
from portal_server.catalog.last_uses import LastUses, LastUseTask
from portal_server.domain.keys import Role
from portal_server.storage.rows.api_keys import ApiKeyRows
from portal_server.storage.store import Store
from tests.support.catalog import CALL, VAULT
from tests.support.keys import Keys

START = datetime(2030, 5, 1, 12, 0, 10, tzinfo=UTC)


class Clock:
    """The time of the portal."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = START
        monkeypatch.setattr(module, "now", lambda: self.now)
        # Each call looks the key up.
        monkeypatch.setattr(keyring_module, "REMEMBERED_S", 0.0)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def changes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys whose row was changed."""
    found: list[str] = []
    note_use = ApiKeyRows.note_use

    def counted(rows: ApiKeyRows, key_id: str, time: datetime) -> bool:
        changed = note_use(rows, key_id, time)
        found.extend([key_id] * changed)
        return changed

    monkeypatch.setattr(ApiKeyRows, "note_use", counted)
    return found


def test_a_use_is_stored_to_the_minute_and_changes_nothing_else(store: Store) -> None:
    keys, uses = Keys(store), LastUses(store)
    text = keys.create(Role.VIEWER)
    [before] = keys.list()
    KeyRing(store, uses=uses).authenticate(CALL, [text])
    noted = keys.list()
    uses.store_pending()
    [after] = keys.list()

    assert noted == [before]
    assert before.last_use_time is None
    assert after.last_use_time == START.replace(second=0)
    assert after.etag == before.etag


def test_many_servers_write_a_key_once_a_minute(
    store: Store, clock: Clock, changes: list[str]
) -> None:
    text = Keys(store).create(Role.VIEWER)
    servers = []
    for _ in range(4):
        uses = LastUses(Store(store._engine, VAULT))  # noqa: SLF001
        servers.append((KeyRing(store, uses=uses), uses))
    for second in range(180):
        clock.now = START + timedelta(seconds=second)
        for ring, uses in servers:
            ring.authenticate(CALL, [text])
            if second % 5 == 0:
                uses.store_pending()

    # 12:00, 12:01, 12:02 and 12:03.
    assert len(changes) == 4
    [key] = Keys(store).list()
    assert key.last_use_time == datetime(2030, 5, 1, 12, 3, tzinfo=UTC)


def test_an_authentication_itself_writes_nothing(
    store: Store, changes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = Keys(store).create(Role.VIEWER)
    ring = KeyRing(store, uses=LastUses(store))
    monkeypatch.setattr(store, "write", None)
    for _ in range(10):
        ring.authenticate(CALL, [text])

    assert changes == []


def test_rejected_keys_are_not_used(store: Store, changes: list[str]) -> None:
    keys, uses = Keys(store), LastUses(store)
    text = keys.create(Role.VIEWER)
    keys.revoke(text.split("_")[1])
    with pytest.raises(Exception, match="valid API key"):
        KeyRing(store, uses=uses).authenticate(CALL, [text])
    uses.store_pending()

    assert changes == []


def test_what_waits_to_be_stored_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PENDING", 3)
    keys, uses = Keys(store), LastUses(store)
    ring = KeyRing(store, uses=uses)
    for _ in range(8):
        ring.authenticate(CALL, [keys.create(Role.VIEWER)])

    assert len(uses._pending) == 3  # noqa: SLF001


def test_the_task_stores_what_is_left_when_it_stops(store: Store) -> None:
    keys, uses = Keys(store), LastUses(store)
    text = keys.create(Role.VIEWER)
    task = LastUseTask(uses)
    task.start()
    KeyRing(store, uses=uses).authenticate(CALL, [text])
    task.stop()

    [key] = keys.list()
    assert key.last_use_time == START.replace(second=0)

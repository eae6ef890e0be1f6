"""What the store has of API keys, all at once, and which keys are remembered."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy import text as sql

from portal_server.catalog import keyring as module
from portal_server.domain import keys
from portal_server.domain.api_key import ApiKey
from portal_server.domain.calls import Call
from portal_server.domain.errors import Invalid, PortalError
from portal_server.domain.keys import Caller, Role
from portal_server.storage.store import Store
from tests.support.catalog import CALL
from tests.support.keys import Keys


def test_the_digests_of_valid_keys_are_listed_with_their_ids(store: Store) -> None:
    keyring = Keys(store, "the-key-of-the-settings")
    good, revoked = keyring.create(Role.VIEWER, ""), keyring.create(Role.ADMIN, "")
    keyring.revoke(keys.key_id_of(revoked) or "")

    callers = keyring.ring.known_digests()
    assert {digest: caller.key_id for digest, caller in callers.items()} == {
        keys.digest(good): keys.key_id_of(good),
        keys.digest("the-key-of-the-settings"): "settings",
    }
    assert Keys(store).ring.known_digests().keys() == {keys.digest(good)}


def test_a_valid_key_is_looked_up_again_after_a_second(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring = Keys(store)
    text = keyring.create(Role.VIEWER, "")
    looked_up: list[str] = []
    read = store.read_latest

    def counted(call: Call, work: Any) -> Any:
        looked_up.append("")
        return read(call, work)

    monkeypatch.setattr(store, "read_latest", counted)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    found = [keyring.authenticate(CALL, [text]) for _ in range(3)]
    often = len(looked_up)
    monkeypatch.setattr(time, "monotonic", lambda: now + module.REMEMBERED_S)
    keyring.authenticate(CALL, [text])

    assert found == [found[0]] * 3
    assert (often, len(looked_up)) == (1, 2)


def test_every_server_rejects_a_key_when_its_revocation_returns(store: Store) -> None:
    servers = [Keys(store), Keys(store)]
    text = Keys(store).create(Role.ADMIN, "")
    for server in servers:
        server.authenticate(CALL, [text])
    Keys(store).revoke(keys.key_id_of(text) or "")

    for server in servers:
        with pytest.raises(PortalError, match="valid API key"):
            server.authenticate(CALL, [text])


def test_keys_that_are_not_valid_are_not_remembered(store: Store) -> None:
    keyring = Keys(store)
    text = keyring.create(Role.ADMIN, "")
    for wrong in (text[:-1] + ("a" if text[-1] != "a" else "b"), "oap_x", ""):
        with pytest.raises(PortalError, match="valid API key"):
            keyring.authenticate(CALL, [wrong])

    assert not keyring.ring._remembered  # noqa: SLF001


def test_the_keys_that_are_remembered_are_bounded(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_REMEMBERED", 3)
    keyring = Keys(store)
    for _ in range(8):
        keyring.authenticate(CALL, [keyring.create(Role.VIEWER, "")])

    assert len(keyring.ring._remembered) <= 3  # noqa: SLF001


def lookups(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One item for each read of the store."""
    found: list[str] = []
    read = store.read_latest

    def counted(call: Call, work: Any) -> Any:
        found.append("")
        return read(call, work)

    monkeypatch.setattr(store, "read_latest", counted)
    return found


def test_a_mistyped_key_is_rejected_without_a_lookup(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring = Keys(store)
    text = keyring.create(Role.ADMIN)
    reads = lookups(store, monkeypatch)
    for place in (5, 13, 20, 44, 50):
        wrong = text[:place] + ("x" if text[place] != "x" else "y") + text[place + 1 :]
        with pytest.raises(PortalError, match="valid API key"):
            keyring.authenticate(CALL, [wrong])

    assert reads == []
    keyring.authenticate(CALL, [text])
    assert len(reads) == 1


def test_a_key_of_an_earlier_version_is_valid_until_it_is_revoked(store: Store) -> None:
    keyring = Keys(store)
    text = "oap_oldoldOL_" + "a" * 32
    now = datetime.now(UTC)
    key = ApiKey(
        id="oldoldOL",
        digest=keys.digest(text),
        role=Role.ADMIN,
        create_time=now,
        update_time=now,
    )
    store.write(CALL, lambda tx: tx.api_keys.add(key))

    assert keyring.authenticate(CALL, [text]) == Caller("oldoldOL", Role.ADMIN)
    keyring.revoke("oldoldOL")
    with pytest.raises(PortalError, match="valid API key"):
        keyring.authenticate(CALL, [text])


def test_a_key_is_rejected_when_it_expires_even_if_it_is_cached(store: Store) -> None:
    keyring = Keys(store)
    end = datetime.now(UTC) + timedelta(seconds=0.6)
    text = keyring.create(Role.VIEWER, expire_time=end)

    assert keyring.authenticate(CALL, [text]).expire_time == end
    while datetime.now(UTC) < end:
        time.sleep(0.05)
    with pytest.raises(PortalError, match="valid API key"):
        keyring.authenticate(CALL, [text])
    assert keyring.ring.known_digests() == {}


def test_a_key_cannot_be_created_expired(store: Store) -> None:
    with pytest.raises(Invalid) as error:
        Keys(store).create(Role.VIEWER, expire_time=datetime.now(UTC) - timedelta(seconds=1))

    [violation] = error.value.violations
    assert (violation.field, violation.message) == ("expire_time", "must be in the future")


@pytest.mark.parametrize("role", Role)
def test_the_previous_version_reads_a_role_that_it_knows_and_no_wider_one(
    store: Store, engine: Engine, role: Role
) -> None:
    keyring = Keys(store)
    keyring.create(role)
    with engine.connect() as connection:
        read = connection.scalar(sql("SELECT role FROM api_key"))

    assert [key.role for key in keyring.list()] == [role]
    assert read == ("admin" if role is Role.ADMIN else "viewer")

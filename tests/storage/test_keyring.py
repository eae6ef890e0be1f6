"""What the store has of API keys, all at once, and which keys are remembered."""

import time
from typing import Any

import pytest

from portal_server.catalog import keyring as module
from portal_server.catalog.keyring import KeyRing
from portal_server.domain import keys
from portal_server.domain.calls import Call
from portal_server.domain.errors import PortalError
from portal_server.domain.keys import Role
from portal_server.storage.store import Store
from tests.support.catalog import CALL


def test_the_digests_of_valid_keys_are_listed_with_their_ids(store: Store) -> None:
    keyring = KeyRing(store, "the-key-of-the-settings")
    good, revoked = keyring.create(Role.VIEWER, ""), keyring.create(Role.ADMIN, "")
    keyring.revoke(keys.key_id_of(revoked) or "")

    assert keyring.known_digests() == {
        keys.digest(good): keys.key_id_of(good),
        keys.digest("the-key-of-the-settings"): "settings",
    }
    assert KeyRing(store).known_digests() == {keys.digest(good): keys.key_id_of(good)}


def test_a_valid_key_is_looked_up_again_after_a_second(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring = KeyRing(store)
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
    servers = [KeyRing(store), KeyRing(store)]
    text = KeyRing(store).create(Role.ADMIN, "")
    for server in servers:
        server.authenticate(CALL, [text])
    KeyRing(store).revoke(keys.key_id_of(text) or "")

    for server in servers:
        with pytest.raises(PortalError, match="valid API key"):
            server.authenticate(CALL, [text])


def test_keys_that_are_not_valid_are_not_remembered(store: Store) -> None:
    keyring = KeyRing(store)
    text = keyring.create(Role.ADMIN, "")
    for wrong in (text[:-1] + ("a" if text[-1] != "a" else "b"), "oap_x", ""):
        with pytest.raises(PortalError, match="valid API key"):
            keyring.authenticate(CALL, [wrong])

    assert not keyring._remembered  # noqa: SLF001


def test_the_keys_that_are_remembered_are_bounded(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_REMEMBERED", 3)
    keyring = KeyRing(store)
    for _ in range(8):
        keyring.authenticate(CALL, [keyring.create(Role.VIEWER, "")])

    assert len(keyring._remembered) <= 3  # noqa: SLF001

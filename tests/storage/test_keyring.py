"""What the store has of API keys, all at once."""

from portal_server.catalog.keyring import KeyRing
from portal_server.domain import keys
from portal_server.domain.keys import Role
from portal_server.storage.store import Store


def test_the_digests_of_valid_keys_are_listed_with_their_ids(store: Store) -> None:
    keyring = KeyRing(store, "the-key-of-the-settings")
    good, revoked = keyring.create(Role.VIEWER, ""), keyring.create(Role.ADMIN, "")
    keyring.revoke(keys.key_id_of(revoked) or "")

    assert keyring.known_digests() == {
        keys.digest(good): keys.key_id_of(good),
        keys.digest("the-key-of-the-settings"): "settings",
    }
    assert KeyRing(store).known_digests() == {keys.digest(good): keys.key_id_of(good)}

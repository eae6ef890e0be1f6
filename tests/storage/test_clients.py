"""The rows of clients and leases, on both databases."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from sqlalchemy import Engine, text

from portal_server.domain.client import Client, ClientState, Difference
from portal_server.domain.client_type import ClientTypeDraft, GrantType, ResponseType
from portal_server.domain.errors import (
    AlreadyExists,
    NotFound,
    PortalError,
    Precondition,
    Resource,
)
from portal_server.domain.fields import Sealed
from portal_server.domain.identity import new_uid
from portal_server.domain.lists import Comparison, Condition, PageRange
from portal_server.domain.provider import ProviderDraft, ProviderType
from portal_server.storage.encryption import SecretColumn
from portal_server.storage.sql.failures import StorageBug
from portal_server.storage.store import Store, Transaction
from tests.support.catalog import CALL, VAULT, Catalog

NOW = datetime(2026, 11, 24, 12, 0, 0, 123456, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ALL = PageRange(limit=100)


@pytest.fixture
def parents(catalog: Catalog) -> tuple[int, int]:
    """A provider and a client type of it."""
    return new_parents(catalog)


def new_parents(catalog: Catalog) -> tuple[int, int]:
    provider = catalog.providers.create(
        CALL, ProviderDraft(name="p", type=ProviderType.OTHER, well_known_uri="https://idp.test/x")
    )
    draft = ClientTypeDraft(
        name="c", response_types=(ResponseType.CODE,), grant_types=(GrantType.PKCE,)
    )
    return provider.id, catalog.client_types.create(CALL, provider.id, draft).id


def registering(parents: tuple[int, int], name: str = "shop") -> Client:
    return Client(
        id=0,
        uid=new_uid(),
        provider_id=parents[0],
        client_type_id=parents[1],
        name=name,
        redirect_uris=("https://shop.test/b", "https://shop.test/a"),
        scope="openid",
        labels={"app": "größe"},
        state=ClientState.REGISTERING,
        state_time=NOW,
        requested={"client_name": name, "grant_types": ["code"], "nested": {"a": [1, None]}},
        due_time=NOW + MINUTE,
        create_time=NOW,
        update_time=NOW,
    )


def active(client: Client) -> Client:
    return replace(
        client,
        name="renamed",
        redirect_uris=(),
        scope="",
        labels={},
        state=ClientState.ACTIVE,
        state_time=NOW + MINUTE,
        message="ok",
        client_id="the-id",
        client_id_issue_time=NOW,
        client_secret_expire_time=NOW + MINUTE,
        client_secret="the-secret",  # noqa: S106
        client_secret_digest="the-digest",  # noqa: S106
        client_secret_available_time=NOW + MINUTE,
        requested={},
        registered={"client_id": "the-id"},
        differences=(Difference(field="scope", asked='"a"', granted="", wider=False),),
        registration_client_uri="https://idp.test/clients/1",
        registration_access_token="the-token",  # noqa: S106
        verify_time=NOW,
        due_time=None,
        attempts=3,
        update_time=NOW + MINUTE,
    )


def add(store: Store, *clients: Client) -> list[Client]:
    def add_one(client: Client) -> Client:
        return store.write(CALL, lambda tx: tx.clients.add(client), Resource.CLIENT)

    return list(map(add_one, clients))


def get(store: Store, client: Client) -> Client:
    return store.read_latest(CALL, lambda tx: tx.clients.get(client.provider_id, client.id))


def test_what_is_added_is_what_is_read(store: Store, parents: tuple[int, int]) -> None:
    given = registering(parents)
    [added] = add(store, given)

    assert added == replace(given, id=added.id)
    assert added.id > 0
    assert get(store, added) == added
    read = store.read_latest(CALL, lambda tx: tx.clients.get(parents[0], given.uid.upper()))
    assert read == added


def test_every_field_that_can_change_is_saved(store: Store, parents: tuple[int, int]) -> None:
    [added] = add(store, registering(parents))
    saved = store.write(CALL, lambda tx: tx.clients.save(active(added)))
    unchanged = {
        field.name
        for field in fields(Client)
        if getattr(saved, field.name) == getattr(added, field.name)
    }

    assert get(store, added) == saved
    assert unchanged == {"id", "uid", "provider_id", "client_type_id", "create_time"}


def test_many_clients_of_one_transaction_are_added_together(
    store: Store, parents: tuple[int, int]
) -> None:
    given = [active(registering(parents)) for _ in range(40)]
    with ThreadPoolExecutor(8) as pool:
        added = [clients[0] for clients in pool.map(lambda one: add(store, one), given)]
    opened = {
        VAULT.open(SecretColumn.CLIENT_TOKEN, c.uid, c.registration_access_token) for c in added
    }

    assert [get(store, client) for client in added] == added
    assert opened == {"the-token"}


def test_the_secrets_of_a_client_are_encrypted(
    engine: Engine, store: Store, parents: tuple[int, int]
) -> None:
    [added] = add(store, active(registering(parents)))
    with engine.connect() as connection:
        columns = text(
            "SELECT client_secret, client_secret_digest, registration_access_token FROM client"
        )
        row = connection.execute(columns).one()
    read = get(store, added)
    again = store.write(CALL, lambda tx: tx.clients.save(replace(read, message="m")))

    assert all(secret.startswith("enc:v1:") for secret in row)
    assert isinstance(read.client_secret, Sealed)
    assert VAULT.open(SecretColumn.CLIENT_SECRET, read.uid, read.client_secret) == "the-secret"
    assert again.client_secret == read.client_secret == added.client_secret
    redacted = get(store, added).redacted()
    assert [redacted.client_secret, redacted.registration_access_token] == ["set", "set"]


def test_without_a_key_a_client_is_stored_without_secrets_only(
    engine: Engine, catalog: Catalog
) -> None:
    parents = new_parents(catalog)
    store = Store(engine)
    [added] = add(store, registering(parents))
    with pytest.raises(Precondition):
        store.write(CALL, lambda tx: tx.clients.save(active(added)))

    assert get(store, added) == added


def test_a_client_is_found_at_its_provider_only(store: Store, catalog: Catalog) -> None:
    mine, other = new_parents(catalog), new_parents(catalog)
    [added] = add(store, registering(mine))

    def read(tx: Transaction, ref: int | str) -> Client:
        return tx.clients.get(other[0], ref)

    for ref in (added.id, added.uid, 2**40, new_uid()):
        with pytest.raises(NotFound, match=f"client {ref} not found"):
            store.read_latest(CALL, partial(read, ref=ref))


def test_a_uid_in_use_is_rejected(store: Store, parents: tuple[int, int]) -> None:
    [added] = add(store, registering(parents))
    store.read_latest(CALL, lambda tx: tx.clients.require_unused(new_uid()))
    with pytest.raises(AlreadyExists):
        store.read_latest(CALL, lambda tx: tx.clients.require_unused(added.uid))


def test_lists_are_of_a_provider_or_of_one_client_type(store: Store, catalog: Catalog) -> None:
    first = new_parents(catalog)
    draft = ClientTypeDraft(
        name="c", response_types=(ResponseType.CODE,), grant_types=(GrantType.PKCE,)
    )
    second = first[0], catalog.client_types.create(CALL, first[0], draft).id
    other = new_parents(catalog)
    added = add(
        store, *(registering(of, f"n{i}") for i, of in enumerate([first, second, other] * 3))
    )
    store.write(CALL, lambda tx: tx.clients.save(active(added[0])))

    def names(of: tuple[int, int | None], *where: Condition, part: PageRange = ALL) -> list[str]:
        found = store.read_latest(CALL, lambda tx: tx.clients.list(*of, where, part)).items
        assert [client.id for client in found] == sorted(client.id for client in found)
        return [client.name for client in found]

    is_active = Condition("state", Comparison.EQUALS, "active")
    assert names((first[0], None)) == ["renamed", "n1", "n3", "n4", "n6", "n7"]
    assert names(first) == ["renamed", "n3", "n6"]
    assert names(second) == ["n1", "n4", "n7"]
    assert names((other[0], second[1])) == []
    assert names(first, is_active) == ["renamed"]
    assert names((first[0], None), Condition("client_id", Comparison.EQUALS, "the-id")) == [
        "renamed"
    ]
    assert names(first, Condition("name", Comparison.HAS, "6")) == ["n6"]
    assert names(first, part=PageRange(limit=1, after=added[0].id)) == ["n3"]
    assert names(first, part=PageRange(limit=5, offset=2)) == ["n6"]


def test_what_is_in_use_is_counted_and_named(store: Store, catalog: Catalog) -> None:
    used, unused = new_parents(catalog), new_parents(catalog)
    add(store, *(registering(used, f"n{number}") for number in range(5)))

    def in_use(provider_id: int, client_type_id: int | None) -> tuple[int, list[str]]:
        count, names = store.read_latest(
            CALL, lambda tx: tx.clients.in_use(provider_id, client_type_id, 2)
        )
        return count, list(names)

    assert in_use(used[0], None) == in_use(*used) == (5, ["n0", "n1"])
    assert in_use(unused[0], None) == in_use(*unused) == (0, [])
    assert in_use(used[0], unused[1]) == (0, [])


def test_what_has_clients_is_not_deleted(store: Store, catalog: Catalog) -> None:
    parents = new_parents(catalog)
    [added] = add(store, registering(parents))
    with pytest.raises((PortalError, StorageBug)):
        store.write(CALL, lambda tx: tx.providers.remove(parents[0]))
    with pytest.raises((PortalError, StorageBug)):
        store.write(CALL, lambda tx: tx.client_types.remove(*parents))
    kept = get(store, added)
    store.write(CALL, lambda tx: tx.clients.remove(added.id))
    catalog.providers.delete(CALL, parents[0])

    assert kept == added


def test_a_client_of_a_client_type_that_is_gone_is_not_added(
    store: Store, catalog: Catalog
) -> None:
    parents = new_parents(catalog)
    catalog.client_types.delete(CALL, *parents)
    with pytest.raises((PortalError, StorageBug)):
        add(store, registering(parents))


def test_a_client_that_was_removed_is_not_saved(store: Store, parents: tuple[int, int]) -> None:
    [added] = add(store, registering(parents))
    store.write(CALL, lambda tx: tx.clients.remove(added.id))
    with pytest.raises(NotFound):
        store.write(CALL, lambda tx: tx.clients.save(active(added)))


def test_due_clients_come_in_the_order_of_their_times(
    store: Store, parents: tuple[int, int]
) -> None:
    times = [NOW + 2 * MINUTE, None, NOW, NOW + MINUTE, NOW + 3 * MINUTE]
    add(
        store,
        *(
            replace(registering(parents, str(number)), due_time=time)
            for number, time in enumerate(times)
        ),
    )

    def due(now: datetime, limit: int = 10) -> list[str]:
        found = store.read_latest(CALL, lambda tx: tx.clients.due(now, limit))
        return [client.name for client in found]

    assert due(NOW - timedelta(microseconds=1)) == []
    assert due(NOW) == ["2"]
    assert due(NOW + 2 * MINUTE) == ["2", "3", "0"]
    assert due(NOW + 9 * MINUTE, limit=2) == ["2", "3"]


# Leases


def acquire(store: Store, holder: str, now: datetime, until: datetime) -> bool:
    return store.write(CALL, lambda tx: tx.leases.acquire("reconciler", holder, now, until))


def test_one_holder_has_a_lease_at_a_time(store: Store) -> None:
    assert acquire(store, "a", NOW, NOW + MINUTE)
    assert not acquire(store, "b", NOW, NOW + MINUTE)
    assert not acquire(store, "b", NOW + MINUTE - timedelta(microseconds=1), NOW + 2 * MINUTE)
    assert acquire(store, "b", NOW + MINUTE, NOW + 2 * MINUTE)
    assert not acquire(store, "a", NOW + MINUTE, NOW + 2 * MINUTE)


def test_a_lease_of_a_clock_that_was_set_back_is_ignored(store: Store) -> None:
    wrong = NOW + 60 * MINUTE
    assert acquire(store, "a", wrong, wrong + MINUTE)
    assert acquire(store, "b", NOW, NOW + MINUTE)
    # The clocks of servers may differ by less than the time of a lease.
    ahead = NOW + 0.9 * MINUTE
    assert acquire(store, "b", ahead, ahead + MINUTE)
    assert not acquire(store, "c", NOW, NOW + MINUTE)


def test_a_holder_renews_its_lease(store: Store) -> None:
    assert acquire(store, "a", NOW, NOW + MINUTE)
    assert acquire(store, "a", NOW, NOW + 3 * MINUTE)
    assert not acquire(store, "b", NOW + 2 * MINUTE, NOW + 3 * MINUTE)


def test_only_its_holder_releases_a_lease(store: Store) -> None:
    assert acquire(store, "a", NOW, NOW + MINUTE)
    store.write(CALL, lambda tx: tx.leases.release("reconciler", "b"))
    assert not acquire(store, "b", NOW, NOW + MINUTE)
    store.write(CALL, lambda tx: tx.leases.release("reconciler", "a"))
    assert acquire(store, "b", NOW, NOW + MINUTE)


def test_of_many_servers_one_gets_the_lease(engine: Engine) -> None:
    stores = [Store(engine) for _ in range(4)]
    with ThreadPoolExecutor(16) as pool:
        got = list(
            pool.map(
                lambda number: acquire(stores[number % 4], str(number % 4), NOW, NOW + MINUTE),
                range(64),
            )
        )

    assert sorted(got) == [False] * 48 + [True] * 16

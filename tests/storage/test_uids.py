"""Uids: in the order of time, unique, and a way to find a resource."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, text

from portal_server.domain.client_type import ClientTypeDraft, GrantType, ResponseType
from portal_server.domain.errors import AlreadyExists, Invalid, NotFound, PortalError, Rule
from portal_server.domain.identity import new_uid
from portal_server.domain.lists import PageRange
from portal_server.domain.provider import ProviderDraft, ProviderType
from portal_server.storage.sql.engine import open_engine, parse_url
from portal_server.storage.sql.migrations import migrate
from portal_server.storage.store import Store
from tests.support.catalog import CALL, Catalog

PROVIDER = ProviderDraft(name="p", type=ProviderType.OTHER, well_known_uri="https://idp.test/x")
CLIENT_TYPE = ClientTypeDraft(
    name="c", response_types=(ResponseType.CODE,), grant_types=(GrantType.PKCE,)
)
UID = "0193b1a6-8a54-4f3e-9c1d-2b7a4e5f6a7b"


def test_a_new_uid_is_a_uuid_of_version_7_with_the_time() -> None:
    before = time.time_ns() // 1_000_000
    uids = [UUID(new_uid()) for _ in range(100)]
    after = time.time_ns() // 1_000_000

    assert {(uid.version, uid.variant) for uid in uids} == {(7, "specified in RFC 4122")}
    assert all(before <= uid.int >> 80 <= after for uid in uids)
    assert len(set(uids)) == 100


def test_a_resource_without_a_given_uid_gets_a_new_one_and_is_found_by_it(
    catalog: Catalog,
) -> None:
    provider = catalog.providers.create(CALL, PROVIDER)
    client_type = catalog.client_types.create(CALL, provider.id, CLIENT_TYPE)

    assert UUID(provider.uid).version == UUID(client_type.uid).version == 7
    assert catalog.providers.get(CALL, provider.uid).id == provider.id
    assert catalog.client_types.get(CALL, provider.id, client_type.uid).id == client_type.id


@pytest.mark.parametrize("given", [UID, UID.upper()])
def test_a_given_uid_is_kept_in_lower_case(catalog: Catalog, given: str) -> None:
    provider = catalog.providers.create(CALL, PROVIDER, given)
    client_type = catalog.client_types.create(CALL, provider.id, CLIENT_TYPE, given)

    assert provider.uid == client_type.uid == UID
    assert catalog.providers.get(CALL, given).id == provider.id
    assert catalog.client_types.get(CALL, provider.id, given).id == client_type.id


def test_a_uid_that_is_used_is_reported_and_nothing_is_stored(catalog: Catalog) -> None:
    provider = catalog.providers.create(CALL, PROVIDER, UID)
    other = catalog.providers.create(CALL, PROVIDER)
    catalog.client_types.create(CALL, provider.id, CLIENT_TYPE, UID)
    with pytest.raises(AlreadyExists, match=f"a provider with the uid {UID}"):
        catalog.providers.create(CALL, PROVIDER, UID)
    with pytest.raises(AlreadyExists, match=f"a client type with the uid {UID}"):
        catalog.client_types.create(CALL, other.id, CLIENT_TYPE, UID)

    rows = PageRange(limit=9)
    assert catalog.providers.list(CALL, (), rows).items == [provider, other]
    assert catalog.client_types.list(CALL, other.id, (), rows).items == []


def test_a_uid_can_be_used_again_after_a_delete(catalog: Catalog) -> None:
    first = catalog.providers.create(CALL, PROVIDER, UID)
    catalog.providers.delete(CALL, first.id)
    second = catalog.providers.create(CALL, PROVIDER, UID)

    assert (second.uid, catalog.providers.get(CALL, UID).id) == (UID, second.id)


@pytest.mark.parametrize("given", ["", "7", UID + "0", UID.replace("-", ""), "{" + UID + "}"])
def test_a_uid_that_is_not_a_uuid_is_reported_with_all_other_violations(
    catalog: Catalog, given: str
) -> None:
    provider_id = catalog.providers.create(CALL, PROVIDER).id
    with pytest.raises(Invalid) as of_provider:
        catalog.providers.create(CALL, replace(PROVIDER, name=""), given)
    with pytest.raises(Invalid) as of_client_type:
        catalog.client_types.create(CALL, provider_id, replace(CLIENT_TYPE, name=""), given)
    with pytest.raises(Invalid) as without_provider:
        catalog.client_types.create(CALL, 0, CLIENT_TYPE, given)

    for error in (of_provider, of_client_type):
        uid, name = error.value.violations
        assert (uid.field, uid.rule, name.field) == ("uid", Rule.MALFORMED, "name")
    assert [v.field for v in without_provider.value.violations] == ["provider_id", "uid"]


@pytest.mark.parametrize("given", ["", "x", "0", "5e33b5df-2005-4987-a70e-a5fda66b556b"])
def test_an_unknown_uid_is_not_found(catalog: Catalog, given: str) -> None:
    provider_id = catalog.providers.create(CALL, PROVIDER).id
    with pytest.raises(NotFound, match=f"provider {given} not found"):
        catalog.providers.get(CALL, given)
    with pytest.raises(NotFound, match=f"client type {given} not found"):
        catalog.client_types.get(CALL, provider_id, given)


def test_a_client_type_is_not_found_at_another_provider(catalog: Catalog) -> None:
    owner, other = (catalog.providers.create(CALL, PROVIDER) for _ in range(2))
    client_type = catalog.client_types.create(CALL, owner.id, CLIENT_TYPE)
    with pytest.raises(NotFound):
        catalog.client_types.get(CALL, other.id, client_type.uid)


def test_of_many_concurrent_creates_with_one_uid_one_succeeds(engine: Engine) -> None:
    # Two stores are two servers: only the database knows the rows of both.
    servers = [Catalog(Store(engine)), Catalog(Store(engine))]
    provider_id = servers[0].providers.create(CALL, PROVIDER).id
    uids = [new_uid() for _ in range(8)]

    def create(number: int) -> str:
        client_types = servers[number % 2].client_types
        try:
            client_types.create(CALL, provider_id, CLIENT_TYPE, uids[number // 8])
        except PortalError as error:
            return error.reason
        return "created"

    with ThreadPoolExecutor(16) as pool:
        ends = list(pool.map(create, range(64)))
    stored = servers[0].client_types.list(CALL, provider_id, (), PageRange(limit=99)).items

    assert sorted(ends) == ["ALREADY_EXISTS"] * 56 + ["created"] * 8
    assert sorted(found.uid for found in stored) == sorted(uids)


def test_rows_of_the_previous_version_are_found_by_their_uids(empty_url: str) -> None:
    engine = open_engine(parse_url(empty_url))
    migrate(engine, "0003")
    uid = str(uuid4())
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO provider (uid, name, type, well_known_uri, tls_insecure_skip_verify,"
                " registration_access_token, create_time, update_time)"
                " VALUES (:uid, 'p', 'other', 'https://idp.test/x', :skip, '', :now, :now)"
            ),
            {"uid": uid, "skip": False, "now": "2026-11-24 12:00:00.000001+00:00"},
        )
    migrate(engine)
    catalog = Catalog(Store(engine))
    id_ = catalog.providers.get(CALL, uid).id

    assert catalog.providers.get(CALL, id_).uid == uid
    engine.dispose()

"""Ids: none exceeds 32 bits, and groups reserve no more than they need."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import Engine, text

from portal_server.catalog.updates import Change
from portal_server.domain.client_type import ClientTypeDraft, GrantType, ResponseType
from portal_server.domain.errors import PortalError, Precondition
from portal_server.domain.identity import MAX_ID
from portal_server.domain.lists import PageRange
from portal_server.domain.provider import ProviderDraft, ProviderType
from tests.support.catalog import CALL, Catalog

PROVIDER = ProviderDraft(name="p", type=ProviderType.OTHER, well_known_uri="https://idp.test/x")
CLIENT_TYPE = ClientTypeDraft(
    name="c", response_types=(ResponseType.CODE,), grant_types=(GrantType.PASSWORD,)
)


def set_last_id(engine: Engine, table: str, last: int) -> None:
    statement = {
        "sqlite": f"UPDATE sqlite_sequence SET seq = {last} WHERE name = '{table}'",  # noqa: S608
        "postgresql": f"SELECT setval('{table}_id_seq', {last})",
    }[engine.dialect.name]
    with engine.begin() as connection:
        connection.execute(text(statement))


def outcome(catalog: Catalog, provider_id: int) -> int | str:
    try:
        return catalog.client_types.create(CALL, provider_id, CLIENT_TYPE).id
    except PortalError as error:
        return error.reason


def test_a_create_past_the_last_id_is_rejected_and_stores_nothing(
    catalog: Catalog, engine: Engine
) -> None:
    provider = catalog.providers.create(CALL, PROVIDER)
    catalog.client_types.create(CALL, provider.id, CLIENT_TYPE)
    set_last_id(engine, "client_type", MAX_ID - 1)
    last = catalog.client_types.create(CALL, provider.id, CLIENT_TYPE)

    for _ in range(2):
        with pytest.raises(Precondition, match="all ids up to 2147483647 are used") as error:
            catalog.client_types.create(CALL, provider.id, CLIENT_TYPE)
        assert error.value.reason == "IDS_EXHAUSTED"
    client_types = catalog.providers.get_detail(CALL, provider.id).client_types

    assert last.id == MAX_ID
    assert [found.id for found in client_types][1:] == [MAX_ID]
    assert len(catalog.client_types.list(CALL, provider.id, (), PageRange(limit=9)).items) == 2


def test_a_provider_past_the_last_id_is_rejected(catalog: Catalog, engine: Engine) -> None:
    catalog.providers.create(CALL, PROVIDER)
    set_last_id(engine, "provider", MAX_ID)
    with pytest.raises(Precondition, match="all ids up to 2147483647 are used"):
        catalog.providers.create(CALL, PROVIDER)

    assert len(catalog.providers.list(CALL, (), PageRange(limit=9)).items) == 1


def test_creates_that_are_rejected_for_lack_of_ids_do_not_fail_other_writes(
    catalog: Catalog, engine: Engine
) -> None:
    provider = catalog.providers.create(CALL, PROVIDER)
    first = catalog.client_types.create(CALL, provider.id, CLIENT_TYPE)
    set_last_id(engine, "client_type", MAX_ID)

    def call(number: int) -> int | str:
        if number % 2:
            return outcome(catalog, provider.id)
        change = Change(replace(CLIENT_TYPE, name=f"n{number}"), {"name"})
        return catalog.client_types.update(CALL, provider.id, first.id, change).id

    with ThreadPoolExecutor(16) as pool:
        ends = list(pool.map(call, range(64)))

    assert set(ends[1::2]) == {"IDS_EXHAUSTED"}
    assert set(ends[::2]) == {first.id}


def test_creates_among_many_updates_use_about_one_id_each(catalog: Catalog) -> None:
    provider = catalog.providers.create(CALL, PROVIDER)
    first = catalog.client_types.create(CALL, provider.id, CLIENT_TYPE)

    def call(number: int) -> object:
        if number % 10 == 0:
            return catalog.client_types.create(CALL, provider.id, CLIENT_TYPE)
        change = Change(replace(CLIENT_TYPE, name=f"n{number}"), {"name"})
        return catalog.client_types.update(CALL, provider.id, first.id, change)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(call, range(600)))
    last = catalog.client_types.create(CALL, provider.id, CLIENT_TYPE)

    assert 61 <= last.id - first.id <= 66

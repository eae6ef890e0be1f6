"""Providers with thousands of client types: returned whole up to a bound."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import pytest
from sqlalchemy import Engine, insert

from portal_server.catalog import provider_details
from portal_server.catalog.updates import Change
from portal_server.domain.errors import Exhausted, NotFound, Precondition
from portal_server.domain.provider import ProviderDraft, ProviderType
from portal_server.storage.rows.client_types import ClientTypeRow
from tests.support.catalog import CALL, Catalog

PROVIDER = ProviderDraft(name="p", type=ProviderType.OTHER, well_known_uri="https://idp.test/x")
RENAMED = Change(ProviderDraft(name="new"), {"name"})


@pytest.fixture(autouse=True)
def bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider_details, "LARGE", 10)
    monkeypatch.setattr(provider_details, "MAX_CLIENT_TYPES", 30)
    monkeypatch.setattr(provider_details, "MAX_TEXT_BYTES", 1 << 20)
    monkeypatch.setattr(provider_details, "WAIT_S", 0.2)


def provider_with(
    catalog: Catalog, engine: Engine, client_types: int, description: str = ""
) -> int:
    provider = catalog.providers.create(CALL, PROVIDER)
    row = {
        "provider_id": provider.id,
        "name": "n",
        "description": description,
        "response_types": (),
        "grant_types": (),
        "create_time": provider.create_time,
        "update_time": provider.update_time,
    }
    with engine.begin() as connection:
        connection.execute(
            insert(ClientTypeRow), [{**row, "uid": str(uuid4())} for _ in range(client_types)]
        )
    return provider.id


@pytest.mark.parametrize("client_types", [1, 10, 11, 30])
def test_a_provider_within_the_bounds_is_returned_with_all_client_types(
    catalog: Catalog, engine: Engine, client_types: int
) -> None:
    id_ = provider_with(catalog, engine, client_types)
    updated = catalog.providers.update_detail(CALL, id_, RENAMED)
    found = catalog.providers.get_detail(CALL, id_)

    assert updated == found
    assert len(found.client_types) == client_types


@pytest.mark.parametrize(
    ("client_types", "description", "expected"),
    [(31, "", "more than 30 client types"), (20, "\N{GRINNING FACE}" * 20_000, "1 MiB of text")],
)
def test_past_a_bound_a_provider_is_neither_returned_nor_written(
    catalog: Catalog, engine: Engine, client_types: int, description: str, expected: str
) -> None:
    id_ = provider_with(catalog, engine, client_types, description)
    with pytest.raises(Precondition, match=expected) as of_get:
        catalog.providers.get_detail(CALL, id_)
    with pytest.raises(Precondition, match=expected) as of_put:
        catalog.providers.update_detail(CALL, id_, RENAMED)

    assert of_get.value.reason == of_put.value.reason == "PROVIDER_TOO_LARGE"
    assert "in pages" in str(of_get.value)
    assert catalog.providers.get(CALL, id_).name == "p"
    assert catalog.providers.update(CALL, id_, RENAMED).name == "new"


@contextmanager
def large_read(catalog: Catalog) -> Iterator[None]:
    with catalog.providers._details._pace.turn(1, 1):  # noqa: SLF001
        yield


def test_large_providers_are_read_one_at_a_time(catalog: Catalog, engine: Engine) -> None:
    large, small = (provider_with(catalog, engine, number) for number in (11, 10))
    with large_read(catalog):
        with pytest.raises(Exhausted) as error:
            catalog.providers.get_detail(CALL, large)
        with pytest.raises(Exhausted):
            catalog.providers.update_detail(CALL, large, RENAMED)
        assert catalog.providers.get(CALL, large).name == "p"
        assert len(catalog.providers.get_detail(CALL, small).client_types) == 10
    assert len(catalog.providers.get_detail(CALL, large).client_types) == 11

    assert error.value.reason == "TOO_MANY_LARGE_READS"


def test_a_large_read_waits_for_the_one_before(catalog: Catalog, engine: Engine) -> None:
    id_ = provider_with(catalog, engine, 11)
    begun = threading.Event()

    def hold() -> None:
        with large_read(catalog):
            begun.set()
            time.sleep(0.05)

    holder = threading.Thread(target=hold)
    holder.start()
    assert begun.wait(1)
    assert len(catalog.providers.get_detail(CALL, id_).client_types) == 11
    holder.join()


def test_a_pause_in_proportion_to_its_size_follows_a_large_read(
    catalog: Catalog, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider_details, "PAUSE_PER_CLIENT_TYPE_S", 0.01)
    id_ = provider_with(catalog, engine, 11)
    start = time.monotonic()
    catalog.providers.get_detail(CALL, id_)
    first = time.monotonic() - start
    catalog.providers.get_detail(CALL, id_)

    assert first < 0.1
    assert time.monotonic() - start > 0.11


def test_a_provider_that_is_not_there_is_not_found(catalog: Catalog) -> None:
    with pytest.raises(NotFound):
        catalog.providers.update_detail(CALL, 7, RENAMED)
    with pytest.raises(NotFound):
        catalog.providers.get_detail(CALL, 7)

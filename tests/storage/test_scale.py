"""What a call costs does not grow with the table: it reads a bounded number of rows."""

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import Engine, func, insert, select, text

from portal_server.domain.client_type import ClientTypeDraft, GrantType, ResponseType
from portal_server.domain.errors import NotFound, PortalError
from portal_server.domain.lists import Comparison, Condition, PageRange
from portal_server.domain.provider import Provider, ProviderDraft, ProviderType
from portal_server.storage.rows.client_types import (
    TABLE,
    ClientTypeRow,
    ClientTypeRows,
    ClientTypeStatements,
)
from portal_server.storage.sql.engine import open_engine, parse_url
from portal_server.storage.store import Store
from tests.support.catalog import CALL, Catalog
from tests.support.databases import MIGRATED, new_sqlite
from tests.support.postgres import Postgres

PROVIDER = ProviderDraft(name="p", type=ProviderType.OTHER, well_known_uri="https://idp.test/x")
RARE = ClientTypeDraft(
    name="rare", response_types=(ResponseType.NONE,), grant_types=(GrantType.PASSWORD,)
)
ROWS = 20_000
INDEX = "ix_client_type_provider_id_id"


@dataclass(frozen=True)
class Crowd:
    """A provider with many client types before those of another."""

    engine: Engine
    provider_id: int
    last: int


def fill(engine: Engine, provider: Provider, count: int) -> None:
    """Add client types to a provider."""
    rows = [
        {
            "uid": f"{provider.id}-{number}",
            "provider_id": provider.id,
            "name": "n",
            "description": "",
            "response_types": (),
            "grant_types": (),
            "create_time": provider.create_time,
            "update_time": provider.create_time,
        }
        for number in range(count)
    ]
    with engine.begin() as connection:
        connection.execute(insert(ClientTypeRow), rows)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def crowd(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Crowd]:
    """A database of each kind in turn."""
    if request.param == "sqlite":
        url = new_sqlite(tmp_path_factory.mktemp("crowd") / "portal.db")
    else:
        cluster: Postgres = request.getfixturevalue("postgres")
        url = cluster.new_database("crowd", MIGRATED)
    engine = open_engine(parse_url(url))
    catalog = Catalog(Store(engine))
    first, second = (catalog.providers.create(CALL, PROVIDER) for _ in range(2))
    for provider in (first, second):
        fill(engine, provider, ROWS)
    with engine.begin() as connection:
        connection.execute(text("ANALYZE"))
    yield Crowd(engine, first.id, ROWS)
    engine.dispose()


def explained(cursor: Any, how: str, statement: Any, values: dict[str, Any]) -> None:
    explaining = copy(statement)
    explaining.sql = f"{how} {statement.sql}"
    explaining.run(cursor, values)


@pytest.mark.parametrize("left", [ROWS, 51, 3, 0])
def test_a_page_reads_its_own_rows_by_the_index(crowd: Crowd, left: int) -> None:
    engine = crowd.engine
    statement: Any = ClientTypeStatements(engine.dialect).list.meeting(())
    values = {"parent": crowd.provider_id, "after": crowd.last - left, "limit": 51, "offset": 0}
    connection = engine.raw_connection()
    cursor = connection.cursor()
    if engine.dialect.name == "sqlite":
        explained(cursor, "EXPLAIN QUERY PLAN", statement, values)
        [(*_, plan)] = cursor.fetchall()

        assert plan.endswith(f"USING INDEX {INDEX} (provider_id=? AND id>?)")
    else:
        cursor.execute("SET plan_cache_mode = force_generic_plan")
        explained(cursor, "EXPLAIN (ANALYZE, FORMAT JSON)", statement, values)
        [[[plan]]] = cursor.fetchall()
        [scan] = plan["Plan"]["Plans"]

        assert (scan["Node Type"], scan["Index Name"]) == ("Index Scan", INDEX)
        assert "Rows Removed by Filter" not in scan
        assert scan["Actual Rows"] == min(left, 51)
    connection.close()


def test_a_filter_examines_a_bounded_number_of_rows_and_finds_all_over_several_pages(
    crowd: Crowd,
) -> None:
    catalog = Catalog(Store(crowd.engine))
    last = catalog.client_types.create(CALL, crowd.provider_id, RARE)
    where = [Condition("grant_types", Comparison.HAS, "password")]
    found: list[int] = []
    examined: list[int] = []
    after: int | None = 0
    while after is not None:
        rows = PageRange(limit=50, after=after)
        page = catalog.client_types.list(CALL, crowd.provider_id, where, rows)
        found += [item.id for item in page.items]
        examined.append(after)
        after = page.next_after
    catalog.client_types.delete(CALL, crowd.provider_id, last.id)

    assert found == [last.id]
    assert examined == [0, 10_000, 20_000]


def test_a_provider_with_many_client_types_is_deleted_in_pieces(crowd: Crowd) -> None:
    catalog = Catalog(Store(crowd.engine))
    provider = catalog.providers.create(CALL, PROVIDER)
    fill(crowd.engine, provider, 1_700)
    pieces: list[int] = []
    removed = ClientTypeRows.remove_unused

    def counted(rows: ClientTypeRows, provider_id: int, after: int, last: int) -> None:
        pieces.append(last - after)
        removed(rows, provider_id, after, last)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ClientTypeRows, "remove_unused", counted)
        with pytest.raises(PortalError, match="etag"):
            catalog.providers.delete(CALL, provider.id, ['"another"'])
        kept = len(catalog.client_types.list(CALL, provider.id, (), PageRange(limit=2_000)).items)
        catalog.providers.delete(CALL, provider.id, [provider.etag])

    assert kept == 1_700
    assert pieces[1:] == [150] * 10
    with pytest.raises(NotFound):
        catalog.providers.get(CALL, provider.id)
    with crowd.engine.connect() as connection:
        of = TABLE.c.provider_id == provider.id
        left = connection.scalar(select(func.count()).select_from(TABLE).where(of))
    assert left == 0

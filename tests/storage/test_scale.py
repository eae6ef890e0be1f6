"""A page costs the same wherever it is: it reads its own rows and no others."""

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import Engine, insert, text

from portal_server.domain.provider import ProviderDraft, ProviderType
from portal_server.storage.rows.client_types import ClientTypeRow, ClientTypeStatements
from portal_server.storage.sql.engine import open_engine, parse_url
from portal_server.storage.store import Store
from tests.support.catalog import CALL, Catalog
from tests.support.databases import MIGRATED, new_sqlite
from tests.support.postgres import Postgres

PROVIDER = ProviderDraft(name="p", type=ProviderType.OTHER, well_known_uri="https://idp.test/x")
ROWS = 20_000
INDEX = "ix_client_type_provider_id_id"


@dataclass(frozen=True)
class Crowd:
    """A provider with many client types before those of another."""

    engine: Engine
    provider_id: int
    last: int


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
    now = first.create_time
    rows = [
        {
            "uid": f"{provider.id}-{number}",
            "provider_id": provider.id,
            "name": "n",
            "description": "",
            "response_types": (),
            "grant_types": (),
            "create_time": now,
            "update_time": now,
        }
        for provider in (first, second)
        for number in range(ROWS)
    ]
    with engine.begin() as connection:
        connection.execute(insert(ClientTypeRow), rows)
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

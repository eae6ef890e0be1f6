"""How many servers a start runs."""

import os
from types import SimpleNamespace
from typing import Any

import pytest

from portal_server.run import workers
from portal_server.run.settings import Settings


@pytest.mark.parametrize(
    ("database", "cores", "set_to", "accepted", "started"),
    [
        pytest.param("sqlite", 16, None, 0, 1, id="SQLite has one writer"),
        pytest.param("sqlite", 2, 3, 0, 3, id="a setting, on SQLite"),
        pytest.param("postgresql", 1, None, 1000, 1, id="one core"),
        pytest.param("postgresql", 2, None, 1000, 2, id="two cores"),
        pytest.param("postgresql", 8, None, 1000, 4, id="a server for every two cores"),
        pytest.param("postgresql", 256, None, 10_000, 64, id="the most"),
        pytest.param("postgresql", 16, None, 97, 2, id="as PostgreSQL is by default"),
        pytest.param("postgresql", 16, None, 125, 3, id="what max_connections permits"),
        pytest.param("postgresql", 16, None, 20, 1, id="at least one"),
        pytest.param("postgresql", 2, 9, 20, 9, id="a setting, on PostgreSQL"),
    ],
)
def test_the_default_follows_the_cores_as_far_as_the_database_permits(  # noqa: PLR0913, PLR0917
    monkeypatch: pytest.MonkeyPatch,
    database: str,
    cores: int,
    set_to: int | None,
    accepted: int,
    started: int,
) -> None:
    engine: Any = SimpleNamespace(dialect=SimpleNamespace(name=database))
    settings = Settings.model_construct(workers=set_to)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    monkeypatch.setattr(workers, "max_connections", lambda _: accepted)

    assert workers.worker_count(settings, engine) == started

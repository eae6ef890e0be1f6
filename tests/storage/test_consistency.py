"""`portal check` finds what is wrong with a database, and nothing in a sound one."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, text

from portal_server.catalog.idempotency import unreadable
from portal_server.storage.consistency import problems
from portal_server.storage.encryption import KEY_BYTES, Vault, key_id
from portal_server.storage.sql.engine import open_engine, parse_url
from tests.support.catalog import KEY, VAULT
from tests.support.databases import new_sqlite
from tests.support.rows import fill


def found(engine: Engine, vault: Vault = VAULT) -> list[str]:
    return list(problems(engine, vault, {"answer": unreadable}))


@pytest.fixture
def filled(engine: Engine) -> Engine:
    """A sound database of each kind with rows in every table."""
    fill(engine)
    return engine


def execute(engine: Engine, *statements: str) -> None:
    with engine.connect() as connection:
        without_references(connection)
        for statement in statements:
            connection.execute(text(statement))
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA foreign_keys=ON")
    engine.dispose()


def without_references(connection: Connection) -> None:
    off = {
        "sqlite": "PRAGMA foreign_keys=OFF",
        "postgresql": "SET session_replication_role=replica",
    }
    connection.exec_driver_sql(off[connection.dialect.name])


def test_a_sound_database_has_no_problems(filled: Engine) -> None:
    assert found(filled) == []


def test_an_empty_database_has_no_problems(engine: Engine) -> None:
    assert found(engine) == []


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        (
            "DELETE FROM provider WHERE id = 1",
            "client_type.provider_id: 3 rows refer to a provider that does not exist, such as 1",
        ),
        (
            "DELETE FROM client_type WHERE id = 1",
            "client.client_type_id: 3 rows refer to a client_type that does not exist, such as 1",
        ),
        (
            "UPDATE client SET provider_id = 2 WHERE id = 3",
            "client: 1 rows have a client type of another provider, such as id 3",
        ),
        (
            "UPDATE provider SET type = 'auth0' WHERE id = 2",
            "provider 2: type has a value that this version does not know",
        ),
        (
            """UPDATE client_type SET grant_types = '["pkce", "magic"]' WHERE id = 2""",
            "client_type 2: grant_types has a value that this version does not know",
        ),
        (
            "UPDATE answer SET answer = fingerprint WHERE id = 1",
            "answer 1: the stored response cannot be read",
        ),
        (
            "UPDATE client SET registration_access_token = client_secret WHERE id = 1",
            "client.registration_access_token of ",
        ),
        (
            "UPDATE client SET client_secret = 'clear-token' WHERE id = 1",
            "client 1: client_secret is not encrypted: run `portal encryption rotate`",
        ),
        (
            "DROP INDEX ix_client_uid",
            "the schema differs from that of this version: add_index ix_client_uid",
        ),
        (
            "ALTER TABLE provider ADD COLUMN extra VARCHAR",
            "the schema differs from that of this version: remove_column provider.extra",
        ),
        (
            "UPDATE alembic_version SET version_num = '0004'",
            "the database has schema 0004, not",
        ),
        (
            "UPDATE alembic_version SET version_num = '9999'",
            "the database has schema 9999: check it with the version that has this schema",
        ),
    ],
)
def test_each_problem_is_reported(filled: Engine, statement: str, problem: str) -> None:
    execute(filled, statement)
    reported = found(filled)

    assert any(line.startswith(problem) for line in reported), reported
    assert len(reported) == 1 + problem.startswith("client_type.provider_id")
    assert "clear-token" not in "".join(reported)


def test_an_id_that_could_be_used_again_is_reported(filled: Engine) -> None:
    statements: dict[str, str] = {
        "sqlite": "UPDATE sqlite_sequence SET seq = 2 WHERE name = 'client'",
        "postgresql": "SELECT setval('client_id_seq', 2)",
    }
    execute(filled, statements[filled.dialect.name])

    assert found(filled) == ["client: the sequence of ids is at 2, below the largest id"]


def test_a_uid_that_two_rows_have_is_reported(filled: Engine) -> None:
    update = "UPDATE client_type SET uid = (SELECT uid FROM client_type WHERE id = 1)"
    execute(filled, "DROP INDEX ix_client_type_uid", update)
    missing, repeated = found(filled)

    assert "add_index ix_client_type_uid" in missing
    assert repeated.startswith("client_type: several rows have the uid ")


def test_secrets_of_another_key_are_counted(filled: Engine) -> None:
    other = bytes(KEY_BYTES)
    needed = f"3 secrets need the key {key_id(KEY)}, which is not given"

    assert found(filled, Vault([other])) == [
        f"provider.registration_access_token: {needed}",
        f"provider.credential_client_secret: {needed}",
        f"client.client_secret: {needed}",
        f"client.client_secret_digest: {needed}",
        f"client.registration_access_token: {needed}",
    ]
    assert found(filled, Vault([other, KEY])) == []


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "portal.db"
    engine = open_engine(parse_url(new_sqlite(path)))
    fill(engine, 300)
    engine.dispose()
    return path


def damage(path: Path, change: Callable[[bytearray], None]) -> None:
    data = bytearray(path.read_bytes())
    change(data)
    path.write_bytes(data)


def test_a_damaged_page_is_reported(file: Path) -> None:
    def overwrite(data: bytearray) -> None:
        # The last page is a leaf of a table or an index.
        data[-4096:-4000] = bytes(96)

    damage(file, overwrite)
    engine = open_engine(parse_url(f"sqlite:///{file}"))
    reported = found(engine)
    engine.dispose()

    assert reported == ["database disk image is malformed"]


def test_a_value_of_another_type_is_reported(tmp_path: Path) -> None:
    engine = open_engine(parse_url(new_sqlite(tmp_path / "portal.db")))
    fill(engine)
    execute(engine, "UPDATE client_type SET create_time = 'yesterday' WHERE id = 1")

    assert found(engine) == [
        "client_type 1: create_time has a value that this version does not know"
    ]
    engine.dispose()

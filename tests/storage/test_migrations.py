"""The schema: upgrades, downgrades, and which versions can run on it."""

import sqlite3
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from subprocess import PIPE, Popen

import psycopg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, event, inspect, text
from sqlmodel import SQLModel

from portal_server.domain.errors import DeadlineExceeded, Precondition
from portal_server.domain.identity import new_uid
from portal_server.domain.provider import Provider, ProviderDraft, ProviderType, check_provider
from portal_server.storage.encryption import SecretColumn, Vault
from portal_server.storage.rows.providers import ProviderRow
from portal_server.storage.sql import schema
from portal_server.storage.sql.engine import for_migrating, open_engine, parse_url
from portal_server.storage.sql.migrations import migrate
from portal_server.storage.sql.schema import SchemaMismatch, require_known
from portal_server.storage.store import Store
from tests.support.catalog import CALL, VAULT, Catalog

PROVIDER = ProviderDraft(name="p", type=ProviderType.OKTA, well_known_uri="https://idp.test/x")
OURS = {
    "provider",
    "client_type",
    "client",
    "answer",
    "api_key",
    "lease",
    "audit_event",
    "audit_seal",
}


@pytest.fixture
def empty(empty_url: str) -> Iterator[Engine]:
    engine = open_engine(parse_url(empty_url))
    yield engine
    engine.dispose()


def tables(engine: Engine) -> set[str]:
    return set(inspect(engine).get_table_names())


def write_revision(engine: Engine, revision: str) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :r"), {"r": revision})


def test_the_schema_goes_up_from_nothing_down_to_nothing_and_up_again(empty: Engine) -> None:
    migrate(empty)
    after_up = tables(empty)
    migrate(empty, "base")
    after_down = tables(empty)
    migrate(empty)

    assert after_up >= OURS
    assert after_down <= {"alembic_version"}
    assert tables(empty) == after_up
    require_known(empty)


def test_tables_that_were_created_twice_work(empty: Engine) -> None:
    migrate(empty)
    migrate(empty, "base")
    migrate(empty)
    catalog = Catalog(Store(empty))
    created = catalog.providers.create(CALL, PROVIDER)

    assert catalog.providers.get(CALL, created.id) == created


def test_migrating_again_changes_nothing(engine: Engine) -> None:
    catalog = Catalog(Store(engine))
    created = catalog.providers.create(CALL, PROVIDER)
    migrate(engine)

    assert catalog.providers.get(CALL, created.id) == created


def test_the_models_are_what_the_migrations_make(engine: Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = compare_metadata(context, SQLModel.metadata)

    assert ProviderRow.metadata is SQLModel.metadata
    assert set(SQLModel.metadata.tables) == OURS
    assert differences == []


def test_the_models_never_use_an_id_again_either() -> None:
    options = {
        name: table.dialect_options["sqlite"]["autoincrement"]
        for name, table in SQLModel.metadata.tables.items()
    }

    assert options == {
        "provider": True,
        "client_type": True,
        "client": True,
        "answer": True,
        "api_key": False,
        "lease": False,
        "audit_event": True,
        "audit_seal": False,
    }


def test_both_tables_of_resources_delete_by_the_database_itself(engine: Engine) -> None:
    [key] = inspect(engine).get_foreign_keys("client_type")

    assert key["referred_table"] == "provider"
    assert key["options"].get("ondelete") == "CASCADE"


def test_a_parent_of_a_client_is_not_deleted_by_the_database(engine: Engine) -> None:
    keys = inspect(engine).get_foreign_keys("client")

    assert {key["referred_table"] for key in keys} == {"provider", "client_type"}
    assert [key["options"].get("ondelete") for key in keys] == [None, None]


def columns_of(engine: Engine) -> dict[str, set[str]]:
    found = inspect(engine)
    return {
        table: {column["name"] for column in found.get_columns(table)}
        for table in found.get_table_names()
    }


def test_the_previous_version_can_insert_without_the_columns_that_a_migration_adds(
    empty: Engine,
) -> None:
    known: dict[str, set[str]] = {}
    for revision in schema.REVISIONS:
        migrate(empty, revision)
        columns = inspect(empty).get_columns
        required = {
            (table, column["name"])
            for table in known.keys() & tables(empty)
            for column in columns(table)
            if not column["nullable"] and column["default"] is None
        }
        before = {(table, name) for table, names in known.items() for name in names}

        assert required <= before, f"the migration {revision} adds columns without a default"
        known = columns_of(empty)


TOKENS = {1: "clear-token", 2: "", 3: "token of the third"}


def insert_as_the_previous_version(engine: Engine, tokens: dict[int, str]) -> dict[int, str]:
    """Insert providers with these tokens; returns their uids."""
    uids = {id_: new_uid() for id_ in tokens}
    with engine.begin() as connection:
        for id_, token in tokens.items():
            connection.execute(
                text(
                    "INSERT INTO provider (uid, name, type, well_known_uri,"
                    " tls_insecure_skip_verify, registration_access_token, create_time,"
                    " update_time) VALUES (:uid, :name, 'other', 'https://idp.test/x', :skip,"
                    " :token, :now, :now)"
                ),
                {
                    "uid": uids[id_],
                    "name": str(id_),
                    "skip": False,
                    "token": token,
                    "now": "2026-11-24 12:00:00.000001+00:00",
                },
            )
    return uids


def stored_tokens(engine: Engine) -> dict[str, str]:
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT uid, registration_access_token FROM provider"))
        return {row[0]: row[1] for row in rows}


def test_the_tokens_of_the_previous_version_are_encrypted(empty: Engine) -> None:
    migrate(empty, "0004")
    uids = insert_as_the_previous_version(empty, TOKENS)
    migrate(empty, seal=VAULT.seal)
    stored = stored_tokens(empty)
    store = Store(empty, VAULT)
    read = {id_: read_provider(store, uid) for id_, uid in uids.items()}

    assert [stored[uid].startswith("enc:v1:") for uid in uids.values()] == [True, False, True]
    assert stored[uids[2]] == ""
    assert {id_: token_of(provider) for id_, provider in read.items()} == TOKENS
    assert {provider.registration_endpoint for provider in read.values()} == {""}


def test_more_tokens_than_a_piece_are_encrypted(empty: Engine) -> None:
    migrate(empty, "0004")
    insert_as_the_previous_version(empty, {id_: f"token {id_}" for id_ in range(1, 2002)})
    migrate(empty, seal=VAULT.seal)
    stored = stored_tokens(empty)

    assert len(stored) == 2001
    assert all(token.startswith(VAULT.begins[0]) for token in stored.values())


def test_the_clear_text_is_not_in_the_file_after_the_migration(tmp_path: Path) -> None:
    engine = open_engine(parse_url(f"sqlite:///{tmp_path}/portal.db"))
    migrate(engine, "0004")
    insert_as_the_previous_version(engine, {1: "a-long-clear-token-of-before"})
    migrate(engine, seal=VAULT.seal)
    engine.dispose()

    assert b"clear-token-of-before" not in b"".join(f.read_bytes() for f in tmp_path.iterdir())


def test_a_migration_of_secrets_without_a_key_changes_nothing(empty: Engine) -> None:
    migrate(empty, "0004")
    insert_as_the_previous_version(empty, TOKENS)
    with pytest.raises(Precondition, match="no encryption key"):
        migrate(empty, seal=Vault().seal)

    assert sorted(stored_tokens(empty).values()) == sorted(TOKENS.values())
    assert "client" not in tables(empty)


def test_a_migration_without_secrets_needs_no_key(empty: Engine) -> None:
    migrate(empty, "0004")
    insert_as_the_previous_version(empty, {1: ""})
    migrate(empty, seal=Vault().seal)

    require_known(empty)


def test_a_second_upgrade_leaves_encrypted_tokens_as_they_are(empty: Engine) -> None:
    migrate(empty, "0004")
    insert_as_the_previous_version(empty, TOKENS)
    migrate(empty, seal=VAULT.seal)
    before = stored_tokens(empty)
    downgrade(empty, "0004")
    tables_before = tables(empty)
    migrate(empty, seal=VAULT.seal)

    assert "client" not in tables_before
    assert stored_tokens(empty) == before


def downgrade(engine: Engine, revision: str) -> None:
    """The downgrade that an operator runs with Alembic's own command."""
    with for_migrating(engine).connect() as connection:
        config = Config()
        config.set_main_option("script_location", str(schema.MIGRATIONS))
        config.attributes.update(connection=connection, timeout_s=60)
        command.downgrade(config, revision)


def test_a_server_of_the_previous_version_runs_on_this_schema(engine: Engine) -> None:
    store = Store(engine, VAULT)
    ours = store.write(
        CALL,
        lambda tx: tx.providers.add(
            check_provider(replace(PROVIDER, registration_access_token="ours")),  # noqa: S106
            new_uid(),
            datetime.now(UTC),
        ),
    )
    uids = insert_as_the_previous_version(engine, {1: "theirs"})
    # It writes all of its columns, the token as it has read it.
    with engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE provider SET name = 'new', registration_access_token = :token"
                " WHERE uid = :uid"
            ),
            {"token": stored_tokens(engine)[ours.uid], "uid": ours.uid},
        )
    mine, theirs = read_provider(store, ours.uid), read_provider(store, uids[1])

    assert (mine.name, token_of(mine)) == ("new", "ours")
    assert token_of(theirs) == "theirs"
    assert theirs.credential_type is None
    assert (theirs.ca_certificate, theirs.credential_client_id) == ("", "")
    assert theirs.credential_scope == ""


def read_provider(store: Store, uid: str) -> Provider:
    return store.read_latest(CALL, lambda tx: tx.providers.get(uid))


def token_of(provider: Provider) -> str:
    return VAULT.open(SecretColumn.PROVIDER_TOKEN, provider.uid, provider.registration_access_token)


def test_a_schema_of_a_newer_version_is_left_alone(engine: Engine) -> None:
    before = tables(engine)
    write_revision(engine, "9999")

    with pytest.raises(SchemaMismatch, match=r"schema 9999.* newer version"):
        migrate(engine)
    with pytest.raises(SchemaMismatch, match=r"schema 9999.* newer version"):
        migrate(engine, "base")
    with pytest.raises(SchemaMismatch, match="schema 9999"):
        require_known(engine)
    assert tables(engine) == before


def test_revisions_are_numbered_one_after_the_other() -> None:
    scripts = ScriptDirectory(str(schema.MIGRATIONS))
    numbers = [script.revision for script in scripts.walk_revisions()]

    assert numbers == [f"{number:04}" for number in range(len(numbers), 0, -1)]
    assert tuple(reversed(numbers)) == schema.REVISIONS


def test_a_schema_of_the_next_version_is_served_and_left_as_it_is(engine: Engine) -> None:
    next_ = f"{int(schema.HEAD) + 1:04}"
    before = tables(engine)
    write_revision(engine, next_)

    require_known(engine)
    migrate(engine)
    with pytest.raises(SchemaMismatch, match="newer version"):
        migrate(engine, "base")
    assert tables(engine) == before


def test_a_schema_two_versions_newer_is_rejected(engine: Engine) -> None:
    write_revision(engine, f"{int(schema.HEAD) + 2:04}")

    for checked in (require_known, migrate):
        with pytest.raises(SchemaMismatch, match="newer version"):
            checked(engine)


def test_an_older_schema_is_rejected_with_what_to_do(engine: Engine) -> None:
    write_revision(engine, f"{int(schema.HEAD) - 1:04}")

    with pytest.raises(SchemaMismatch, match=r"schema \d+, not \d+: run `portal migrate`"):
        require_known(engine)


@contextmanager
def another_migrator(engine: Engine) -> Iterator[None]:
    """Another process that migrates at the same time."""
    if engine.dialect.name == "sqlite":
        assert engine.url.database
        with closing(
            sqlite3.connect(engine.url.database, isolation_level=None, check_same_thread=False)
        ) as other:
            other.execute("BEGIN IMMEDIATE")
            yield
            other.execute("ROLLBACK")
    else:
        dsn = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(dsn) as other:
            other.execute("SELECT pg_advisory_xact_lock(7236010)")
            yield
            other.rollback()


def test_a_second_migrator_waits_longer_than_a_statement_of_a_call_may_take(empty: Engine) -> None:
    with empty.connect():  # the file and its mode are there
        pass
    with ThreadPoolExecutor(1) as pool:
        with another_migrator(empty):
            second = pool.submit(migrate, empty)
            time.sleep(10)
            waits = not second.done()
        second.result(20)
    with empty.connect() as connection:
        limit = {"sqlite": "PRAGMA busy_timeout", "postgresql": "SHOW lock_timeout"}
        after = connection.exec_driver_sql(limit[empty.dialect.name]).scalar_one()

    assert waits
    assert after in (5000, "5s")
    require_known(empty)


def test_a_migration_waits_no_longer_than_its_timeout(empty: Engine) -> None:
    with empty.connect():
        pass
    with another_migrator(empty), pytest.raises(DeadlineExceeded):
        migrate(empty, timeout_s=1)


def test_a_database_without_a_schema_is_rejected_with_what_to_do(empty: Engine) -> None:
    with pytest.raises(SchemaMismatch, match=r"no schema.* `portal migrate`"):
        require_known(empty)

    assert tables(empty) == set()


def test_a_database_whose_schema_was_dropped_is_rejected(engine: Engine) -> None:
    require_known(engine)
    migrate(engine, "base")

    with pytest.raises(SchemaMismatch, match="no schema"):
        require_known(engine)


MIGRATION = """
import sys
from portal_server.storage.sql.engine import for_migrating, open_engine, parse_url
from portal_server.storage.sql.migrations import migrate
from portal_server.storage.sql.schema import require_known

engine = open_engine(parse_url(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
migrate(engine)
require_known(engine)
"""


def test_several_processes_may_migrate_at_once(empty_url: str) -> None:
    command = [sys.executable, "-c", MIGRATION, empty_url]
    with ExitStack() as stack:
        processes = [
            stack.enter_context(Popen(command, stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True))
            for _ in range(3)
        ]
        ready = [process.stdout and process.stdout.readline() for process in processes]
        for process in processes:
            assert process.stdin
            process.stdin.write("\n")
            process.stdin.flush()
        errors = [process.communicate(timeout=30)[1] for process in processes]
    engine = open_engine(parse_url(empty_url))
    made = tables(engine)
    engine.dispose()

    assert ready == ["ready\n"] * 3
    assert [error for error in errors if error] == []
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert made >= OURS


def test_all_migrations_are_one_transaction(tmp_path: Path) -> None:
    engine = open_engine(parse_url(f"sqlite:///{tmp_path}/x.db"))
    statements: list[str] = []

    def trace(connection: sqlite3.Connection, _record: object) -> None:
        connection.set_trace_callback(statements.append)

    event.listen(engine, "connect", trace)
    migrate(engine)
    engine.dispose()
    first, last = statements.index("BEGIN IMMEDIATE"), statements.index("COMMIT")
    creates = [n for n, text in enumerate(statements) if "CREATE" in text]

    assert len(creates) > len(OURS)
    assert first < creates[0]
    assert creates[-1] < last
    assert statements.count("COMMIT") == 1

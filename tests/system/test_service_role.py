"""Servers with a role that does not own the tables: all calls work, and the audit log is safe."""

import os
from collections.abc import Iterator

import psycopg
import pytest

from portal_server.domain.provider import ProviderDraft, ProviderType
from tests.conftest import Portal, serve
from tests.support.catalog import CALL
from tests.support.databases import MIGRATED
from tests.support.postgres import Postgres
from tests.support.stack import portal

ROLE = f"service_{os.getpid()}"
PROVIDER = ProviderDraft(
    name="p", type=ProviderType.OTHER, well_known_uri="https://idp.test/.well-known"
)


def connected(url: str) -> "psycopg.Connection[tuple[object, ...]]":
    return psycopg.connect(url.replace("+psycopg", ""), autocommit=True)


@pytest.fixture(scope="module")
def urls(postgres: Postgres) -> tuple[str, str]:
    """The database of the owner, and the same for the service role."""
    name = f"roles_{os.getpid()}"
    url = postgres.new_database(name, MIGRATED)
    with connected(url) as connection:
        connection.execute(f"CREATE ROLE {ROLE} LOGIN")
        connection.execute(f"REVOKE ALL ON DATABASE {name} FROM public")
        connection.execute(f"GRANT CONNECT ON DATABASE {name} TO {ROLE}")
    done = portal("migrate", "--service-role", ROLE, PORTAL_DATABASE_URL=url)
    assert done.returncode == 0, done.stderr
    return url, url.replace("//postgres@", f"//{ROLE}@")


@pytest.fixture
def served(urls: tuple[str, str]) -> Iterator[Portal]:
    with serve(urls[1]) as found:
        yield found


def test_a_server_needs_no_more_than_the_grants(urls: tuple[str, str], served: Portal) -> None:
    created = served.catalog.providers.create(CALL, PROVIDER)
    served.catalog.providers.delete(CALL, created.id)
    key = portal("keys", "create", PORTAL_DATABASE_URL=urls[1])
    migrated = portal("migrate", PORTAL_DATABASE_URL=urls[1])
    verified = portal("audit", "verify", PORTAL_DATABASE_URL=urls[1])

    assert key.returncode == 0, key.stderr
    assert migrated.returncode == 0, migrated.stderr
    assert verified.returncode == 0, verified.stderr


@pytest.mark.parametrize("table", ["audit_event", "audit_seal"])
@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE {} SET create_time = now()",
        "DELETE FROM {}",
        "TRUNCATE {}",
        "ALTER TABLE {} DISABLE TRIGGER append_only",
        "DROP TABLE {}",
    ],
)
def test_the_role_cannot_change_the_audit_log(urls: tuple[str, str], sql: str, table: str) -> None:
    with connected(urls[1]) as connection:
        connection.execute("SET portal.prune = 'on'")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(sql.format(table))


def test_only_the_owner_removes_events(urls: tuple[str, str]) -> None:
    settings = {"PORTAL_DATABASE_URL": urls[1]}
    done = portal("audit", "prune", "--before", "1d", **settings)
    owner = portal("audit", "prune", "--before", "1d", PORTAL_DATABASE_URL=urls[0])

    assert (done.returncode, done.stdout) == (1, "")
    assert f"the role {ROLE} may not delete audit events" in done.stderr
    assert owner.returncode == 0, owner.stderr


def test_an_unknown_role_is_one_line(urls: tuple[str, str]) -> None:
    done = portal("migrate", "--service-role", "nobody-here", PORTAL_DATABASE_URL=urls[0])

    assert done.returncode == 1
    assert done.stderr.endswith('cannot grant: role "nobody-here" does not exist\n')

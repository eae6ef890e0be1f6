"""A portal behind PgBouncer in transaction mode: each transaction may have another session."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.crash.load import Ledger, Load, OwnServer, add_provider, stored
from tests.support.postgres import NOBODY, Postgres, free_port
from tests.support.stack import portal, soon

pytestmark = [pytest.mark.slow, pytest.mark.needs("pgbouncer")]

# Fewer sessions than the portal has connections.
_CONFIGURATION = """
[databases]
* = host=127.0.0.1 port={server} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 3
"""


@pytest.fixture(scope="module")
def pooled(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a new database, through PgBouncer."""
    database = f"pooled_{os.getpid()}"
    postgres.new_database(database)
    port = free_port()
    # PgBouncer rejects to run as root, and another user cannot read the folder.
    configuration = postgres.folder / "pgbouncer.ini"
    configuration.write_text(_CONFIGURATION.format(server=postgres.port, port=port))
    as_nobody = (
        ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
        if os.geteuid() == 0
        else ()
    )
    file = tmp_path_factory.mktemp("pgbouncer") / "log"
    with file.open("ab") as log:
        process = subprocess.Popen(
            [*as_nobody, "pgbouncer", str(configuration)], stdout=log, stderr=log
        )
    url = f"postgresql://postgres@127.0.0.1:{port}/{database}"
    assert soon(lambda: _responds(url), 10), file.read_text()
    yield url
    process.terminate()
    process.wait(10)


def _responds(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True


def test_a_portal_works_through_a_pooler_in_transaction_mode(pooled: str, tmp_path: Path) -> None:
    url = f"{pooled}?pgbouncer=true"
    server, ledger = OwnServer(url), Ledger()
    server.start()
    add_provider(server.target)
    load = Load(server.target, ledger)
    written = soon(lambda: len(ledger.reported) > 200, 60)
    load.stop()
    rows = stored(server.target)
    server.stop()
    backup = portal("backup", str(tmp_path / "b.zip"), PORTAL_DATABASE_URL=url)
    check = portal("check", PORTAL_DATABASE_URL=url)

    assert not ledger.errors
    assert written
    ledger.compare(rows)
    assert backup.returncode == 0, backup.stderr
    assert check.returncode == 0, check.stdout


def test_without_the_parameter_the_error_names_what_the_pooler_lacks(pooled: str) -> None:
    done = portal("migrate", PORTAL_DATABASE_URL=pooled)

    assert done.returncode == 1
    assert "it is PgBouncer; add pgbouncer=true to PORTAL_DATABASE_URL" in done.stderr

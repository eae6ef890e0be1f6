"""No acknowledged write is lost when a process is killed under load. Run by `make test-crash`.

Callers note what they are reported, and send again what was cut off, with the same
request id, also after the kill. Every acknowledged row must be there, whole and
once; a call that was cut off may have left its row or not, and nothing else may
be there.
"""

import random
import signal
import time
from collections.abc import Iterator

import grpc
import pytest

from tests.crash.load import CALLERS, Ledger, Load, OwnServer, add_provider, scaled, stored
from tests.support.postgres import Postgres, running_postgres

pytestmark = pytest.mark.timeout(scaled(600))


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[Postgres]:
    with running_postgres() as cluster:
        yield cluster


@pytest.mark.parametrize(
    "rounds",
    [
        pytest.param(2, marks=pytest.mark.slow),
        pytest.param(scaled(20), marks=pytest.mark.crash),
    ],
)
def test_a_killed_server_has_lost_no_acknowledged_write(database_url: str, rounds: int) -> None:
    server, ledger = OwnServer(database_url), Ledger()
    server.start()
    add_provider(server.target)
    for _ in range(rounds):
        load = Load(server.target, ledger)
        time.sleep(random.uniform(0.1, 0.6))  # noqa: S311
        server.end(signal.SIGKILL)
        load.stop()
        server.start()

        ledger.compare(stored(server.target))
    status = server.end(signal.SIGTERM)
    print(f"{rounds} kills, {len(ledger.reported)} acknowledged, none lost")  # noqa: T201

    assert status == 0
    assert len(ledger.reported) > rounds * CALLERS
    assert ledger.errors


@pytest.mark.crash
def test_a_killed_postgresql_has_lost_no_acknowledged_write_and_the_server_goes_on(
    own_postgres: Postgres,
) -> None:
    kills, server, ledger = scaled(5), OwnServer(own_postgres.url()), Ledger()
    server.start()
    add_provider(server.target)
    load = Load(server.target, ledger)
    for _ in range(kills):
        time.sleep(random.uniform(0.2, 0.8))  # noqa: S311
        own_postgres.stop("immediate")
        time.sleep(0.5)
        own_postgres.start()
        reported, back = len(ledger.reported), time.monotonic()
        while len(ledger.reported) == reported:
            assert time.monotonic() - back < 5, "no call has worked since"
            time.sleep(0.01)
    load.stop()
    rows = stored(server.target)
    server.end(signal.SIGTERM)

    ledger.compare(rows)
    print(f"{kills} kills, {len(ledger.reported)} acknowledged, none lost")  # noqa: T201
    assert set(ledger.errors) == {grpc.StatusCode.UNAVAILABLE}

"""A standby becomes the primary under load: no acknowledged write is lost, and writes go on.

Replication is synchronous: a write is acknowledged when the standby has it too.
"""

import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from tests.crash.load import Ledger, Load, OwnServer, add_provider, stored
from tests.support.postgres import Postgres
from tests.support.stack import portal, soon

pytestmark = pytest.mark.timeout(900)

# From the failure to the first write, with a standby that is promoted at once.
MAX_SECONDS = 15
# PostgreSQL that has ended closes its connections; only one that hangs needs timeouts.
MAX_SECONDS_AFTER_A_CRASH = 5
# A commit in flight may wait for the standby, which no longer follows: it is given up after
# COMMIT_TIMEOUT_S (5 s), and the next write is tried after RETRY_PAUSE_S (1 s).
MAX_SECONDS_AFTER_A_SWITCHOVER = 10


class Pair:
    """A primary and a synchronous standby, whose roles change."""

    def __init__(self, folder: Path) -> None:
        for name in ("a", "b"):
            (folder / name).mkdir()
        self.primary = Postgres(folder / "a")
        self.primary.start()
        self.standby = Postgres(folder / "b", self.primary)
        self.standby.start()
        self.primary.replicate_synchronously()
        hosts = f"127.0.0.1:{self.primary.port},127.0.0.1:{self.standby.port}"
        self.url = f"postgresql://postgres@{hosts}/postgres"

    def fail_over(self, *, hangs: bool) -> tuple[float, float]:
        """End the primary and promote the standby; returns both times."""
        failed = time.monotonic()
        if hangs:
            self.primary.suspend()
        else:
            self.primary.stop("immediate")
        self.standby.promote()
        promoted = time.monotonic()
        self.primary, self.standby = self.standby, self.primary
        return failed, promoted

    def repair(self) -> None:
        """Make the failed primary a standby of the new one."""
        self.standby.follow(self.primary)
        self.standby.start()
        self.primary.replicate_synchronously()


@pytest.fixture
def pair() -> Iterator[Pair]:
    folder = Path(tempfile.mkdtemp(prefix="portal-pair-"))
    folder.chmod(0o755)
    running = Pair(folder)
    yield running
    for cluster in (running.primary, running.standby):
        if cluster.running:
            cluster.kill()
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    "rounds",
    [
        pytest.param(2, marks=pytest.mark.slow),
        pytest.param(20, marks=pytest.mark.crash),
    ],
)
def test_no_acknowledged_write_is_lost_by_a_failover(pair: Pair, rounds: int) -> None:
    server, ledger = OwnServer(pair.url), Ledger()
    server.start()
    add_provider(server.target)
    load = Load(server.target, ledger)
    times: dict[bool, list[float]] = {False: [], True: []}
    after_promotion = []
    try:
        for number in range(rounds):
            hangs = number % 2 == 1
            wanted = len(ledger.reported) + 100
            assert soon(lambda wanted=wanted: len(ledger.reported) >= wanted, 30)  # type: ignore[misc]
            failed, promoted = pair.fail_over(hangs=hangs)
            # Without responses to writes of before.
            count = len(ledger.reported) + 8
            assert soon(lambda count=count: len(ledger.reported) > count, 60)  # type: ignore[misc]
            times[hangs].append(time.monotonic() - failed)
            after_promotion.append(time.monotonic() - promoted)
            if hangs:
                pair.standby.kill()
            pair.repair()
    finally:
        load.stop()
    rows = stored(server.target)
    server.stop()
    for hangs, taken in times.items():
        what = "a hang" if hangs else "a crash"
        print(  # noqa: T201
            f"first write after {what}: median {statistics.median(taken):.1f} s,"
            f" longest {max(taken):.1f} s, {len(taken)} rounds"
        )
    print(f"after the promotion: longest {max(after_promotion):.1f} s")  # noqa: T201
    print(f"{len(ledger.reported)} of {len(ledger.asked)} acknowledged")  # noqa: T201

    ledger.compare(rows)
    assert max(times[True]) < MAX_SECONDS
    assert max(times[False]) < MAX_SECONDS_AFTER_A_CRASH
    assert ledger.errors.keys() <= {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    }


@pytest.mark.slow
def test_connections_to_a_primary_that_becomes_read_only_are_replaced(pair: Pair) -> None:
    server, ledger = OwnServer(pair.url), Ledger()
    server.start()
    add_provider(server.target)
    load = Load(server.target, ledger)
    assert soon(lambda: len(ledger.reported) > 100, 30)
    # What a managed switchover does: the old primary rejects writes, and keeps its connections.
    pair.primary.set("default_transaction_read_only", "on")
    begun = time.monotonic()
    pair.standby.promote()
    count = len(ledger.reported) + 8
    replaced = soon(lambda: len(ledger.reported) > count, 30)
    taken = time.monotonic() - begun
    # Otherwise reads would go on there, and see old data.
    sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'oauth-portal'"
    left = soon(lambda: pair.primary.execute(sessions) == (0,), 10)
    load.stop()
    rows = stored(server.target)
    server.stop()
    print(f"first write after a switchover: {taken:.1f} s")  # noqa: T201

    assert replaced
    assert left
    assert taken < MAX_SECONDS_AFTER_A_SWITCHOVER
    ledger.compare(rows)


@pytest.mark.slow
def test_an_old_primary_that_returns_acknowledges_nothing(pair: Pair) -> None:
    server, ledger = OwnServer(pair.url), Ledger()
    server.start()
    add_provider(server.target)
    pair.fail_over(hangs=False)
    load = Load(server.target, ledger)
    assert soon(lambda: len(ledger.reported) > 100, 30)
    # There are two primaries now. The old one still waits for a standby that it has lost.
    pair.standby.start()
    count = len(ledger.reported)
    assert soon(lambda: len(ledger.reported) > count + 100, 30)
    old = f"postgresql://postgres@127.0.0.1:{pair.standby.port}/postgres"
    created = portal("keys", "create", PORTAL_DATABASE_URL=old)
    # The server connects again.
    sessions = "pg_stat_activity WHERE application_name = 'oauth-portal'"
    pair.primary.execute(f"SELECT pg_terminate_backend(pid) FROM {sessions}")  # noqa: S608
    count = len(ledger.reported)
    assert soon(lambda: len(ledger.reported) > count + 100, 4)
    load.stop()
    rows = stored(server.target)
    server.stop()

    assert (created.returncode, created.stdout) == (1, "")
    assert "not confirmed in time" in created.stderr
    # A running server stays with the new primary, although the old one is first in the URL.
    ledger.compare(rows)

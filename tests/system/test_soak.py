"""A short form of `make soak`."""

import subprocess
import sys

import pytest

from tests.support.stack import ENVIRONMENT, ROOT

SECONDS = 40
# A start of PostgreSQL and of the system, and their ends, on a machine that does other work, too.
MOST_SECONDS = SECONDS + 140


@pytest.mark.slow
@pytest.mark.timeout(MOST_SECONDS + 60)
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_nothing_grows_fails_or_is_lost_under_a_load(database: str) -> None:
    # In its own process: the benchmark's peers have tables with the names of the portal's.
    # The latency depends on the other tests that run meanwhile.
    options = ("--seconds", str(SECONDS), "--database", database, "--ignore-latency")
    done = subprocess.run(
        [sys.executable, "-m", "bench.soak", *options],
        cwd=ROOT,
        env=ENVIRONMENT,
        text=True,
        capture_output=True,
        timeout=MOST_SECONDS,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr

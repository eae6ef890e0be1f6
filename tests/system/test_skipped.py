"""What a test run reports about tests that the machine cannot run."""

import subprocess
import sys
from pathlib import Path

from tests.support.stack import ENVIRONMENT, ROOT

PYTEST = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider")


def run_without_tools(empty: Path, **settings: str) -> "subprocess.CompletedProcess[str]":
    """Run the tests of the documentation page where no program is on the path."""
    environment = {name: text for name, text in ENVIRONMENT.items() if name != "CI"}
    return subprocess.run(
        [*PYTEST, "-m", "slow", "tests/browser/test_docs.py"],
        env=environment | {"PATH": str(empty)} | settings,
        cwd=ROOT,
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )


def test_the_last_line_names_what_is_missing_and_how_to_install_it(tmp_path: Path) -> None:
    done = run_without_tools(tmp_path)
    *_, last = done.stdout.splitlines()

    assert done.returncode == 0
    assert last.startswith("skipped: ")
    assert last.endswith(" tests that need chromium: apt-get install chromium")


def test_a_skipped_test_fails_the_run_in_ci(tmp_path: Path) -> None:
    assert run_without_tools(tmp_path, CI="true").returncode == 1

"""Skips what a machine cannot run, and reports it in one line at the end of a run.

In CI (`CI` is set) a skipped test fails the run.
"""

import os
import re

import pytest
from _pytest.terminal import TerminalReporter

from tests.support import tools

_REASON = "needs "


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip each test that needs what is not here."""
    for item in items:
        needed = {name for mark in item.iter_markers("needs") for name in mark.args}
        if missing := tools.missing(needed):
            item.add_marker(pytest.mark.skip(_REASON + ", ".join(missing)))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run in CI that skipped a test."""
    if os.environ.get("CI") and _reasons(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_unconfigure(config: pytest.Config) -> None:
    """Name what was skipped, after everything else."""
    if reasons := _reasons(config):
        needed = sorted({name for reason in reasons for name in reason.split(", ")})
        line = f"skipped: {len(reasons)} tests that need {', '.join(needed)}"
        packages = tools.packages(needed)
        config.get_terminal_writer().line(
            f"{line}: apt-get install {packages}" if packages else line
        )


def _reasons(config: pytest.Config) -> list[str]:
    """Why each skipped test was skipped; empty in a worker of xdist, which reports to another."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if not isinstance(reporter, TerminalReporter):
        return []
    return [
        re.sub(f"^(Skipped: )?({_REASON})?", "", str(report.longrepr[2]))
        for report in reporter.stats.get("skipped", [])
    ]

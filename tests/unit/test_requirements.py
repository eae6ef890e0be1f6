"""What a machine without the tests' packages gets: all that the two packages need."""

import re
from importlib.metadata import requires

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.commands import ROOT


def pinned() -> set[str]:
    """The names in the lock file of `make run`."""
    text = (ROOT / "requirements/run.txt").read_text()
    return {
        canonicalize_name(name)
        for name in re.findall(r"^([\w.-]+)(?:\[.*\])?==", text, re.MULTILINE)
    }


def needed(name: str, extras: frozenset[str], found: set[str]) -> set[str]:
    """The names of what a package requires here, and of what those require."""
    for line in requires(name) or []:
        requirement = Requirement(line)
        marker = requirement.marker
        if marker and not any(marker.evaluate({"extra": extra}) for extra in extras or {""}):
            continue
        required = canonicalize_name(requirement.name)
        if required not in found:
            found.add(required)
            needed(required, frozenset(requirement.extras), found)
    return found


def test_the_lock_file_of_make_run_has_all_that_the_server_imports() -> None:
    assert needed("oauth-portal-server", frozenset(), set()) - {"oauth-portal"} <= pinned()

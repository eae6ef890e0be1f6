"""What some tests need of a machine, and the Debian packages that have it.

`python3 tests/support/tools.py` prints the packages that this machine lacks, for `apt-get install`.
A test names its needs: `pytest.mark.needs("chromium", ...)`.
"""

import os
import platform
import shutil
import sys
from collections.abc import Iterable, Mapping
from types import MappingProxyType

PACKAGES: Mapping[str, str] = MappingProxyType(
    {
        "cargo": "cargo",
        "cargo-clippy": "rust-clippy",
        "cc": "gcc libc6-dev",
        "chromium": "chromium",
        "curl": "curl",
        "faketime": "faketime",
        "git": "git",
        "go": "golang",
        "gofmt": "golang",
        "javac": "default-jdk-headless",
        "jq": "jq",
        "mvn": "maven",
        "node": "nodejs",
        "npm": "npm",
        "openssl": "openssl",
        "pgbouncer": "pgbouncer",
        "prometheus": "prometheus",
        "promtool": "prometheus",
        "rustfmt": "rustfmt",
        "systemd-analyze": "systemd",
    }
)

# What is not a program.
_PROPERTIES: Mapping[str, bool] = MappingProxyType(
    {"root": os.geteuid() == 0, "x86-64": platform.machine() == "x86_64"}
)


def missing(needs: Iterable[str]) -> list[str]:
    """What this machine does not have, sorted."""
    return sorted(name for name in needs if not _has(name))


def _has(name: str) -> bool:
    return _PROPERTIES[name] if name in _PROPERTIES else shutil.which(name) is not None


def packages(needs: Iterable[str]) -> str:
    """The Debian packages that have these, with spaces between; rights are in none."""
    return " ".join(sorted({PACKAGES[name] for name in needs if name not in _PROPERTIES}))


if __name__ == "__main__":
    sys.stdout.write(packages(missing(PACKAGES)) + "\n")

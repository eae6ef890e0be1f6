"""Programs that some tests run, and the Debian packages that have them.

`python3 tests/support/tools.py` prints the packages of those that this machine lacks, for
`apt-get install`; with `--paths`, the files of those that it has. A test names what it needs by
`pytest.mark.needs("chromium", ...)`.
"""

import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

PACKAGES: Mapping[str, str] = MappingProxyType(
    {
        "cargo": "cargo",
        "cargo-clippy": "rust-clippy",
        "cc": "gcc libc6-dev",
        "chromium": "chromium",
        "go": "golang",
        "jq": "jq",
        "mvn": "maven default-jdk-headless",
        "npm": "npm",
        "rustfmt": "rustfmt",
    }
)


def missing(tools: Iterable[str]) -> list[str]:
    """The tools that are not on this machine, sorted."""
    return sorted(tool for tool in tools if not shutil.which(tool))


def packages(tools: Iterable[str]) -> str:
    """The Debian packages of these tools, with spaces between."""
    return " ".join(PACKAGES[tool] for tool in tools)


def _paths() -> Iterator[str]:
    for folder in os.get_exec_path():
        for tool in (*PACKAGES, "protoc"):
            if found := shutil.which(tool, path=folder):
                yield os.path.realpath(found)


if __name__ == "__main__":
    text = "\n".join(_paths()) if "--paths" in sys.argv else packages(missing(PACKAGES))
    sys.stdout.write(f"{text}\n")

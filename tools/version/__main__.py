"""Copy the version of the root to the other files that have it, or with --check compare them.

Run it in the project's folder: python -m tools.version
"""

import re
import sys
import tomllib
from functools import partial
from pathlib import Path
from typing import Final

from tools.page import write_or_check

_ROOT: Final = Path(__file__).parents[2]
_IMAGE: Final = r"(oauth-portal:)\d[\w.]*"
# In each file, what stands before a version and the version.
PLACES: Final = {
    "server/pyproject.toml": r'(^version = "|"oauth-portal\[cli\]==)[^"]+',
    "clients/go/README.md": r"(clients/go[/@]v)\d[\w.]*",
    "deploy/Containerfile": _IMAGE,
    "deploy/compose.yaml": _IMAGE,
    "deploy/kubernetes.yaml": _IMAGE,
    "docs/deploy.md": _IMAGE,
}


def version() -> str:
    """The version of the project."""
    found: str = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]["version"]
    return found


def current(pattern: str, text: str) -> str:
    """The text of a file with the current version."""
    return re.sub(pattern, rf"\g<1>{version()}", text, flags=re.MULTILINE)


def main() -> int:
    """Write or check the version; the exit status."""
    return max(
        write_or_check(_ROOT / name, partial(current, pattern), "tools.version")
        for name, pattern in PLACES.items()
    )


if __name__ == "__main__":
    sys.exit(main())

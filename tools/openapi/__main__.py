"""Write edge/openapi.json, or with --check tell whether it is what would be written.

Run it in the project's folder: python -m tools.openapi
"""

import json
import sys
import tomllib
from pathlib import Path

from tools.openapi.document import document
from tools.openapi.protos import read_service

DESCRIPTORS = Path("build/portal.binpb")
PROJECT = Path("pyproject.toml")
DOCUMENT = Path("edge/openapi.json")


def main() -> int:
    """Write or check the document; the exit status."""
    version = tomllib.loads(PROJECT.read_text())["project"]["version"]
    made = document(read_service(DESCRIPTORS, "portal.rest.v1", "PortalRestService"), version)
    text = json.dumps(made, indent=2, ensure_ascii=False) + "\n"
    if sys.argv[1:] == ["--check"]:
        if DOCUMENT.read_text() != text:
            sys.stderr.write(f"{DOCUMENT} is not fresh: run `python -m tools.openapi`\n")
            return 1
        return 0
    DOCUMENT.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Write edge/openapi.json and the tables of docs/rest.md, or with --check compare them.

Run it in the project's folder: python -m tools.openapi
"""

import json
import sys
import tomllib
from pathlib import Path

from tools.openapi.document import document
from tools.openapi.page import with_tables
from tools.openapi.protos import read_service

DESCRIPTORS = Path("protos/portal/descriptors.binpb")
PROJECT = Path("pyproject.toml")
DOCUMENT = Path("edge/openapi.json")
PAGE = Path("docs/rest.md")


def main() -> int:
    """Write or check the files; the exit status."""
    version = tomllib.loads(PROJECT.read_text())["project"]["version"]
    service = read_service(DESCRIPTORS, "portal.rest.v1", "PortalRestService")
    openapi = json.dumps(document(service, version), indent=2, ensure_ascii=False) + "\n"
    files = {DOCUMENT: openapi, PAGE: with_tables(PAGE.read_text(), service)}
    stale = [file for file, text in files.items() if file.read_text() != text]
    if sys.argv[1:] == ["--check"]:
        for file in stale:
            sys.stderr.write(f"{file} is not current: run `python -m tools.openapi`\n")
        return 1 if stale else 0
    for file in stale:
        file.write_text(files[file])
    return 0


if __name__ == "__main__":
    sys.exit(main())

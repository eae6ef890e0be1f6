"""Write edge/api-explorer/grpc.html, the reference of the native API, or with --check compare it.

Run it in the project's folder: python -m tools.native_reference
"""

import sys
from pathlib import Path
from typing import Final

from tools.native_reference.page import page
from tools.native_reference.protos import read_package
from tools.page import write_or_check

DESCRIPTORS: Final = Path("protos/portal/descriptors.binpb")
PAGE: Final = Path("edge/api-explorer/grpc.html")


def current() -> str:
    """The page of the protos."""
    return page(read_package(DESCRIPTORS, "portal.oauth.v1"))


if __name__ == "__main__":
    sys.exit(write_or_check(PAGE, lambda _: current(), "tools.native_reference"))

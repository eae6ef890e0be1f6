"""Builds the peer in Go, if the machine can."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.support.stack import ROOT

_SOURCE = ROOT / "bench" / "peers" / "go"
_PROGRAM = ROOT / "build" / "bench-peer-go"
# The driver of SQLite is C.
_TOOLS = ("go", "gcc")


class NotBuilt(Exception):
    """The Go peer is left out, for this reason."""


def build() -> Path:
    """Build the program in `build`, from Go's cache where it has not changed; a minute at first.

    Raises:
        NotBuilt: a tool is not installed, or the build failed.
    """
    missing = [tool for tool in _TOOLS if not shutil.which(tool)]
    if missing:
        raise NotBuilt(f"{' and '.join(missing)} not installed")
    done = subprocess.run(
        ["go", "build", "-o", str(_PROGRAM), "."],  # noqa: S607 - the one on the PATH
        cwd=_SOURCE,
        env=os.environ | {"CGO_ENABLED": "1"},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise NotBuilt(f"go build failed: {done.stderr.strip().splitlines()[-1]}")
    return _PROGRAM


def version() -> str:
    """The version of Go that built it, such as 1.26."""
    done = subprocess.run(
        ["go", "env", "GOVERSION"],  # noqa: S607
        cwd=_SOURCE,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout.strip().removeprefix("go")

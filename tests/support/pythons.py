"""The versions of Python that the packages support, and which of them this machine has."""

import os
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from tests.support.commands import ROOT

_CLASSIFIER = "Programming Language :: Python :: 3."


def newest() -> Path | None:
    """The newest supported Python, unless it has the version of this process or is missing."""
    for minor in sorted(_supported(), reverse=True):
        if minor == sys.version_info.minor:
            return None
        for folder in _folders():
            program = folder / f"python3.{minor}"
            if program.is_file() and _is_binary(program):
                return program
    return None


def _supported() -> set[int]:
    """The minor versions of the classifiers."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = (name.removeprefix(_CLASSIFIER) for name in project["classifiers"])
    return {int(minor) for minor in found if minor.isdecimal()}


def _folders() -> Iterator[Path]:
    yield from map(Path, os.environ["PATH"].split(os.pathsep))
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from sorted(pyenv.glob("versions/*/bin"), reverse=True)


def _is_binary(program: Path) -> bool:
    """Whether it is a program: pyenv has scripts for versions that are not active."""
    with program.open("rb") as opened:
        return opened.read(4) == b"\x7fELF"

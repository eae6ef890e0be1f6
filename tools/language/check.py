"""Finds the phrases of phrases.txt in the tracked text files."""

import re
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PHRASES = Path(__file__).with_name("phrases.txt")

# Files that tools or others wrote, and those that list the phrases.
_SKIPPED = re.compile(
    r"third_party/.*|bench/results/.*|(server/)?LICENSE|.*\.(svg|png|binpb|lock|sum)|.*package-lock\.json"
    r"|requirements/.*|.*_pb2(_grpc)?\.pyi?|.*\.pb\.go|.*/gen/.*"
    # These name a table and a column of the database whose names are in phrases.txt.
    r"|server/portal_server/storage/(migrations/versions/.*|rows/responses\.py)"
    r"|CONTRIBUTING\.md|tools/language/phrases\.txt|tests/unit/test_language\.py"
)
_SPACE = r"(?:[ _]|[ \t]*\n[ \t]*(?:#|//|--|\*|>)?[ \t]*)+"


@dataclass(frozen=True)
class Finding:
    """A phrase found in a file."""

    path: str
    line: int
    text: str
    replacement: str

    def __str__(self) -> str:
        """`path:line: "text": write replacement`, as compilers report."""
        return f'{self.path}:{self.line}: "{self.text}": write: {self.replacement}'


@cache
def phrases() -> tuple[tuple[re.Pattern[str], str], ...]:
    """The compiled pattern and the replacement of each line of phrases.txt."""
    lines = (line for line in PHRASES.read_text().splitlines() if line and line[0] != "#")
    pairs = (line.split(" -> ", 1) for line in lines)
    return tuple((_compile(pattern), replacement) for pattern, replacement in pairs)


def _compile(pattern: str) -> re.Pattern[str]:
    # Spaces inside a lookaround stay: a lookbehind needs a fixed width.
    parts = re.split(r"(\(\?<?[!=][^)]*\))", pattern)
    spaced = "".join(part if part.startswith("(?") else part.replace(" ", _SPACE) for part in parts)
    return re.compile(rf"(?<![A-Za-z])(?:{spaced})(?![A-Za-z])", re.IGNORECASE)


def find(path: str, text: str) -> Iterator[Finding]:
    """The phrases in one text."""
    for pattern, replacement in phrases():
        for match in pattern.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            yield Finding(path, line, " ".join(match[0].split()), replacement)


def tracked() -> list[str]:
    """The text files that git tracks and that are written here, relative to the project."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"],  # noqa: S607
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=True,
    )
    return [name for name in listed.stdout.split("\0") if name and not _SKIPPED.fullmatch(name)]


def check(paths: Iterable[str]) -> list[Finding]:
    """The phrases in these files, in the order of files and lines."""
    found = (
        finding
        for path in paths
        if (ROOT / path).is_file()
        for finding in find(path, (ROOT / path).read_text(errors="replace"))
    )
    return sorted(found, key=lambda finding: (finding.path, finding.line))

"""What the generators of pages share: they write a page, or check that it is current."""

import sys
from collections.abc import Callable
from pathlib import Path


def write_or_check(page: Path, current: Callable[[str], str], module: str) -> int:
    """Write the current text of a page or, with the argument `--check`, compare it.

    Returns:
        The exit status: 1 if the page was to be checked and is not current.
    """
    before = page.read_text()
    text = current(before)
    if sys.argv[1:] == ["--check"]:
        if before != text:
            sys.stderr.write(f"{page} is not current: run `python -m {module}`\n")
        return int(before != text)
    if before != text:  # `make` compares times
        page.write_text(text)
    return 0

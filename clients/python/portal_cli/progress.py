"""The progress of a command on standard error: a bar for people, some lines for logs."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

_PERIOD_S: Final = 5.0


def stderr() -> Console:
    """A console that prints text as it is: a name is never markup."""
    return Console(stderr=True, markup=False, highlight=False, emoji=False)


@contextmanager
def progress(task: str, total: int, console: Console | None = None) -> Iterator[Callable[[], None]]:
    """Show how many parts of a task are done; yields what to call after each.

    A terminal shows a bar until the end. A log gets a line every few seconds.
    """
    console = console or stderr()
    columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn()
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as shown:
        bar = shown.add_task(task, total=total)
        done, last = 0, time.monotonic()

        def advance() -> None:
            nonlocal done, last
            done += 1
            shown.advance(bar)
            if not console.is_terminal and time.monotonic() - last >= _PERIOD_S:
                last = time.monotonic()
                console.print(f"{task}: {done} of {total}", soft_wrap=True)

        yield advance

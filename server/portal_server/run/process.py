"""How a process of ours lives with its cores, its threads, its files and its garbage.

A service manager may forbid to change any of it (systemd's `SystemCallFilter=~@resources`
answers EPERM). Then the process goes on with what it has.
"""

import gc
import logging
import os
import re
import resource
import sys
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)

# Who waits for the interpreter's lock takes it after so long, in mid-call.
_SWITCH_INTERVAL_S = 0.05
# A call makes some hundred objects and hardly a cycle.
_GC_THRESHOLD = 20_000
_LIMITS = Path("/proc/self/limits")


def core_of(number: int) -> int:
    """The core for the server with this number: successive ones get different cores."""
    cores = sorted(os.sched_getaffinity(0))
    return cores[number % len(cores)]


def prepare(number: int, *, one_core: bool) -> None:
    """Let the threads of this process, which take turns anyway, take them in peace.

    Threads of one interpreter that roam over several cores fight for its lock:
    on one of two it serves half as many calls again. And a thread that is woken
    must not push the one aside that wakes it, which has the lock still.
    """
    with _if_allowed("set the scheduling policy"):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    if one_core:
        stay_on({core_of(number)})


def stay_on(cores: AbstractSet[int]) -> None:
    """Run on these cores only, if that is allowed."""
    with _if_allowed("choose the cores"):
        os.sched_setaffinity(0, cores)


def settle() -> None:
    """What is there now stays: collections need not look at it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD)


def raise_open_files(wanted: int) -> int:
    """Let this process and its children open so many files, or as many as is allowed.

    Returns:
        How many they may open.
    """
    soft, hard = _open_files()
    if soft < wanted <= hard:
        _set_open_files(wanted, hard)
    elif soft < wanted:
        # root may raise the hard limit, too.
        _set_open_files(wanted, wanted)
        soft, hard = _open_files()
        if soft < hard:
            _set_open_files(min(wanted, hard), hard)
    return _open_files()[0]


def _open_files() -> tuple[int, int]:
    """The soft and the hard limit, read without a system call that may be forbidden."""
    text = _LIMITS.read_text()
    found = re.search(r"^Max open files +(\w+) +(\w+)", text, re.MULTILINE)
    if not found:
        raise ValueError(f"{_LIMITS} has no limit of open files")
    soft, hard = (sys.maxsize if part == "unlimited" else int(part) for part in found.groups())
    return soft, hard


def _set_open_files(soft: int, hard: int) -> None:
    try:
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (soft, resource.RLIM_INFINITY if hard == sys.maxsize else hard)
        )
    except (OSError, ValueError) as error:  # ValueError: the hard limit may not be raised
        log.debug("may not raise the limit of open files: %s", error)


@contextmanager
def _if_allowed(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        log.info("may not %s: %s", what, error.strerror)

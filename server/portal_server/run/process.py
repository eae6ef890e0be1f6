"""CPU affinity, scheduling, open files and garbage collection of the processes.

A service manager may forbid changes (systemd's `SystemCallFilter=~@resources` returns
EPERM). The process then continues with its current values.
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

# How long a thread may hold the interpreter's lock while another one waits for it.
_SWITCH_INTERVAL_S = 0.05
# A call creates about a hundred objects and hardly any cycles.
_GC_THRESHOLD = 20_000
_LIMITS = Path("/proc/self/limits")


def core_of(number: int) -> int:
    """The core for the server with this number. Consecutive numbers get different cores."""
    cores = sorted(os.sched_getaffinity(0))
    return cores[number % len(cores)]


def schedule(number: int, *, one_core: bool) -> None:
    """Set the scheduling of a server's threads, which share one interpreter lock.

    On several cores the threads contend for the lock: on one of two cores a server
    handles 1.5 times as many calls. And a woken thread must not preempt the one that
    woke it, which still holds the lock.
    """
    with _if_allowed("set the scheduling policy"):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    if one_core:
        stay_on({core_of(number)})


def stay_on(cores: AbstractSet[int]) -> None:
    """Run on these cores only, if that is permitted."""
    with _if_allowed("choose the cores"):
        os.sched_setaffinity(0, cores)


def freeze_gc() -> None:
    """Exclude all existing objects from garbage collection: they live as long as the process."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD)


def raise_open_files(wanted: int) -> int:
    """Raise the limit of open files of this process and its children as far as permitted.

    Returns:
        The new limit.
    """
    soft, hard = _open_files()
    if soft < wanted <= hard:
        _set_open_files(wanted, hard)
    elif soft < wanted:
        # root may also raise the hard limit.
        _set_open_files(wanted, wanted)
        soft, hard = _open_files()
        if soft < hard:
            _set_open_files(min(wanted, hard), hard)
    return _open_files()[0]


def _open_files() -> tuple[int, int]:
    """The soft and the hard limit, without a system call that may be forbidden."""
    text = _LIMITS.read_text()
    found = re.search(r"^Max open files +(\w+) +(\w+)", text, re.MULTILINE)
    if not found:
        raise ValueError(f"{_LIMITS} does not contain the limit of open files")
    soft, hard = (sys.maxsize if part == "unlimited" else int(part) for part in found.groups())
    return soft, hard


def _set_open_files(soft: int, hard: int) -> None:
    try:
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (soft, resource.RLIM_INFINITY if hard == sys.maxsize else hard)
        )
    except (OSError, ValueError) as error:  # ValueError: raising the hard limit is not permitted
        log.debug("cannot raise the limit of open files: %s", error)


@contextmanager
def _if_allowed(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        log.info("cannot %s: %s", what, error.strerror)

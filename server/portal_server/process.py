"""How a process of ours lives with its cores, its threads and its garbage."""

import gc
import os
import sys

# Who waits for the interpreter's lock takes it after so long, in mid-call.
_SWITCH_INTERVAL_S = 0.05
# A call makes some hundred objects and hardly a cycle.
_GC_THRESHOLD = 20_000


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
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    if one_core:
        os.sched_setaffinity(0, {core_of(number)})


def settle() -> None:
    """What is there now stays: collections need not look at it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD)

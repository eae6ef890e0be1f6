"""What processes use, from /proc (proc(5))."""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
# Behind the name in parentheses: utime, stime, and those of children that have ended.
_CPU_FIELDS = slice(11, 15)
_RESET_PEAK = "5"


def tree(pid: int) -> list[int]:
    """A process and all its descendants."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of these processes and their ended children."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[_CPU_FIELDS]))
    return ticks / _TICKS


def reset_peak(pids: Iterable[int]) -> None:
    """Reset the peak that `peak_mib` returns."""
    for pid in pids:
        with contextlib.suppress(OSError):
            Path(f"/proc/{pid}/clear_refs").write_text(_RESET_PEAK)


def peak_mib(pids: Iterable[int]) -> float:
    """The sum of the peak resident memory of the processes, in MiB."""
    return sum(_status(pid, "VmHWM") for pid in pids) / 1024


def resident_mib(pid: int) -> float:
    """The resident memory of a process, in MiB."""
    return _status(pid, "VmRSS") / 1024


def threads(pid: int) -> int:
    """The number of threads of a process."""
    return _status(pid, "Threads")


def open_files(pid: int) -> list[str]:
    """The files, sockets and pipes that a process has open; a socket is `socket:[…]`."""
    found = []
    with contextlib.suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):  # closed meanwhile
                found.append(str(descriptor.readlink()))
    return found


def _status(pid: int, name: str) -> int:
    """A number of a process's status; 0 when it has ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1])
    return 0

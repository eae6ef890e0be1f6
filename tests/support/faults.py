"""How tests make a server fail, or a process find less allowed."""

import ctypes
import os
import struct
import sys
from pathlib import Path

# What systemd.exec(5) lists as @resources that `portal up` or Envoy may call; x86-64.
RESOURCES = {
    "setpriority": 141,
    "sched_setparam": 142,
    "sched_setscheduler": 144,
    "setrlimit": 160,
    "sched_setaffinity": 203,
    "mbind": 237,
    "set_mempolicy": 238,
    "ioprio_set": 251,
    "migrate_pages": 256,
    "move_pages": 279,
    "prlimit64": 302,
    "sched_setattr": 314,
}
WITHOUT_RESOURCES = (sys.executable, __file__)

_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _ERRNO_EPERM = 0x7FFF0000, 0x00050001


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def forbid_resources() -> None:
    """Make each call of RESOURCES fail with EPERM, in this process and its children."""
    numbers = sorted(RESOURCES.values())
    # struct sock_filter: code, jump if true, jump if false, operand (linux/filter.h).
    steps = [(_LOAD, 0, 0, 0)]
    steps += [
        (_JUMP_IF_EQUAL, len(numbers) - place, 0, number) for place, number in enumerate(numbers)
    ]
    steps += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _ERRNO_EPERM)]
    code = b"".join(struct.pack("HBBI", *step) for step in steps)
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    program = _Program(len(steps), code)
    assert libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program)) == 0


def break_servers(folder: Path, *numbers: int) -> dict[str, str]:
    """The settings with which servers of these numbers end as soon as they start."""
    (folder / "sitecustomize.py").write_text(
        "import os, sys\n"
        f"broken = {[str(number) for number in numbers]}\n"
        "if 'serve' in sys.orig_argv and sys.orig_argv[sys.orig_argv.index('--worker') + 1]"
        " in broken:\n"
        "    os._exit(3)\n"
    )
    return {"PYTHONPATH": str(folder)}


if __name__ == "__main__":
    forbid_resources()
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606

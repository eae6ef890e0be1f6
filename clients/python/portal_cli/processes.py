"""What a command must arrange as a process: its streams, and signals that end it."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final

from portal_cli.errors import Exit

_STREAMS: Final = (
    ("stdin", os.O_RDONLY, "r"),
    ("stdout", os.O_RDONLY, "w"),
    ("stderr", os.O_WRONLY, "w"),
)
_ENDING: Final = {signal.SIGTERM: Exit.TERMINATED, signal.SIGHUP: Exit.HANGUP}


class Ended(BaseException):
    """A signal ends the command."""

    def __init__(self, code: Exit) -> None:
        super().__init__()
        self.code = code


def open_missing_streams() -> None:
    """Open each standard stream that is closed, so that no other file gets its descriptor.

    A write to standard output then fails (EBADF), as in other programs.
    """
    for descriptor, (name, flags, mode) in enumerate(_STREAMS):
        if getattr(sys, name) is not None:
            continue
        opened = os.open(os.devnull, flags)
        if opened != descriptor:
            os.dup2(opened, descriptor)
            os.close(opened)
        stream = os.fdopen(descriptor, mode, encoding="utf-8", closefd=False)
        setattr(sys, name, stream)


def discard_output() -> None:
    """Drop what standard output still holds: the interpreter would write it again at its end."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def ending_signals() -> Iterator[None]:
    """Raise `Ended` on SIGTERM and SIGHUP, and KeyboardInterrupt on SIGINT, within the block.

    After the block these signals end the process at once, without a traceback.
    """

    def end(number: int, _frame: FrameType | None) -> None:
        raise Ended(_ENDING[signal.Signals(number)])

    # A signal that is ignored, as by nohup, stays ignored.
    handlers = dict.fromkeys(_ENDING, end) | {signal.SIGINT: signal.default_int_handler}
    caught = {one: to for one, to in handlers.items() if signal.getsignal(one) != signal.SIG_IGN}
    try:
        for number, handler in caught.items():
            signal.signal(number, handler)
        yield
    finally:
        for number in caught:
            signal.signal(number, signal.SIG_DFL)

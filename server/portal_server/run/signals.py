"""The signals of `portal up`."""

import os
import signal
import time
from collections.abc import Callable
from types import FrameType

# The kernel closes the terminal just after it has sent the signal; the delay depends on the load.
_HANGUP_SECONDS = 1.0


class Signals:
    """SIGTERM and SIGINT stop, a second one kills; SIGHUP restarts the servers.

    The kernel also sends SIGHUP when the terminal is closed. Then it stops everything,
    which is the default action of the signal, or does nothing under nohup(1), which
    makes the process ignore it.
    """

    def __init__(self) -> None:
        self.stop = False
        self._hangup: float | None = None
        self._force: Callable[[], object] = lambda: None
        self._terminal = _has_terminal()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        self._nohup = signal.signal(signal.SIGHUP, self._on_hangup) is signal.SIG_IGN

    def by_force(self, force: Callable[[], object]) -> None:
        """Set what a second signal to stop calls."""
        self._force = force

    def take_restart(self) -> bool:
        """Whether a restart was requested since the last call."""
        if self._hangup is None:
            return False
        if self._terminal and time.monotonic() - self._hangup < _HANGUP_SECONDS:
            return False
        self._hangup = None
        if not self._terminal or _has_terminal():
            return True
        self._terminal = False
        self.stop = self.stop or not self._nohup
        return False

    def _on_stop(self, _number: int, _frame: FrameType | None) -> None:
        if self.stop:
            self._force()
        self.stop = True

    def _on_hangup(self, _number: int, _frame: FrameType | None) -> None:
        self._hangup = time.monotonic()


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True

"""A process of the supervisor. It has its own session and ends with the supervisor."""

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress

from portal_server.domain.errors import OperatorError

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class NotInstalled(OperatorError):
    """The program is not installed; the text has its name."""


class Child:
    """A running process. Ctrl-C in the terminal does not reach it."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        cores: AbstractSet[int] = frozenset(),
    ) -> None:
        """Start it. `environment` defaults to that of this process, `cores` to all.

        Raises:
            NotInstalled: the program does not exist.
        """
        self.started = time.monotonic()

        def begin() -> None:
            # The child gets a signal even if this process is killed with SIGKILL.
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if cores:
                with suppress(OSError):  # a service manager may forbid it
                    os.sched_setaffinity(0, cores)

        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                command,
                env=environment,
                start_new_session=True,
                preexec_fn=begin,  # noqa: PLW1509 - a few system calls
            )
        except FileNotFoundError:
            raise NotInstalled(f"{command[0]} is not installed") from None

    @property
    def age(self) -> float:
        """Seconds since its start."""
        return time.monotonic() - self.started

    @property
    def end(self) -> str | None:
        """How it ended, as a text; None while it runs."""
        status = self._process.poll()
        if status is None:
            return None
        if status < 0:
            return f"was killed by signal {-status}"
        return f"ended with status {status}"

    def terminate(self) -> None:
        """Send SIGTERM without waiting for the end."""
        self._process.terminate()

    def kill(self) -> None:
        """Send SIGKILL without waiting for the end."""
        self._process.kill()

    def wait(self, seconds: float) -> None:
        """Wait for its end, and kill it after this many seconds."""
        try:
            self._process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

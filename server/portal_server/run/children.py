"""A process that the supervisor starts: with a session of its own, and an end with ours."""

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
    """The program is not there; the text names it."""


class Child:
    """A running process. A Ctrl-C at the terminal does not reach it."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        cores: AbstractSet[int] = frozenset(),
    ) -> None:
        """Start it, in our environment unless another is given.

        `cores` are those that it may run on, if not all.

        Raises:
            NotInstalled: there is no such program.
        """
        self.started = time.monotonic()

        def begin() -> None:
            # The child hears of our death even when we are killed outright.
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
        """How it ended, in words; None while it runs."""
        status = self._process.poll()
        if status is None:
            return None
        if status < 0:
            return f"was ended by signal {-status}"
        return f"ended with status {status}"

    def terminate(self) -> None:
        """Ask it to end, and do not wait."""
        self._process.terminate()

    def kill(self) -> None:
        """End it by force, and do not wait."""
        self._process.kill()

    def wait(self, seconds: float) -> None:
        """Wait for its end; after so many seconds it is killed."""
        try:
            self._process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

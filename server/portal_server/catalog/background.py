"""Work of a server in the background."""

import threading
from abc import ABC, abstractmethod


class BackgroundTask(ABC):
    """Work that a thread does until it is stopped."""

    wait_s: float | None = None
    """How long `stop` waits for the current piece of work; None: until it is done.

    Without a limit, the store is not used after `stop`.
    """

    def __init__(self, name: str) -> None:
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def request_stop(self) -> None:
        """Have the thread end after its current piece of work."""
        self._stopped.set()

    def stop(self) -> None:
        """The same, and wait for it."""
        self.request_stop()
        if self._thread.is_alive():
            self._thread.join(self.wait_s)

    @abstractmethod
    def _run(self) -> None:
        """Work until `_stopped` is set."""

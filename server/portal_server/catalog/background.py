"""Work of a server in the background."""

import threading
from abc import ABC, abstractmethod


class BackgroundTask(ABC):
    """Work that a thread does until it is stopped."""

    def __init__(self, name: str) -> None:
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout_s: float | None = None) -> None:
        """Have the thread end after its current piece of work; wait for it, at most `timeout_s`.

        Without a limit, the store is not used after this.
        """
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    @abstractmethod
    def _run(self) -> None:
        """Work until `_stopped` is set."""

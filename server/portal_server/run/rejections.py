"""A line in the log that counts what Envoy rejects: never a line for each."""

import logging
import time
from collections.abc import Mapping

from portal_server.run.envoy_admin import Admin

log = logging.getLogger(__name__)

SECONDS = 10.0


class Rejections:
    """Compares Envoy's counters with those of the last line."""

    def __init__(self, admin: Admin, names: Mapping[str, str]) -> None:
        """`names` has the words for each counter, such as "connections over the limit"."""
        self._admin = admin
        self._names = names
        self._before: dict[str, int] = {}
        self._last = time.monotonic()

    def look(self) -> None:
        """Write the line, if it is time and there is something to tell."""
        now = time.monotonic()
        if not self._names or now - self._last < SECONDS:
            return
        self._last = now
        found = self._admin.stats(self._names)
        if not found:
            return
        counts: dict[str, int] = {}
        for name, value in found.items():
            before = self._before.get(name, 0)
            # A new Envoy counts from 0.
            words = self._names[name]
            counts[words] = counts.get(words, 0) + value - (before if before <= value else 0)
        self._before = found
        parts = [f"{number} {words}" for words, number in counts.items() if number]
        if parts:
            log.warning("Envoy rejected: %s", ", ".join(parts))

"""A periodic log line with the number of requests that Envoy rejected."""

import logging
import time
from collections.abc import Mapping

from portal_server.run.envoy_admin import Admin

log = logging.getLogger(__name__)

SECONDS = 10.0


class Rejections:
    """Compares Envoy's counters with those of the previous line.

    `names` has the text for each counter, such as "connections over the limit".
    """

    def __init__(self, admin: Admin, names: Mapping[str, str]) -> None:
        self._admin = admin
        self._names = names
        self._before: dict[str, int] = {}
        self._last = time.monotonic()

    def look(self) -> None:
        """Write the line if it is due and there were rejections."""
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
            text = self._names[name]
            counts[text] = counts.get(text, 0) + value - (before if before <= value else 0)
        self._before = found
        parts = [f"{number} {text}" for text, number in counts.items() if number]
        if parts:
            log.warning("Envoy rejected: %s", ", ".join(parts))

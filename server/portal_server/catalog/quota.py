"""Limits how much is stored for the retries of each API key."""

import threading
from collections import defaultdict
from datetime import datetime, timedelta

# For each key and server. A response is about 400 bytes, so this is some 600,000
# writes with a request id a day: seven each second.
MAX_KEPT_BYTES = 256 << 20
# What a row takes in addition to the response: hashes, times and entries in indexes.
ROW_BYTES = 200


class Quota:
    """Counts the bytes that are stored for each API key, by minutes.

    A response is stored for the time `keep`, and at most `max_bytes` for a key.
    """

    def __init__(self, keep: timedelta, max_bytes: int = MAX_KEPT_BYTES) -> None:
        self._keep = keep
        self._max = max_bytes
        self._lock = threading.Lock()
        self._minutes: dict[str, dict[datetime, int]] = defaultdict(dict)
        self._sums: dict[str, int] = defaultdict(int)

    def add(self, key_id: str, size: int, time: datetime, rows: int = 1) -> None:
        """Count responses that were stored at this time: their bytes and their rows."""
        size += rows * ROW_BYTES
        minute = time.replace(second=0, microsecond=0)
        with self._lock:
            minutes = self._minutes[key_id]
            minutes[minute] = minutes.get(minute, 0) + size
            self._sums[key_id] += size

    def is_used_up(self, key_id: str, now: datetime) -> bool:
        """Whether nothing more may be stored for this key now."""
        if self._sums.get(key_id, 0) < self._max:
            return False
        self.forget(now)
        return self._sums.get(key_id, 0) >= self._max

    def forget(self, now: datetime) -> None:
        """Subtract what has expired."""
        with self._lock:
            for key_id, minutes in list(self._minutes.items()):
                for minute in [m for m in minutes if m < now - self._keep]:
                    self._sums[key_id] -= minutes.pop(minute)
                if not minutes:
                    del self._minutes[key_id], self._sums[key_id]

"""How much each key has kept: a bound on what retries may cost the database."""

import threading
from collections import defaultdict
from datetime import datetime, timedelta

# For each key and server. A response is about 400 bytes, so this is some 600,000
# writes with a request id a day: seven each second.
MAX_KEPT_BYTES = 256 << 20
# What a row takes beside the response: its hashes, times and places in indexes.
ROW_BYTES = 200


class Quota:
    """Counts the bytes that each key has kept in the last while, by minutes."""

    def __init__(self, keep: timedelta, max_bytes: int = MAX_KEPT_BYTES) -> None:
        """Take how long a response is kept, and how much a key may keep."""
        self._keep = keep
        self._max = max_bytes
        self._lock = threading.Lock()
        self._minutes: dict[str, dict[datetime, int]] = defaultdict(dict)
        self._sums: dict[str, int] = defaultdict(int)

    def add(self, key_id: str, size: int, time: datetime, rows: int = 1) -> None:
        """Count responses that were kept at this time: so many bytes in so many rows."""
        size += rows * ROW_BYTES
        minute = time.replace(second=0, microsecond=0)
        with self._lock:
            minutes = self._minutes[key_id]
            minutes[minute] = minutes.get(minute, 0) + size
            self._sums[key_id] += size

    def is_used_up(self, key_id: str, now: datetime) -> bool:
        """Whether this key may keep no more at present."""
        if self._sums.get(key_id, 0) < self._max:
            return False
        self.forget(now)
        return self._sums.get(key_id, 0) >= self._max

    def forget(self, now: datetime) -> None:
        """Drop what has expired."""
        with self._lock:
            for key_id, minutes in list(self._minutes.items()):
                for minute in [m for m in minutes if m < now - self._keep]:
                    self._sums[key_id] -= minutes.pop(minute)
                if not minutes:
                    del self._minutes[key_id], self._sums[key_id]

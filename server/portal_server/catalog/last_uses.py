"""When each API key was last used, to the minute. A background task stores it.

A key that is used is looked up every second, so the look-ups are its uses. Each minute of a key
is written once, no matter how many servers see its calls: the look-up also reads what is stored.
"""

import logging
import threading
from datetime import datetime
from itertools import islice

from portal_server.catalog.background import BackgroundTask
from portal_server.catalog.updates import now
from portal_server.domain.api_key import ApiKey
from portal_server.domain.calls import Call
from portal_server.domain.errors import PortalError
from portal_server.storage.store import Store, Transaction

log = logging.getLogger(__name__)

PERIOD_S = 5.0
"""How often uses are stored."""
MAX_PENDING = 10_000
# How many keys are written in one transaction: other writes wait for it.
_BATCH = 100


class LastUses:
    """Notes the uses of keys, and stores them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._pending: dict[str, datetime] = {}

    def note(self, key: ApiKey) -> None:
        """Note that a key is used now."""
        minute = now().replace(second=0, microsecond=0)
        if key.last_use_time and key.last_use_time >= minute:
            return
        with self._lock:
            if len(self._pending) < MAX_PENDING:
                self._pending[key.id] = minute

    def store_pending(self) -> None:
        """Store the uses that were noted. Raises: PortalError; those of a failed write are lost."""
        with self._lock:
            pending, self._pending = self._pending, {}
        uses = iter(pending.items())
        while batch := list(islice(uses, _BATCH)):
            self._store_batch(batch)

    def _store_batch(self, batch: list[tuple[str, datetime]]) -> None:
        def work(tx: Transaction) -> None:
            for key_id, minute in batch:
                tx.api_keys.note_use(key_id, minute)

        self._store.write(Call(), work)


class LastUseTask(BackgroundTask):
    """Stores the last uses in the background, and the rest when it is stopped."""

    def __init__(self, uses: LastUses) -> None:
        super().__init__("last-uses")
        self._uses = uses

    def _run(self) -> None:
        while not self._stopped.wait(PERIOD_S):
            self._store()
        self._store()

    def _store(self) -> None:
        try:
            self._uses.store_pending()
        except PortalError as error:
            log.warning("the last uses of some API keys were not stored: %s", error.message)

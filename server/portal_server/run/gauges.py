"""Sets the gauges of a server: what is measured when somebody reads the metrics."""

import logging
import os
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from time import monotonic

from prometheus_client import CollectorRegistry

from portal_server import metrics
from portal_server.domain.calls import Call
from portal_server.domain.errors import PortalError
from portal_server.domain.keys import Role
from portal_server.storage.store import Store
from portal_server.wire.pool import Pool
from portal_server.wire.streams import MAX_STREAMS, Streams

log = logging.getLogger("portal.metrics")

# The numbers of rows read whole tables.
_STATISTICS_PERIOD_S = 60.0


class Gauges:
    """The gauges of one server. Only the first server reads the numbers of rows.

    Args:
        pools: the pools of calls.
        streams: the open streams of changes.
        store: where the rows are.
        file: the file of SQLite; None with PostgreSQL.
        reads_rows: whether this server reads the numbers of rows.
    """

    def __init__(
        self,
        pools: Iterable[Pool],
        streams: Streams,
        store: Store,
        *,
        file: Path | None,
        reads_rows: bool,
    ) -> None:
        self._pools = tuple(pools)
        self._streams = streams
        self._store = store
        self._file = file
        self._due: float | None = 0.0 if reads_rows else None
        self._has_rows = False
        metrics.BUILD.labels(version("oauth-portal-server")).set(1)

    def refresh(self) -> list[CollectorRegistry]:
        """Set all gauges; returns the registries whose gauges this server has set."""
        for pool in self._pools:
            metrics.QUEUE_LENGTH.labels(pool.name).set(pool.waiting)
            metrics.THREADS_IN_USE.labels(pool.name).set(pool.running)
            metrics.THREADS_MAX.labels(pool.name).set(pool.size)
        metrics.WATCH_STREAMS.set(self._streams.count)
        metrics.WATCH_STREAMS_MAX.set(MAX_STREAMS)
        used, idle, most = self._store.connections()
        metrics.CONNECTIONS.labels("used").set(used)
        metrics.CONNECTIONS.labels("idle").set(idle)
        metrics.CONNECTIONS_MAX.set(most)
        found = [metrics.REGISTRY]
        if self._due is None:
            return found
        if monotonic() >= self._due:
            self._due = monotonic() + _STATISTICS_PERIOD_S
            try:
                self._read_rows()
                self._has_rows = True
            except PortalError as error:
                log.warning("the numbers of rows were not read: %s", error.reason)
        if self._has_rows:
            found.append(metrics.ROWS)
        if self._file:
            self._read_files(self._file)
            found.append(metrics.FILES)
        return found

    def _read_rows(self) -> None:
        found = self._store.statistics(Call(), datetime.now(UTC))
        metrics.SCHEMA.clear()
        metrics.SCHEMA.labels(self._store.schema_revision(Call())).set(1)
        metrics.KEPT_RESPONSES.set(found.kept_responses)
        metrics.KEPT_BYTES.set(found.kept_bytes)
        metrics.DATABASE_BYTES.set(found.size)
        metrics.RETAINED_WAL_BYTES.set(found.retained_wal)
        clients: Counter[tuple[str, str]] = Counter()
        for (provider_id, state), count in found.clients.items():
            clients[metrics.provider_label(provider_id), state] += count
        metrics.CLIENTS.clear()
        for labels, count in clients.items():
            metrics.CLIENTS.labels(*labels).set(count)
        for role in Role:
            metrics.KEYS.labels(role.value).set(found.keys.get(role.value, 0))

    def _read_files(self, file: Path) -> None:
        wal = file.with_name(f"{file.name}-wal")
        metrics.WAL_BYTES.set(wal.stat().st_size if wal.exists() else 0)
        space = os.statvfs(file.parent)
        metrics.DISK_FREE_BYTES.set(space.f_bavail * space.f_frsize)

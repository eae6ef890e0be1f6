"""The metrics of a server. The first one is that of OpenTelemetry for gRPC.

A label has only values that the portal defines, or the ID of a provider, up to a limit: nothing
that a caller chooses. `run/metrics_socket.py` passes them to `portal up`, which serves them.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY = CollectorRegistry()
"""What every server has."""
ROWS = CollectorRegistry()
"""What only the first server reads from the database."""
FILES = CollectorRegistry()
"""The same, from the files of SQLite."""

OTHER = "other"
"""The label of a provider beyond the limit."""
MAX_PROVIDERS = 100
"""How many providers have separate series."""

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15)

CALLS = Histogram(
    "grpc_server_call_duration_seconds",
    "Duration of calls in a server, from the start of their thread to their end.",
    ("grpc_method", "grpc_status", "surface"),
    buckets=_SECONDS,
    registry=REGISTRY,
)
CALL_ERRORS = Counter(
    "portal_call_errors",
    "Calls that ended with an error, rejected ones included, by their reason.",
    ("reason",),
    registry=REGISTRY,
)
QUEUE_WAIT = Histogram(
    "portal_queue_wait_seconds",
    "How long calls waited for a thread. Calls that did not wait are not counted.",
    ("pool",),
    buckets=_SECONDS,
    registry=REGISTRY,
)
QUEUE_LENGTH = Gauge(
    "portal_queue_length", "Calls that wait for a thread.", ("pool",), registry=REGISTRY
)
THREADS_IN_USE = Gauge(
    "portal_threads_in_use", "Threads that run a call.", ("pool",), registry=REGISTRY
)
THREADS_MAX = Gauge("portal_threads_max", "Threads that may run.", ("pool",), registry=REGISTRY)
WATCH_STREAMS = Gauge("portal_watch_streams", "Open streams of changes.", registry=REGISTRY)
WATCH_STREAMS_MAX = Gauge(
    "portal_watch_streams_max", "Streams of changes that may be open.", registry=REGISTRY
)
GROUP_SIZE = Histogram(
    "portal_commit_group_size",
    "Writes that were committed together.",
    buckets=(1, 2, 4, 8, 16, 32, 64),
    registry=REGISTRY,
)
COMMIT_SECONDS = Histogram(
    "portal_commit_duration_seconds",
    "Duration of transactions that write, from begin to commit.",
    buckets=_SECONDS,
    registry=REGISTRY,
)
CONNECTIONS = Gauge(
    "portal_database_connections",
    "Connections to the database.",
    ("state",),
    registry=REGISTRY,
)
CONNECTIONS_MAX = Gauge(
    "portal_database_connections_max", "Connections to the database at most.", registry=REGISTRY
)
CONNECTION_WAIT = Histogram(
    "portal_database_connection_wait_seconds",
    "How long work waited for a connection, if it was a millisecond or more.",
    buckets=_SECONDS[1:],
    registry=REGISTRY,
)
PROVIDER_CALLS = Histogram(
    "portal_provider_call_duration_seconds",
    "Duration of HTTP requests to an identity provider, by its ID and the outcome.",
    ("provider", "outcome"),
    buckets=_SECONDS,
    registry=REGISTRY,
)
KEPT_RESPONSES = Gauge("portal_kept_responses", "Results that are kept for retries.", registry=ROWS)
KEPT_BYTES = Gauge("portal_kept_responses_bytes", "Bytes of these results.", registry=ROWS)
KEYS = Gauge("portal_keys", "Valid API keys by role.", ("role",), registry=ROWS)
CLIENTS = Gauge(
    "portal_clients", "Clients by provider and state.", ("provider", "state"), registry=ROWS
)
DATABASE_BYTES = Gauge("portal_database_size_bytes", "Size of the database.", registry=ROWS)
RETAINED_WAL_BYTES = Gauge(
    "portal_database_retained_wal_bytes",
    "What PostgreSQL keeps of its write-ahead log for the slowest replication slot.",
    registry=ROWS,
)
WAL_BYTES = Gauge(
    "portal_database_wal_size_bytes", "Size of SQLite's write-ahead log.", registry=FILES
)
DISK_FREE_BYTES = Gauge(
    "portal_disk_free_bytes", "Free space of the file system of SQLite.", registry=FILES
)
BUILD = Gauge("portal_build_info", "The version, 1.", ("version",), registry=REGISTRY)
SCHEMA = Gauge(
    "portal_schema_info",
    "The revision of the database's schema, 1.",
    ("revision",),
    registry=ROWS,
)

_providers: set[str] = set()


def provider_label(provider_id: int) -> str:
    """The label of a provider: its ID, or `other` for those beyond the limit."""
    label = str(provider_id)
    if label not in _providers:
        if len(_providers) >= MAX_PROVIDERS:
            return OTHER
        _providers.add(label)
    return label

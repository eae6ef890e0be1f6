"""How many servers `portal up` starts, and on which cores they and Envoy run."""

import logging
import os

from sqlalchemy import Engine

from portal_server.run.process import core_of
from portal_server.run.settings import Settings
from portal_server.storage.sql.engine import max_connections
from portal_server.wire.callers import read_threads

log = logging.getLogger(__name__)

# Two background tasks have their own connections: the expiry of results, and the readiness check.
# Threads of calls that wait for providers have none: such a call uses a connection only before and
# after it waits, and shares those of the other threads.
_MORE_CONNECTIONS = 2
# The part of the database's connections that is left to commands and other programs.
_RESERVED_CONNECTIONS = 5
_MOST = 64


def connections_of(settings: Settings) -> int:
    """How many connections to the database a server has."""
    return settings.threads + read_threads(settings.threads) + _MORE_CONNECTIONS


def worker_count(settings: Settings, engine: Engine) -> int:
    """How many servers to start. Raises: PortalError (the database does not respond)."""
    if settings.workers:
        return settings.workers
    if engine.dialect.name == "sqlite":
        return 1  # a file has one writer at a time: a second process would only wait
    # Each server has its own core, and Envoy needs as much CPU as the servers. On two or three
    # cores, two servers create more than one with 16 callers or more.
    cores = len(os.sched_getaffinity(0))
    wanted = min(max(cores // 2, min(cores, 2)), _MOST)
    usable = max_connections(engine) - _RESERVED_CONNECTIONS
    # A restart runs one more server.
    possible = max(1, usable // connections_of(settings) - 1)
    if possible < wanted:
        text = "PostgreSQL's max_connections permits %d servers, not %d: see PORTAL_WORKERS"
        log.warning(text, possible, wanted)
    return min(wanted, possible)


def cores_of_envoy(workers: int, *, one_core: bool) -> set[int]:
    """The cores without a server, so that Envoy and the servers run in parallel; else all."""
    cores = os.sched_getaffinity(0)
    if not one_core:
        return cores
    return cores - {core_of(number) for number in range(workers)} or cores

"""A server that a test starts and stops itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import SecretStr

from portal_server.run.server import Server
from portal_server.run.settings import Settings
from tests.support.catalog import KEYS


@contextmanager
def started(url: str, **settings: Any) -> Iterator[Server]:
    """A server on a migrated database, with these settings and no others."""
    server = Server(
        Settings.model_construct(
            database_url=SecretStr(url), direct_grpc_port=0, encryption_keys=KEYS, **settings
        )
    )
    server.start()
    try:
        yield server
    finally:
        server.stop()

"""What the server's commands do, with the settings of the environment.

They raise OperatorError, PortalError and OSError, each of which is one line for people.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from portal_server.catalog.keyring import KeyRing
from portal_server.run.settings import Settings, configure_logging, load
from portal_server.storage.sql import schema
from portal_server.storage.sql.engine import open_engine
from portal_server.storage.store import Store


def up() -> None:
    """Run everything until a signal."""
    from portal_server.run.up import up as run  # noqa: PLC0415 - the others do not need it

    run(_settings())


def serve(socket: Path | None, number: int) -> None:
    """Serve gRPC until a signal, on a Unix socket, a TCP port or both."""
    from portal_server.run.server import Listen  # noqa: PLC0415 - gRPC, which nobody else needs
    from portal_server.run.server import serve as run  # noqa: PLC0415

    run(_settings(), Listen(socket, number))


def migrate(timeout_s: int) -> None:
    """Bring the database to this version's schema; a statement may take so many seconds."""
    schema.migrate(open_engine(_settings().database), timeout_s=timeout_s)


@contextmanager
def keyring() -> Iterator[KeyRing]:
    """The keys that are stored."""
    engine = open_engine(_load().database)
    schema.require_known(engine)
    store = Store(engine)
    try:
        yield KeyRing(store)
    finally:
        store.close()


def _settings() -> Settings:
    settings = _load()
    configure_logging(settings.log_level)
    return settings


def _load() -> Settings:
    # Whatever a server's command makes, such as a database or a socket, is for its user alone.
    os.umask(0o077)
    return load()

"""What the server's commands do, with the settings of the environment.

They raise OperatorError, PortalError and OSError, each of which is one line for people.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from portal_server.keyring import KeyRing
from portal_server.settings import Settings, configure_logging, load
from portal_server.storage import schema
from portal_server.storage.engine import open_engine
from portal_server.storage.store import Store


def up() -> None:
    """Run everything until a signal."""
    from portal_server.up import up as run  # noqa: PLC0415 - the others do not need it

    run(_settings())


def serve(worker: int, socket: Path | None) -> None:
    """Serve gRPC until a signal; as one of several servers with a socket."""
    from portal_server.server import Worker  # noqa: PLC0415 - gRPC, which nobody else needs
    from portal_server.server import serve as run  # noqa: PLC0415

    run(_settings(), Worker(worker, socket) if socket else None)


def migrate() -> None:
    """Bring the database to this version's schema."""
    schema.migrate(open_engine(_settings().database))


@contextmanager
def keyring() -> Iterator[KeyRing]:
    """The keys that are stored."""
    engine = open_engine(load().database)
    schema.require_newest(engine)
    store = Store(engine)
    try:
        yield KeyRing(store)
    finally:
        store.close()


def _settings() -> Settings:
    settings = load()
    configure_logging(settings.log_level)
    return settings

"""The commands for the whole database: back it up, restore it, check it."""

import errno
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from portal_server.catalog import audit_verification
from portal_server.catalog.idempotency import unreadable
from portal_server.domain.calls import Call
from portal_server.domain.errors import OperatorError
from portal_server.run.encryption_keys import vault_of
from portal_server.run.existing import open_existing
from portal_server.run.new_files import new_private_file
from portal_server.run.settings import Settings
from portal_server.storage.backup import copying
from portal_server.storage.backup.archive import Manifest, Reader
from portal_server.storage.consistency import problems
from portal_server.storage.rows import responses
from portal_server.storage.sql.first_connection import open_connected
from portal_server.storage.store import Store


def back_up(settings: Settings, file: Path, *, replace: bool) -> Manifest:
    """Write a backup of the database to a file, and read it again to verify it.

    Raises:
        OperatorError: the file exists or cannot be written, or the database is damaged.
        PortalError: the storage failed.
    """
    if not replace and file.exists():
        raise _exists(file)
    engine = open_existing(settings, connections=1)
    try:
        with _file_errors(file), new_private_file(file, replace=replace) as opened:
            manifest = copying.back_up(engine, opened)
            opened.flush()
            # The descriptor's own path: the file does not have its name yet.
            with closing(Reader(Path(f"/proc/self/fd/{opened.fileno()}"))) as written:
                written.verify()
    finally:
        engine.dispose()
    return manifest


def verify(file: Path) -> Manifest:
    """Verify the checksums of a backup. Raises: OperatorError."""
    with _file_errors(file), closing(Reader(file)) as backup:
        backup.verify()
        return backup.manifest


def restore(settings: Settings, file: Path) -> Manifest:
    """Restore a backup to the empty database of the settings.

    Raises:
        OperatorError: the file is invalid, or the database is in use or not empty.
        PortalError: the storage failed.
    """
    vault = vault_of(settings)
    with _file_errors(file), closing(Reader(file)) as backup:
        copying.require_unused(settings.database)
        engine = open_connected(settings.database, connections=1)
        try:
            copying.restore(engine, backup, vault.seal)
        finally:
            engine.dispose()
        return backup.manifest


def check(settings: Settings) -> Iterator[str]:
    """Every problem of the database, and of the chain of its audit events if there is no other.

    Raises: OperatorError, PortalError.
    """
    vault = vault_of(settings)
    engine = open_existing(settings, connections=1)
    store = Store(engine, vault)
    try:
        found = list(problems(engine, vault, {responses.TABLE.name: unreadable}))
        yield from found or audit_verification.verify(store, Call()).problems
    finally:
        store.close()


@contextmanager
def _file_errors(file: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError:
        raise _exists(file) from None
    except OSError as error:
        # Also while it is written: then the error has no name of a file.
        raise OperatorError(f"{file}: {error.strerror or os.strerror(errno.EIO)}") from None


def _exists(file: Path) -> OperatorError:
    return OperatorError(f"{file} exists: choose another name, or replace it with --force")

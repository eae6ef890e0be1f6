"""Files with secrets: for their owner only, and there as a whole or not at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


@contextmanager
def new_private_file(file: Path, *, replace: bool = False) -> Iterator[IO[bytes]]:
    """A file with mode 0600 to write to, which gets its name, durably, if this block succeeds.

    Raises:
        FileExistsError: there is one already, and it is not to be replaced.
        OSError: it cannot be written.
    """
    part = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w+b") as opened:
            yield opened
            opened.flush()
            os.fsync(descriptor)
        if replace:
            part.replace(file)
        else:
            # Unlike a rename, this fails if the name exists.
            os.link(part, file)
    finally:
        with suppress(OSError):
            part.unlink()
    _sync(file.parent)


def _sync(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""The first admin API key: created at the first start, shown on a terminal or written to a file."""

import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from portal_server.catalog.api_keys import ApiKeys
from portal_server.domain.calls import Call, Origin
from portal_server.domain.errors import OperatorError

_NOTE = "created by portal up"
_CALL = Call(origin=Origin("portal up"))


class KeyFileError(OperatorError):
    """The file for the first API key cannot be written; no API key was created."""


@dataclass(frozen=True)
class FirstKey:
    """A new API key: its text, a secret, or the file that contains it."""

    text: str | None = None
    file: Path | None = None


def create_first_key(api_keys: ApiKeys, file: Path) -> FirstKey | None:
    """Create an admin API key if there is no API key at all.

    On a terminal it is shown. Any other standard output may be stored by a service
    manager, so the API key goes to the file then. The file is written first, because
    the API key cannot be recovered later.

    Returns:
        The new API key, or None if there was one already.

    Raises:
        KeyFileError: the file exists already or cannot be written.
    """
    if sys.stdout.isatty():
        text = api_keys.create_first(_CALL, _NOTE)
        return FirstKey(text=text) if text else None
    written: list[Path] = []

    def write(key: str) -> None:
        try:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            written.append(file)
            with os.fdopen(descriptor, "w") as opened:
                opened.write(f"{key}\n")
                opened.flush()
                os.fsync(descriptor)
        except OSError as error:
            exists = "it exists; if it is of an earlier database, remove it"
            reason = exists if isinstance(error, FileExistsError) else error.strerror
            text = f"cannot write the first API key to {file}: {reason}"
            raise KeyFileError(f"{text}; set PORTAL_KEY_FILE or PORTAL_ADMIN_KEY") from None

    key = None
    try:
        key = api_keys.create_first(_CALL, _NOTE, write)
    finally:
        if key is None and written:
            with suppress(OSError):
                file.unlink()
    return FirstKey(file=file.resolve()) if key else None

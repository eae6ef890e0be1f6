"""The admin key that the first start makes: told to a terminal, or else to a private file."""

import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from portal_server.catalog.keyring import KeyRing
from portal_server.domain.errors import OperatorError

_NOTE = "made by portal up"


class KeyFileError(OperatorError):
    """The file for the first key cannot be written; no key was made."""


@dataclass(frozen=True)
class FirstKey:
    """A key that was just made: its text, a secret, or the file that has it."""

    text: str | None = None
    file: Path | None = None


def make_first_key(keyring: KeyRing, file: Path) -> FirstKey | None:
    """Make an admin key where there is no key at all.

    At a terminal somebody reads it. All else that standard output is connected to
    may keep it, so there it goes to the file: first, because it cannot be had again.

    Raises:
        KeyFileError: the file is there already or cannot be written.
    """
    if sys.stdout.isatty():
        text = keyring.create_first(_NOTE)
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
            text = f"the first key cannot be written to {file}: {error.strerror}"
            raise KeyFileError(f"{text}; set PORTAL_KEY_FILE or PORTAL_ADMIN_KEY") from None

    key = None
    try:
        key = keyring.create_first(_NOTE, write)
    finally:
        if key is None and written:
            with suppress(OSError):
                file.unlink()
    return FirstKey(file=file.resolve()) if key else None

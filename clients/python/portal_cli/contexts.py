"""Connections with names, in a file that only its owner can read."""

import os
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

import typer
import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from portal_cli.errors import CommandError, Exit

_OTHERS: Final = 0o077


class Connection(BaseModel):
    """How to reach a portal. `key` is a secret."""

    model_config = ConfigDict(extra="forbid")

    target: str
    key: str | None = None
    tls: bool = False
    ca: Path | None = None
    cert: Path | None = None
    cert_key: Path | None = None


class Contexts(BaseModel):
    """The file: connections by name, and the name of the one to use by default."""

    model_config = ConfigDict(extra="forbid")

    current: str | None = None
    contexts: dict[str, Connection] = {}

    def named(self, name: str) -> Connection:
        """The connection with this name. Raises: CommandError."""
        if name not in self.contexts:
            known = ", ".join(self.contexts) or "none"
            raise CommandError(f"no context named {name}; there are: {known}", Exit.USAGE)
        return self.contexts[name]


def path() -> Path:
    """The file, in the folder of the user's settings."""
    return Path(typer.get_app_dir("portal")) / "contexts.yaml"


def load() -> Contexts:
    """Read the file; without a file there are no contexts.

    Raises:
        CommandError: it cannot be read, others can read it, or it is invalid.
    """
    file = path()
    try:
        text = file.read_text(encoding="utf-8")
        mode = file.stat().st_mode
    except FileNotFoundError:
        return Contexts()
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}") from None
    if mode & _OTHERS:
        raise CommandError(f"{file}: others can read the API keys: run `chmod 600 {file}`")
    try:
        return Contexts.model_validate(yaml.safe_load(text) or {})
    except (yaml.YAMLError, ValidationError):
        # The error has parts of the file, which has API keys.
        raise CommandError(f"{file}: not a valid file of contexts") from None


def save(contexts: Contexts) -> None:
    """Replace the file, with the mode 0600. Raises: CommandError."""
    file = path()
    text = yaml.safe_dump(contexts.model_dump(mode="json", exclude_none=True), sort_keys=False)
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Created with the mode 0600.
        with NamedTemporaryFile("w", dir=file.parent, encoding="utf-8", delete=False) as new:
            try:
                new.write(text)
                new.flush()
                os.replace(new.name, file)  # noqa: PTH105 - the name is a text
            except BaseException:
                with suppress(OSError):
                    os.unlink(new.name)  # noqa: PTH108
                raise
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}") from None

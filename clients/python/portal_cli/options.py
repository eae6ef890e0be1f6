"""What every command of the client knows: where the portal is, and how to write."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

import typer

from portal_cli.errors import CommandError, Exit
from portal_client import Portal, Tls

MAX_ID: Final = (1 << 31) - 1


class Output(StrEnum):
    """How results are written."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


@dataclass(frozen=True, slots=True)
class Options:
    """The options before the command."""

    target: str
    key: str | None = field(repr=False)
    tls: bool
    ca: Path | None
    timeout: float
    output: Output

    @contextmanager
    def portal(self) -> Iterator[Portal]:
        """The portal. Raises: CommandError (no key or none that can be, an unreadable file)."""
        if not self.key:
            raise CommandError("there is no key: set PORTAL_KEY, or give --key", Exit.USAGE)
        tls = Tls(ca=self.ca) if self.ca else self.tls
        try:
            portal = Portal(self.target, key=self.key, tls=tls, timeout=self.timeout)
        except OSError as error:
            raise CommandError(f"{error.filename}: {error.strerror}") from None
        except ValueError as error:
            raise CommandError(str(error), Exit.USAGE) from None
        with portal:
            yield portal


def of(context: typer.Context) -> Options:
    """The options of a command."""
    options = context.find_object(Options)
    if options is None:
        raise CommandError("the command was started without the options of `portal`")
    return options

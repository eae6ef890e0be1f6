"""Options that several commands share."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from portal_cli.errors import CommandError, Exit
from portal_client import Portal, Tls

MAX_ID: Final = (1 << 31) - 1

Etag = Annotated[str, typer.Option(help="Only if this is the current etag of the resource.")]
Uid = Annotated[
    str, typer.Option(help="UUID of the resource in another system; default: a new one.")
]
Force = Annotated[bool, typer.Option("--force", help="Delete its clients first.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]


class Output(StrEnum):
    """The format of results."""

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
        """A client for the portal. Raises: CommandError (API key missing or invalid, bad file)."""
        if not self.key:
            raise CommandError("no API key: set PORTAL_KEY or pass --key", Exit.USAGE)
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
    """The options before a command."""
    options = context.find_object(Options)
    if options is None:
        raise CommandError("the command was started without the options of `portal`")
    return options


def require_change(names: Sequence[str]) -> None:
    """Raise CommandError if an update has no fields."""
    if not names:
        raise CommandError("nothing to update: pass at least one field", Exit.USAGE)


def confirm(question: str, *, yes: bool) -> None:
    """Ask the user, unless `--yes` was passed.

    Raises:
        typer.Abort: the user did not confirm.
        CommandError: standard input is not a terminal.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise CommandError("stdin is not a terminal; pass --yes to confirm", Exit.USAGE)
    typer.confirm(question, abort=True, err=True)

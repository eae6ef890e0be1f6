"""Errors and exit codes of commands. docs/cli.md describes the exit codes."""

from enum import IntEnum
from typing import Any, Final

from portal_client import (
    DeadlineExceeded,
    NotFound,
    PermissionDenied,
    PortalError,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)


class Exit(IntEnum):
    """Exit codes. From 64 on they are those of sysexits.h, where it has one."""

    DONE = 0
    FAILED = 1
    WOULD_CHANGE = 2
    INCOMPLETE = 3
    USAGE = 64
    DATA = 65
    NOT_FOUND = 66
    NO_SERVER = 69
    OUTPUT = 74
    NO_PERMISSION = 77
    HANGUP = 129
    INTERRUPTED = 130
    TERMINATED = 143


_CODES: Final[dict[type[PortalError], Exit]] = {
    NotFound: Exit.NOT_FOUND,
    Unauthenticated: Exit.NO_PERMISSION,
    PermissionDenied: Exit.NO_PERMISSION,
    Unavailable: Exit.NO_SERVER,
    DeadlineExceeded: Exit.NO_SERVER,
    ResourceExhausted: Exit.NO_SERVER,
}


class CommandError(Exception):
    """A command failed; the text is one line for the user, the details are for programs."""

    def __init__(self, text: str, code: Exit = Exit.FAILED, **details: Any) -> None:
        super().__init__(text)
        self.code = code
        self.details = details


def exit_code(error: PortalError) -> Exit:
    """The exit code of a command that ended with this error of the server."""
    return _CODES.get(type(error), Exit.FAILED)

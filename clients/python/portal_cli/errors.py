"""Errors and exit codes of commands. docs/cli.md describes the exit codes."""

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes."""

    DONE = 0
    FAILED = 1
    WOULD_CHANGE = 2
    INCOMPLETE = 3
    USAGE = 64
    INTERRUPTED = 130


class CommandError(Exception):
    """A command failed; the text is one line for the user."""

    def __init__(self, text: str, code: Exit = Exit.FAILED) -> None:
        super().__init__(text)
        self.code = code

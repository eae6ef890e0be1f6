"""What a command ends with. Exit codes are documented in docs/cli.md."""

from enum import IntEnum


class Exit(IntEnum):
    """How a command ended."""

    DONE = 0
    FAILED = 1
    WOULD_CHANGE = 2
    INCOMPLETE = 3
    USAGE = 64
    INTERRUPTED = 130


class CommandError(Exception):
    """A command cannot go on; the text is one line for people."""

    def __init__(self, text: str, code: Exit = Exit.FAILED) -> None:
        """Take the line and the exit code."""
        super().__init__(text)
        self.code = code

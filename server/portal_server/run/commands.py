"""What the commands of the server share: the settings, and errors of one line."""

import functools
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec

from portal_cli.errors import CommandError
from portal_server.domain.errors import OperatorError, PortalError

if TYPE_CHECKING:
    from portal_server.run.settings import Settings

Parameters = ParamSpec("Parameters")


def one_line_errors(command: Callable[Parameters, None]) -> Callable[Parameters, None]:
    """Turn an error that an operator can fix into one of the command line."""

    @functools.wraps(command)
    def run(*arguments: Parameters.args, **options: Parameters.kwargs) -> None:
        try:
            command(*arguments, **options)
        except (OperatorError, PortalError) as error:
            raise CommandError(str(error)) from None
        except OSError as error:
            if error.filename is None:  # standard output, perhaps
                raise
            raise CommandError(f"{error.filename}: {error.strerror}") from None

    return run


def logged_settings() -> "Settings":
    """The settings, with the log configured. Raises: SettingsError."""
    from portal_server.run.logs import configure_logging

    found = load_settings()
    configure_logging(found.log_level, found.log_format)
    return found


def load_settings() -> "Settings":
    """The settings. Raises: SettingsError."""
    from portal_server.run.environment import load

    # Files that a command creates, such as the database or a socket, are for its user only.
    os.umask(0o077)
    return load()

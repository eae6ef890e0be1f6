"""Completion: the script of a shell, and the values that it asks for."""

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any, Final

import typer
from typer.completion import shell_complete

from portal_cli import options, references
from portal_cli.errors import CommandError
from portal_client import Portal, PortalError

# A person waits for them.
_SECONDS: Final = 2.0
VARIABLE: Final = "_PORTAL_COMPLETE"
"""Set by the script: what it asks for."""


class Shell(StrEnum):
    """A shell that can complete commands."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(
    context: typer.Context,
    shell: Annotated[Shell, typer.Argument(help="The shell.")],
) -> None:
    """Print the script that completes commands, options, values and IDs in a shell."""
    shell_complete(context.find_root().command, {}, "portal", VARIABLE, f"source_{shell}")


def respond(command: Any, given: options.Given, wanted: str) -> int:
    """Print what the script of a shell asks for; the exit code."""
    return shell_complete(command, {"obj": given}, "portal", VARIABLE, wanted)


def words(known: Any) -> Callable[[str], list[str]]:
    """Completes the words of a field; of a list, the last one."""

    def complete(incomplete: str) -> list[str]:
        before, comma, _ = incomplete.rpartition(",")
        used = before.split(",")
        return [f"{before}{comma}{one}" for one in known if one not in used]

    return complete


def providers(context: typer.Context) -> list[tuple[str, str]]:
    """Completes the ID of a provider."""
    return _ids(context, lambda portal: portal.list_providers())


def client_types(context: typer.Context) -> list[tuple[str, str]]:
    """Completes the ID of a client type of the provider before it."""
    return _of_provider(context, lambda portal, provider: portal.list_client_types(provider))


def clients(context: typer.Context) -> list[tuple[str, str]]:
    """Completes the ID of a client of the provider before it."""
    return _of_provider(context, lambda portal, provider: portal.list_clients(provider))


def _of_provider(
    context: typer.Context, listed: Callable[[Portal, int], Any]
) -> list[tuple[str, str]]:
    given = context.params.get("provider")
    if not given:
        return []
    return _ids(context, lambda portal: listed(portal, references.provider(portal, given)))


def _ids(context: typer.Context, listed: Callable[[Portal], Any]) -> list[tuple[str, str]]:
    """IDs with names; none if the portal cannot be asked."""
    try:
        with options.of(context, timeout=_SECONDS).portal() as portal:
            return [(str(one.id), one.name) for one in listed(portal)]
    except (CommandError, PortalError):
        return []

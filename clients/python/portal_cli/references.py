"""Which resource an argument means: the one with this ID, this uid or exactly this name."""

import re
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from portal_cli.errors import CommandError, Exit
from portal_client import Portal

MAX_ID: Final = (1 << 31) - 1
_MAX_LISTED: Final = 10
_NUMBER: Final = re.compile(r"[0-9]+")
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class _Resource(Protocol):
    id: int
    uid: str


def provider(portal: Portal, given: str) -> int:
    """The ID of a provider.

    Raises:
        CommandError: no provider has this uid or name, or several have the name.
        PortalError: the providers cannot be listed.
    """
    return _id("provider", given, lambda where: portal.list_providers(filter=where))


def client_type(portal: Portal, provider_given: str, given: str) -> tuple[int, int]:
    """The IDs of a provider and of one of its client types. Raises: as `provider`."""
    parent = provider(portal, provider_given)
    return parent, _id(
        "client type", given, lambda where: portal.list_client_types(parent, filter=where)
    )


def client(portal: Portal, provider_given: str, given: str) -> tuple[int, int]:
    """The IDs of a provider and of one of its clients. Raises: as `provider`."""
    parent = provider(portal, provider_given)
    return parent, _id("client", given, lambda where: portal.list_clients(parent, filter=where))


def _id(kind: str, given: str, listed: Callable[[str], Iterable[_Resource]]) -> int:
    """`listed` lists the resources that match a filter."""
    if _NUMBER.fullmatch(given):
        # Before `int`, which is slow for many digits.
        if len(given) > len(str(MAX_ID)) or not 1 <= int(given) <= MAX_ID:
            raise CommandError(f"the ID of a {kind} is between 1 and {MAX_ID}", Exit.USAGE)
        return int(given)
    if _UUID.fullmatch(given):
        what = "uid"
        found = [one.id for one in listed("") if one.uid.lower() == given.lower()]
    else:
        what = "name"
        found = [one.id for one in listed(f"name = {_quoted(given)}")]
    if not found:
        raise CommandError(f"no {kind} has the {what} {given!r}", Exit.NOT_FOUND)
    if len(found) > 1:
        ids = ", ".join(map(str, found[:_MAX_LISTED]))
        more = ", …" if len(found) > _MAX_LISTED else ""
        raise CommandError(
            f"{len(found)} {kind}s have the {what} {given!r}; pass one of their IDs: {ids}{more}",
            Exit.USAGE,
        )
    return found[0]


def _quoted(text: str) -> str:
    """The text as a value of a filter."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'

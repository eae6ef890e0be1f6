"""Where `portal keys` works: at a portal, over its API, or on the database of its server."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import typer

from portal_cli import options
from portal_client import ApiKey, CreateApiKeyResponse, RotateApiKeyResponse


class ApiKeys(Protocol):
    """The methods of `Portal` for API keys."""

    def create_api_key(self, api_key: ApiKey, /) -> CreateApiKeyResponse:
        """Create an API key."""

    def get_api_key(self, key_id: str, /) -> ApiKey:
        """Get an API key."""

    def list_api_keys(self) -> Iterable[ApiKey]:
        """List the API keys."""

    def update_api_key(self, api_key: ApiKey, /, *, fields: Iterable[str]) -> ApiKey:
        """Update fields of an API key."""

    def rotate_api_key(
        self, key_id: str, /, *, overlap: timedelta, expire_time: datetime | None, etag: str
    ) -> RotateApiKeyResponse:
        """Give an API key a new secret."""

    def revoke_api_key(self, key_id: str, /, *, etag: str) -> ApiKey:
        """Revoke an API key."""


@dataclass(frozen=True, slots=True)
class Place:
    """API keys, and where they are: `at HOST:PORT` or `in DATABASE`."""

    api_keys: ApiKeys
    name: str
    needs_admin_key: bool
    """Whether another key can be created there only with an admin key."""


_databases: list[Callable[[], AbstractContextManager[Place]]] = []


def add_database(opened: Callable[[], AbstractContextManager[Place]]) -> None:
    """Declare how to open the database: only an installed server knows that."""
    _databases.append(opened)


@contextmanager
def opened(context: typer.Context) -> Iterator[Place]:
    """The place that the options of a command choose.

    It is a portal if one is given: by an option, a variable or the current context. Otherwise it
    is the database, or the default portal if no server is installed.

    Raises:
        CommandError: the portal or the database cannot be used.
    """
    if _databases and not options.given(context).names_portal:
        with _databases[-1]() as place:
            yield place
        return
    common = options.of(context)
    with common.portal() as portal:
        yield Place(portal, f"at {common.target}", needs_admin_key=True)

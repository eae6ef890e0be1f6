"""A client of OAuth Portal: `Portal`, and `AsyncPortal` for event loops.

Resources are the messages of the API, `Provider`, `ClientType` and `Client`. Everything that the
public protos define can be imported from here: messages, enums and their values.
"""

from typing import TYPE_CHECKING

from portal_client import api, errors
from portal_client.aio import AsyncPortal as AsyncPortal
from portal_client.api import *  # noqa: F403
from portal_client.connection import Tls as Tls
from portal_client.errors import *  # noqa: F403
from portal_client.sync import Portal as Portal

if not TYPE_CHECKING:  # see api.py
    __all__ = [*api.__all__, *errors.__all__, "AsyncPortal", "Portal", "Tls"]  # noqa: PLE0604

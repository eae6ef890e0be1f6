"""Whose API key a call has."""

from portal_server.catalog.keyring import KeyRing
from portal_server.domain.calls import Call
from portal_server.domain.errors import Unauthenticated
from portal_server.domain.keys import Caller
from portal_server.wire.callers import CallerQueues, Callers
from portal_server.wire.requests import AUTHORIZATION, Metadata, values_of


class Authenticator:
    """Checks the API key of each call, and reports valid keys to the queues."""

    def __init__(self, keyring: KeyRing, callers: Callers) -> None:
        self._keyring = keyring
        self._callers = callers

    def authenticate(self, call: Call, metadata: Metadata, queues: CallerQueues) -> Caller:
        """The caller behind the headers of a call from these queues. Raises: Unauthenticated."""
        try:
            caller = self._keyring.authenticate(call, values_of(metadata, AUTHORIZATION))
        except Unauthenticated:
            if queues.verified:
                self._callers.note_invalid(metadata)
            raise
        # The same object is cached for a second.
        if caller is not queues.caller:
            self._callers.note_valid(metadata, queues, caller)
        return caller

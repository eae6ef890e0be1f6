"""What a server is: its version, the schema of its database, and who calls it."""

from dataclasses import dataclass
from datetime import datetime

from portal_server.domain.calls import Call
from portal_server.domain.keys import Role
from portal_server.storage.store import Store


@dataclass(frozen=True, slots=True)
class CallerInfo:
    """The API key of a call. `expire_time` is None if it does not expire."""

    key_id: str
    note: str
    role: Role
    expire_time: datetime | None


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """A server, as its caller sees it."""

    version: str
    schema_revision: str
    caller: CallerInfo


class System:
    """Describes a server of this version."""

    def __init__(self, store: Store, version: str) -> None:
        self._store = store
        self._version = version

    def info(self, call: Call) -> ServerInfo:
        """The version, the revision of the database's schema, and the key of the caller."""
        caller = call.caller
        # The key of the settings is not stored.
        key = self._store.read_latest(call, lambda tx: tx.api_keys.find(caller.key_id))
        return ServerInfo(
            version=self._version,
            schema_revision=self._store.schema_revision(call),
            caller=CallerInfo(
                caller.key_id, key.note if key else "", caller.role, caller.expire_time
            ),
        )

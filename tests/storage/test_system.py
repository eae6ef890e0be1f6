"""What a server reports about itself and its caller, on both databases."""

from portal_server.catalog.system import System
from portal_server.domain.calls import Call
from portal_server.domain.keys import Role
from portal_server.storage.sql import schema
from portal_server.storage.store import Store
from tests.support.catalog import CALL
from tests.support.keys import Keys


def test_a_server_reports_its_version_the_schema_and_the_caller(store: Store) -> None:
    keyring = Keys(store, "the-key-of-the-settings")
    system = System(store, "1.2.3")
    caller = keyring.authenticate(CALL, [keyring.create(Role.VIEWER, "dashboard")])
    found = system.info(Call(caller=caller))

    assert (found.version, found.schema_revision) == ("1.2.3", schema.HEAD)
    assert (found.caller.key_id, found.caller.note) == (caller.key_id, "dashboard")
    assert (found.caller.role, found.caller.expire_time) == (Role.VIEWER, None)

    configured = keyring.authenticate(CALL, ["the-key-of-the-settings"])
    assert system.info(Call(caller=configured)).caller.note == ""

"""The API keys of a portal, for tests that create, use and revoke them in one place."""

from collections.abc import Sequence
from typing import Any

from portal_server.catalog.api_keys import ApiKeys
from portal_server.catalog.keyring import KeyRing
from portal_server.domain.api_key import ApiKey, ApiKeyDraft
from portal_server.domain.calls import Call
from portal_server.domain.keys import Caller, Role
from portal_server.storage.store import Store
from tests.support.catalog import CALL


class Keys:
    """Both use cases of API keys, on one store."""

    def __init__(self, store: Store, admin_key: str | None = None) -> None:
        self.ring = KeyRing(store, admin_key)
        self.api_keys = ApiKeys(store)

    def create(self, role: Role, note: str = "", **fields: Any) -> str:
        """Create a key; its text."""
        draft = ApiKeyDraft(role=role, note=note, **fields)
        return self.api_keys.create(CALL, draft).text

    def create_first(self, note: str) -> str | None:
        """Create the first key; its text."""
        return self.api_keys.create_first(CALL, note)

    def list(self) -> list[ApiKey]:
        """All keys."""
        return self.api_keys.page(CALL, 0, 1000).items

    def revoke(self, key_id: str) -> ApiKey:
        """Revoke a key."""
        return self.api_keys.revoke(CALL, key_id)

    def authenticate(self, call: Call, authorization: Sequence[str]) -> Caller:
        """The caller behind a header."""
        return self.ring.authenticate(call, authorization)

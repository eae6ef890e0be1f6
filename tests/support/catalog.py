"""The use cases of a portal, for tests that call them without a server."""

import base64
from dataclasses import replace
from datetime import timedelta

from pydantic import SecretStr

from portal_server.catalog.client_types import ClientTypes
from portal_server.catalog.clients import Clients
from portal_server.catalog.idempotency import DAY, Idempotency
from portal_server.catalog.provider_checks import ProviderChecks
from portal_server.catalog.provider_details import ProviderDetails
from portal_server.catalog.providers import Providers
from portal_server.catalog.registrations import Registrations
from portal_server.domain.calls import Call
from portal_server.domain.provider import Provider
from portal_server.idp.registrar import Registrar
from portal_server.storage.encryption import KEY_BYTES, SecretColumn, Vault
from portal_server.storage.store import Store

KEY = bytes(range(KEY_BYTES))
VAULT = Vault([KEY])
"""Encrypts the secrets of tests."""
KEYS = SecretStr(base64.b64encode(KEY).decode())
"""The setting with its key."""

CALL = Call()
"""A call without a deadline and an idempotency key."""


def opened(provider: Provider) -> Provider:
    """A stored provider with its secrets in plain text."""
    uid = provider.uid
    token, secret = provider.registration_access_token, provider.credential_client_secret
    return replace(
        provider,
        registration_access_token=VAULT.open(SecretColumn.PROVIDER_TOKEN, uid, token),
        credential_client_secret=VAULT.open(SecretColumn.PROVIDER_CLIENT_SECRET, uid, secret),
    )


class Catalog:
    """The use cases of all resources, on one store."""

    def __init__(
        self, store: Store, idempotency: Idempotency | None = None, *, keep: timedelta = DAY
    ) -> None:
        idempotency = idempotency or Idempotency(store, keep)
        self.registrar = Registrar(allow_private=True)
        self.registrations = Registrations(store, self.registrar, keep)
        self.clients = Clients(store, idempotency, self.registrations, self.registrar)
        self.providers = Providers(store, idempotency, ProviderDetails(store), self.clients)
        self.client_types = ClientTypes(store, idempotency, self.clients)
        self.checks = ProviderChecks(store, self.registrations, self.registrar)

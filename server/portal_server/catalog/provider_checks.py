"""Checks whether clients can be registered at a provider."""

from dataclasses import replace

from portal_server.catalog.registrations import Registrations
from portal_server.catalog.updates import now
from portal_server.domain import registration
from portal_server.domain.calls import Call
from portal_server.domain.client import ClientSpec
from portal_server.domain.client_type import ClientType
from portal_server.domain.discovery import CheckOutcome, Discovery, FindingSeverity, ProviderCheck
from portal_server.domain.errors import ProviderError
from portal_server.domain.identity import Ref, new_uid
from portal_server.domain.lists import PageRange
from portal_server.domain.provider import Provider, ProviderDraft, check_provider
from portal_server.idp.access import Access
from portal_server.idp.registrar import Registrar
from portal_server.storage.store import Store, Transaction

MAX_CLIENT_TYPES = 100
"""How many client types of a provider are checked, the first ones."""

_EXAMPLE = ClientSpec(name="check", redirect_uris=(), scope="", labels={})
_REDIRECT_URIS = ("https://client.example/callback",)
_OUTCOMES = {
    FindingSeverity.ERROR: CheckOutcome.FAILED,
    FindingSeverity.WARNING: CheckOutcome.WARNING,
    FindingSeverity.INFO: CheckOutcome.OK,
}
_ORDER = (FindingSeverity.ERROR, FindingSeverity.WARNING, FindingSeverity.INFO)


class ProviderChecks:
    """The checks of providers."""

    def __init__(self, store: Store, registrations: Registrations, registrar: Registrar) -> None:
        self._store = store
        self._registrations = registrations
        self._registrar = registrar

    def check(self, call: Call, ref: Ref) -> tuple[ProviderCheck, ...]:
        """Check a stored provider, and what it supports of its first client types.

        Raises: NotFound, Precondition (no encryption key), Exhausted.
        """

        def work(tx: Transaction) -> tuple[Provider, list[ClientType]]:
            provider = tx.providers.get(ref)
            rows = PageRange(limit=MAX_CLIENT_TYPES)
            return provider, tx.client_types.list(provider.id, (), rows).items

        provider, client_types = self._store.read_latest(call, work)
        access = self._registrations.access(provider)
        checks = self._registrar.check(access)
        try:
            discovery = self._registrar.discover(access)
        except ProviderError:
            discovery = None
        return (*checks, *(_support(one, provider, discovery) for one in client_types))

    def check_draft(self, call: Call, draft: ProviderDraft) -> tuple[ProviderCheck, ...]:
        """Check a provider that is not stored.

        Raises: Forbidden (the key is limited to other providers), Invalid.
        """
        call.caller.require_all_providers()
        spec = check_provider(draft)
        time = now()
        names = spec.__dataclass_fields__
        values = {name: getattr(spec, name) for name in names}
        provider = Provider(id=0, uid=new_uid(), create_time=time, update_time=time, **values)
        return self._registrar.check(
            Access(
                provider=provider,
                registration_access_token=spec.registration_access_token,
                credential_client_secret=spec.credential_client_secret,
            )
        )


def _support(
    client_type: ClientType, provider: Provider, discovery: Discovery | None
) -> ProviderCheck:
    """The most serious findings of a client type at this provider."""
    redirects = registration.redirect_uri_violations(client_type, provider.type, ())
    example = replace(_EXAMPLE, redirect_uris=_REDIRECT_URIS) if redirects else _EXAMPLE
    plan = registration.plan(client_type, provider.type, example, new_uid(), discovery)
    name = f"client_type {client_type.id}"
    for severity in _ORDER:
        texts = [one.text for one in plan.findings if one.severity is severity]
        if texts:
            return ProviderCheck(name, _OUTCOMES[severity], "; ".join(texts))
    return ProviderCheck(name, CheckOutcome.OK, "can be registered as it is")

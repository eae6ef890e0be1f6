"""The REST operations of providers."""

from collections.abc import Iterator
from typing import Literal

from portal.rest.v1 import portal_rest_pb2 as pb
from portal_server.catalog.provider_details import ProviderDetail
from portal_server.catalog.updates import Change
from portal_server.domain.discovery import CheckOutcome
from portal_server.domain.errors import Resource
from portal_server.domain.identity import Ref
from portal_server.domain.provider import PROVIDER, Provider, ProviderDraft
from portal_server.wire.calls import CallContext
from portal_server.wire.rest_v1.client_types import client_type_message
from portal_server.wire.rest_v1.codec import Codec
from portal_server.wire.rest_v1.dialect import read_flag, spell
from portal_server.wire.rest_v1.ids import ref_of
from portal_server.wire.rest_v1.paging import page_range, read_parts
from portal_server.wire.rest_v1.preconditions import if_match, send_etag
from portal_server.wire.use_cases import UseCases

_CODEC = Codec(PROVIDER, pb.Provider)
_SECRETS: tuple[Literal["registration_access_token", "credential_client_secret"], ...] = (
    "registration_access_token",
    "credential_client_secret",
)


class ProviderOperations:
    """The operations of providers."""

    def __init__(self, use_cases: UseCases) -> None:
        self._providers = use_cases.providers
        self._checks = use_cases.provider_checks

    def ListProviders(
        self, request: pb.ListProvidersRequest, context: CallContext
    ) -> Iterator[pb.ListProvidersResponse]:
        """List providers."""
        call = context.call
        parts = read_parts(page_range(request), lambda rows: self._providers.list(call, (), rows))
        return (pb.ListProvidersResponse(providers=map(_message, part)) for part in parts)

    def CreateProvider(
        self, request: pb.CreateProviderRequest, context: CallContext
    ) -> pb.Provider:
        """Create a provider."""
        created = self._providers.create(context.call, _draft(request.provider))
        send_etag(context, created.etag)
        return _message(created)

    def GetProvider(
        self, request: pb.GetProviderRequest, context: CallContext
    ) -> pb.ProviderWithClientTypes:
        """Get a provider with its client types."""
        found = self._providers.get_detail(context.call, _ref(request.provider_id))
        send_etag(context, found.provider.etag)
        return _detail_message(found)

    def UpdateProvider(
        self, request: pb.UpdateProviderRequest, context: CallContext
    ) -> pb.ProviderWithClientTypes:
        """Replace a provider."""
        fields = set(PROVIDER)
        for secret in _SECRETS:
            if not request.provider.HasField(secret):
                # Callers cannot read it back, so an absent one keeps the stored one.
                fields.discard(secret)
        updated = self._providers.update_detail(
            context.call,
            _ref(request.provider_id),
            Change(_draft(request.provider), fields, if_match(context)),
        )
        send_etag(context, updated.provider.etag)
        return _detail_message(updated)

    def DeleteProvider(self, request: pb.DeleteProviderRequest, context: CallContext) -> pb.Status:
        """Delete a provider with its client types."""
        force = read_flag("force", request.force)
        ref = _ref(request.provider_id)
        self._providers.delete(context.call, ref, if_match(context), force=force)
        return pb.Status(status="ok")

    def CheckProvider(self, request: pb.CheckProviderRequest, context: CallContext) -> pb.Check:
        """Check whether clients can be registered at a provider."""
        checks = self._checks.check(context.call, _ref(request.provider_id))
        return pb.Check(
            ok=all(check.outcome is not CheckOutcome.FAILED for check in checks),
            checks=(
                pb.ProviderCheck(name=check.name, outcome=spell(check.outcome), text=check.text)
                for check in checks
            ),
        )


def _ref(text: str) -> Ref:
    return ref_of(Resource.PROVIDER, text)


def _draft(message: pb.ProviderInput) -> ProviderDraft:
    return ProviderDraft(**_CODEC.draft(message))


def _message(provider: Provider) -> pb.Provider:
    return pb.Provider(**_CODEC.response(provider))


def _detail_message(detail: ProviderDetail) -> pb.ProviderWithClientTypes:
    return pb.ProviderWithClientTypes(
        **_CODEC.response(detail.provider),
        client_types=map(client_type_message, detail.client_types),
    )

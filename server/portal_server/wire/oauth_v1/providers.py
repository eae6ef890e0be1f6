"""ProviderService: providers over native gRPC."""

from google.protobuf.empty_pb2 import Empty

from portal.oauth.v1 import provider_pb2 as pb
from portal_server.domain.discovery import CheckOutcome
from portal_server.domain.errors import Invalid
from portal_server.domain.fields import missing
from portal_server.domain.provider import PROVIDER, Provider, ProviderDraft
from portal_server.wire.calls import CallContext
from portal_server.wire.oauth_v1 import filters
from portal_server.wire.oauth_v1.codec import Codec, Writer, as_created, as_updated, etags_of
from portal_server.wire.oauth_v1.enums import wire_name
from portal_server.wire.oauth_v1.paging import (
    collect_violations,
    page_range,
    page_token,
    required_ids,
)
from portal_server.wire.status import Surface
from portal_server.wire.use_cases import UseCases

SERVICE = pb.DESCRIPTOR.services_by_name["ProviderService"]
SURFACE = Surface({field: f"provider.{field}" for field in PROVIDER}, wire_name)
CODEC = Codec(pb.Provider, Provider, ProviderDraft, PROVIDER)

_CHECK = Writer(pb.ProviderCheck)
_FORGOTTEN = Writer(pb.ForgottenClient)


class ProviderService:
    """Translates; the catalog does the work and raises the errors."""

    def __init__(self, use_cases: UseCases) -> None:
        self._providers = use_cases.providers
        self._checks = use_cases.provider_checks

    def CreateProvider(
        self, request: pb.CreateProviderRequest, context: CallContext
    ) -> pb.Provider:
        """Create a provider."""
        draft = CODEC.draft(request.provider)
        created = self._providers.create(context.call, draft, request.uid or None)
        return as_created(request, CODEC.message(created))

    def GetProvider(self, request: pb.GetProviderRequest, context: CallContext) -> pb.Provider:
        """Get a provider."""
        required_ids(id=request.id)
        return CODEC.message(self._providers.get(context.call, request.id))

    def ListProviders(
        self, request: pb.ListProvidersRequest, context: CallContext
    ) -> pb.ListProvidersResponse:
        """List providers."""
        rows, where = collect_violations(
            lambda: page_range(request), lambda: filters.parse(request.filter, PROVIDER)
        )
        page = self._providers.list(context.call, where, rows)
        return pb.ListProvidersResponse(
            providers=map(CODEC.message, page.items),
            next_page_token=page_token(page.next_after, request),
        )

    def UpdateProvider(
        self, request: pb.UpdateProviderRequest, context: CallContext
    ) -> pb.Provider:
        """Update a provider."""
        given = request.provider
        _, change = collect_violations(
            lambda: required_ids(**{"provider.id": given.id}),
            lambda: CODEC.change(request.update_mask, given),
        )
        updated = self._providers.update(context.call, given.id, change)
        return as_updated(request, CODEC.message(updated))

    def DeleteProvider(self, request: pb.DeleteProviderRequest, context: CallContext) -> Empty:
        """Delete a provider with its client types."""
        required_ids(id=request.id)
        etags = etags_of(request)
        self._providers.delete(context.call, request.id, etags, force=request.force)
        return Empty()

    def CheckProvider(
        self, request: pb.CheckProviderRequest, context: CallContext
    ) -> pb.CheckProviderResponse:
        """Check whether clients can be registered at a provider."""
        if request.HasField("provider"):
            checks = self._checks.check_draft(context.call, CODEC.draft(request.provider))
        elif request.id:
            checks = self._checks.check(context.call, request.id)
        else:
            raise Invalid(missing("id"))
        return pb.CheckProviderResponse(
            ok=all(check.outcome is not CheckOutcome.FAILED for check in checks),
            checks=map(_CHECK.message, checks),
        )

    def ForgetProvider(
        self, request: pb.ForgetProviderRequest, context: CallContext
    ) -> pb.ForgetProviderResponse:
        """Delete a provider that no longer exists, with its client types and clients."""
        required_ids(id=request.id)
        forgotten = self._providers.forget(context.call, request.id, etags_of(request))
        return pb.ForgetProviderResponse(clients=map(_FORGOTTEN.message, forgotten))

"""ClientService: registered clients over native gRPC."""

from dataclasses import replace

from google.protobuf.empty_pb2 import Empty

from portal.oauth.v1 import client_pb2 as pb
from portal_server.domain.client import (
    CLIENT,
    Client,
    ClientDraft,
    ClientResolution,
    ClientState,
    Found,
    check_client,
)
from portal_server.domain.errors import Invalid, Violation
from portal_server.domain.fields import Text, Unknown, Word, missing
from portal_server.wire.calls import CallContext
from portal_server.wire.oauth_v1 import filters
from portal_server.wire.oauth_v1.codec import Codec, Writer, etags_of
from portal_server.wire.oauth_v1.enums import vocabulary_of, wire_name
from portal_server.wire.oauth_v1.paging import (
    collect_violations,
    page_range,
    page_token,
    required_ids,
)
from portal_server.wire.status import Surface
from portal_server.wire.use_cases import UseCases

SERVICE = pb.DESCRIPTOR.services_by_name["ClientService"]
SURFACE = Surface({field: f"client.{field}" for field in CLIENT}, wire_name)
CODEC = Codec(pb.Client, Client, ClientDraft, CLIENT)
FILTER = {
    "name": CLIENT["name"],
    "state": Word(vocabulary=ClientState, required=True),
    "client_id": Text(max_length=255, filterable=True),
}
"""The fields of a filter."""
# Part of a client_id has no meaning.
_EXACT = ("client_id",)

_PREVIEW = Writer(pb.PreviewRegistrationResponse)
_REGISTRATION = Writer(pb.RegisterClientResponse)
_ROTATION = Writer(pb.RotateClientSecretResponse)
_RESOLUTION = Word(vocabulary=ClientResolution, required=True)

_Template = pb.PreviewRegistrationRequest | pb.RegisterClientRequest


class ClientService:
    """Translates; the catalog does the work and raises the errors."""

    def __init__(self, use_cases: UseCases) -> None:
        self._clients = use_cases.clients

    def PreviewRegistration(
        self, request: pb.PreviewRegistrationRequest, context: CallContext
    ) -> pb.PreviewRegistrationResponse:
        """Return what RegisterClient would send."""
        provider, client_type, draft = _registration(request)
        return _PREVIEW.message(self._clients.preview(context.call, provider, client_type, draft))

    def RegisterClient(
        self, request: pb.RegisterClientRequest, context: CallContext
    ) -> pb.RegisterClientResponse:
        """Register a client."""
        provider, client_type, draft = _registration(request)
        registered = self._clients.register(context.call, provider, client_type, draft)
        return _REGISTRATION.message(registered)

    def GetClient(self, request: pb.GetClientRequest, context: CallContext) -> pb.Client:
        """Get a client."""
        required_ids(provider_id=request.provider_id, id=request.id)
        return CODEC.message(self._clients.get(context.call, request.provider_id, request.id))

    def ListClients(
        self, request: pb.ListClientsRequest, context: CallContext
    ) -> pb.ListClientsResponse:
        """List clients."""
        scope = request.provider_id, request.client_type_id
        _, rows, where = collect_violations(
            lambda: required_ids(provider_id=request.provider_id),
            lambda: page_range(request, *scope),
            lambda: filters.parse(request.filter, FILTER, _EXACT),
        )
        client_type = request.client_type_id or None
        page = self._clients.list(context.call, request.provider_id, client_type, where, rows)
        return pb.ListClientsResponse(
            clients=map(_listed, page.items),
            next_page_token=page_token(page.next_after, request, *scope),
        )

    def UpdateClient(self, request: pb.UpdateClientRequest, context: CallContext) -> pb.Client:
        """Update a client."""
        given = request.client
        ids = {"client.provider_id": given.provider_id, "client.id": given.id}
        _, change = collect_violations(
            lambda: required_ids(**ids), lambda: CODEC.change(request.update_mask, given)
        )
        updated = self._clients.update(context.call, given.provider_id, given.id, change)
        message = CODEC.message(updated.client)
        message.new_client_secret = updated.client_secret
        return message

    def DeleteClient(self, request: pb.DeleteClientRequest, context: CallContext) -> Empty:
        """Delete a client."""
        required_ids(provider_id=request.provider_id, id=request.id)
        self._clients.delete(
            context.call,
            request.provider_id,
            request.id,
            force=request.force,
            etags=etags_of(request),
        )
        return Empty()

    def RotateClientSecret(
        self, request: pb.RotateClientSecretRequest, context: CallContext
    ) -> pb.RotateClientSecretResponse:
        """Replace the secret of a client."""
        required_ids(provider_id=request.provider_id, id=request.id)
        etags = etags_of(request)
        rotated = self._clients.rotate(context.call, request.provider_id, request.id, etags)
        return _ROTATION.message(rotated)

    def CheckClient(self, request: pb.CheckClientRequest, context: CallContext) -> pb.Client:
        """Read a client at the provider."""
        required_ids(provider_id=request.provider_id, id=request.id)
        return CODEC.message(self._clients.check(context.call, request.provider_id, request.id))

    def ResolveClient(self, request: pb.ResolveClientRequest, context: CallContext) -> pb.Client:
        """End a state that only a person can end."""
        resolution = vocabulary_of(ClientResolution).optional_word(request.resolution)
        collect_violations(
            lambda: required_ids(provider_id=request.provider_id, id=request.id),
            lambda: _require_resolution(resolution),
        )
        found = Found(
            resolution=resolution,
            client_id=request.client_id,
            registration_client_uri=request.registration_client_uri,
            registration_access_token=request.registration_access_token,
        )
        resolved = self._clients.resolve(
            context.call, request.provider_id, request.id, found, etags_of(request)
        )
        return CODEC.message(resolved)


def _listed(client: Client) -> pb.Client:
    """A client as a list has it (AIP-157)."""
    message = CODEC.message(replace(client, requested={}, registered={}))
    message.ClearField("requested")
    message.ClearField("registered")
    return message


def _registration(request: _Template) -> tuple[int, int, ClientDraft]:
    """The provider, the client type and the draft. Raises: Invalid (an id is missing)."""
    draft = CODEC.draft(request.client)
    ids = {"provider_id": request.provider_id, "client_type_id": request.client_type_id}
    absent = [missing(name) for name, id_ in ids.items() if not id_]
    if absent:  # reported with all other violations
        check_client(draft, absent)
    return request.provider_id, request.client_type_id, draft


def _require_resolution(given: ClientResolution | Unknown | None) -> None:
    violations: list[Violation] = []
    _RESOLUTION.check("resolution", given, violations)
    if violations:
        raise Invalid(*violations)

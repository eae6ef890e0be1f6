"""The REST operations of registered clients."""

from collections.abc import Iterable, Iterator
from typing import Any

from google.protobuf.struct_pb2 import Struct

from portal.rest.v1 import portal_rest_pb2 as pb
from portal_server.catalog.updates import Change
from portal_server.domain.client import CLIENT, Client, ClientDraft, Registration
from portal_server.domain.discovery import Finding
from portal_server.domain.errors import Resource
from portal_server.domain.identity import Ref
from portal_server.wire.calls import CallContext
from portal_server.wire.rest_v1.codec import Codec
from portal_server.wire.rest_v1.dialect import SURFACE, read_flag, spell, write_minute
from portal_server.wire.rest_v1.ids import ref_of
from portal_server.wire.rest_v1.paging import page_range, read_parts
from portal_server.wire.rest_v1.preconditions import if_match, send_etag
from portal_server.wire.use_cases import UseCases

_CODEC = Codec(CLIENT, pb.Client)
_OfType = pb.PreviewClientRequest | pb.ListClientsRequest | pb.CreateClientRequest
_OfOne = (
    pb.GetClientRequest
    | pb.UpdateClientRequest
    | pb.DeleteClientRequest
    | pb.RotateClientSecretRequest
)


class ClientOperations:
    """The operations of clients."""

    def __init__(self, use_cases: UseCases) -> None:
        self._clients = use_cases.clients

    def PreviewClient(self, request: pb.PreviewClientRequest, context: CallContext) -> pb.Preview:
        """Return what CreateClient would send."""
        draft = _draft(request.client)
        preview = self._clients.preview(context.call, *_template(request), draft)
        body = Struct()
        body.update(preview.metadata)
        return pb.Preview(url=preview.uri, body=body, findings=_findings(preview.findings))

    def ListClients(
        self, request: pb.ListClientsRequest, context: CallContext
    ) -> Iterator[pb.ListClientsResponse]:
        """List the clients of a client type."""
        call = context.call
        page = page_range(request)
        template = _template(request)
        parts = read_parts(page, lambda rows: self._clients.list(call, *template, (), rows))
        return (pb.ListClientsResponse(clients=map(_message, part)) for part in parts)

    def CreateClient(
        self, request: pb.CreateClientRequest, context: CallContext
    ) -> pb.ClientWithSecret:
        """Register a client."""
        draft = _draft(request.client)
        registered = self._clients.register(context.call, *_template(request), draft)
        return _with_secret(registered, context)

    def GetClient(self, request: pb.GetClientRequest, context: CallContext) -> pb.Client:
        """Get a client."""
        provider, client_type, ref = _refs(request)
        found = self._clients.get(context.call, provider, ref, client_type)
        send_etag(context, found.etag)
        return _message(found)

    def UpdateClient(self, request: pb.UpdateClientRequest, context: CallContext) -> pb.Client:
        """Replace a client."""
        provider, client_type, ref = _refs(request)
        change = Change(_draft(request.client), CLIENT, if_match(context))
        updated = self._clients.update(context.call, provider, ref, change, client_type)
        send_etag(context, updated.client.etag)
        message = _message(updated.client)
        if updated.client_secret:
            message.oauth_client_secret = updated.client_secret
        return message

    def DeleteClient(self, request: pb.DeleteClientRequest, context: CallContext) -> pb.Status:
        """Delete a client."""
        provider, client_type, ref = _refs(request)
        self._clients.delete(
            context.call,
            provider,
            ref,
            force=read_flag("force", request.force),
            etags=if_match(context),
            client_type=client_type,
        )
        return pb.Status(status="ok")

    def RotateClientSecret(
        self, request: pb.RotateClientSecretRequest, context: CallContext
    ) -> pb.ClientWithSecret:
        """Replace the secret of a client."""
        provider, client_type, ref = _refs(request)
        etags = if_match(context)
        rotated = self._clients.rotate(context.call, provider, ref, etags, client_type)
        return _with_secret(rotated, context)


def _template(request: _OfType | _OfOne) -> tuple[Ref, Ref]:
    """The provider and the client type that a path names."""
    return (
        ref_of(Resource.PROVIDER, request.provider_id),
        ref_of(Resource.CLIENT_TYPE, request.client_type_id),
    )


def _refs(request: _OfOne) -> tuple[Ref, Ref, Ref]:
    """The provider, the client type and the client that a path names."""
    return *_template(request), ref_of(Resource.CLIENT, request.client_id)


def _draft(message: pb.ClientInput) -> ClientDraft:
    return ClientDraft(**_CODEC.draft(message))


def _message(client: Client) -> pb.Client:
    return pb.Client(**_fields(client))


def _with_secret(registration: Registration, context: CallContext) -> pb.ClientWithSecret:
    client = registration.client
    send_etag(context, client.etag)
    return pb.ClientWithSecret(**_fields(client), oauth_client_secret=registration.client_secret)


def _fields(client: Client) -> dict[str, Any]:
    return _CODEC.response(client) | {
        "state": spell(client.state),
        "message": client.message,
        "oauth_client_id": client.client_id,
        "oauth_client_secret_expires_at": write_minute(client.client_secret_expire_time),
        "differences": [
            pb.Difference(field=one.field, asked=one.asked, granted=one.granted, wider=one.wider)
            for one in client.differences
        ],
    }


def _findings(findings: Iterable[Finding]) -> Iterator[pb.Finding]:
    for finding in findings:
        yield pb.Finding(
            severity=spell(finding.severity),
            field=SURFACE.fields.get(finding.field, finding.field),
            text=finding.text,
            reference=finding.reference,
        )

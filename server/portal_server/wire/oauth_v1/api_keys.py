"""ApiKeyService: API keys over native gRPC."""

from portal.oauth.v1 import api_key_pb2 as pb
from portal_server.catalog.api_keys import ApiKeys, Rotation
from portal_server.domain.api_key import API_KEY, ApiKey, ApiKeyDraft
from portal_server.wire.calls import CallContext
from portal_server.wire.oauth_v1.codec import Codec, etags_of, optional_time
from portal_server.wire.oauth_v1.enums import wire_name
from portal_server.wire.oauth_v1.paging import (
    collect_violations,
    page_range,
    page_token,
    required_ids,
)
from portal_server.wire.status import Surface

SERVICE = pb.DESCRIPTOR.services_by_name["ApiKeyService"]
SURFACE = Surface({field: f"api_key.{field}" for field in API_KEY}, wire_name)
CODEC = Codec(pb.ApiKey, ApiKey, ApiKeyDraft, API_KEY)


class ApiKeyService:
    """Translates; the catalog does the work and raises the errors."""

    def __init__(self, api_keys: ApiKeys) -> None:
        self._api_keys = api_keys

    def CreateApiKey(
        self, request: pb.CreateApiKeyRequest, context: CallContext
    ) -> pb.CreateApiKeyResponse:
        """Create an API key."""
        made = self._api_keys.create(context.call, CODEC.draft(request.api_key))
        return pb.CreateApiKeyResponse(api_key=CODEC.message(made.api_key), key=made.text)

    def GetApiKey(self, request: pb.GetApiKeyRequest, context: CallContext) -> pb.ApiKey:
        """Get an API key."""
        required_ids(id=request.id)
        return CODEC.message(self._api_keys.get(context.call, request.id))

    def ListApiKeys(
        self, request: pb.ListApiKeysRequest, context: CallContext
    ) -> pb.ListApiKeysResponse:
        """List API keys."""
        rows = page_range(request)
        # API keys are never deleted: a number of keys identifies a page.
        found = self._api_keys.page(context.call, rows.after, rows.limit)
        after = rows.after + len(found.items) if found.more else None
        return pb.ListApiKeysResponse(
            api_keys=map(CODEC.message, found.items), next_page_token=page_token(after, request)
        )

    def UpdateApiKey(self, request: pb.UpdateApiKeyRequest, context: CallContext) -> pb.ApiKey:
        """Update an API key."""
        given = request.api_key
        _, change = collect_violations(
            lambda: required_ids(**{"api_key.id": given.id}),
            lambda: CODEC.change(request.update_mask, given),
        )
        return CODEC.message(self._api_keys.update(context.call, given.id, change))

    def RotateApiKey(
        self, request: pb.RotateApiKeyRequest, context: CallContext
    ) -> pb.RotateApiKeyResponse:
        """Give an API key a new secret."""
        required_ids(id=request.id)
        overlap = request.overlap
        rotation = Rotation(
            overlap_s=overlap.seconds + overlap.nanos / 1e9,
            expire_time=optional_time(request.expire_time),
            etags=etags_of(request),
        )
        made = self._api_keys.rotate(context.call, request.id, rotation)
        return pb.RotateApiKeyResponse(api_key=CODEC.message(made.api_key), key=made.text)

    def RevokeApiKey(self, request: pb.RevokeApiKeyRequest, context: CallContext) -> pb.ApiKey:
        """Revoke an API key."""
        required_ids(id=request.id)
        etags = etags_of(request)
        return CODEC.message(self._api_keys.revoke(context.call, request.id, etags))

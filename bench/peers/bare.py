"""The tuned peer without most of its frameworks: FastAPI as a router, SQL as text.

No declared parameters, no SQLAlchemy: pydantic's parser on the raw body and its serializer for the
response, one prepared statement a request on the driver itself. It shows what the frameworks cost.
 PEER_DATABASE_URL, PEER_KEY and PEER_WORKERS are its settings; the tables exist.
"""

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import uuid4

from fastapi import FastAPI, Request, Response
from pydantic import ValidationError
from pydantic_core import from_json, to_json

from bench.peers.bare_storage import Row, Storage, open_storage
from bench.peers.models import ClientTypeCreate

_KEY = os.environ["PEER_KEY"].encode()
_PATH = "/portal-api/oauth-providers/{provider_id}/client-types"
_DEFAULT_PAGE, _MAX_PAGE = 20, 1000


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.storage = await open_storage(os.environ["PEER_DATABASE_URL"])
    yield
    await app.state.storage.close()


app = FastAPI(lifespan=_lifespan, openapi_url=None)


class _Rejected(Exception):
    """An error response with this status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@app.exception_handler(_Rejected)
async def _on_rejected(_request: Request, error: _Rejected) -> Response:
    return _json({"detail": str(error)}, error.status)


@app.exception_handler(ValidationError)
async def _on_invalid(_request: Request, error: ValidationError) -> Response:
    return Response(error.json(), 422, media_type="application/json")


def _json(value: object, status: int = 200) -> Response:
    return Response(to_json(value), status, media_type="application/json")


def _storage_for(request: Request) -> Storage:
    """The storage, after the API key is checked."""
    key = request.headers.get("authorization", "").encode()
    if not secrets.compare_digest(key, _KEY):
        raise _Rejected(401, "Wrong key")
    storage: Storage = request.app.state.storage
    return storage


def _number(text: str | None, default: int, most: int) -> int:
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= most:
        raise _Rejected(422, "Invalid number")
    return int(text)


def _id(request: Request, name: str) -> int:
    return _number(request.path_params[name], 0, 2**31 - 1)


def _public(row: Row) -> dict[str, object]:
    name, description, response_types, grant_types, method, app_type, number, created, updated = row
    return {
        "Name": name,
        "Description": description,
        "ResponseTypes": ",".join(from_json(response_types)),
        "GrantType": ",".join(from_json(grant_types)),
        "TokenEndpointAuthMethod": method or "",
        "OktaAppType": app_type or "",
        "ID": number,
        "CreatedAt": created.isoformat(" ", "minutes")[:16],
        "UpdatedAt": updated.isoformat(" ", "minutes")[:16],
    }


@app.post(_PATH)
async def create_client_type(request: Request) -> Response:
    """Create a client type."""
    storage = _storage_for(request)
    provider_id = _id(request, "provider_id")
    draft = ClientTypeCreate.model_validate_json(await request.body())
    now = datetime.now(UTC)
    method, app_type = draft.token_endpoint_auth_method or None, draft.okta_app_type or None
    response_types = to_json(draft.response_types.split(",")).decode()
    grant_types = to_json(draft.grant_types.split(",")).decode()
    number = await storage.insert(
        str(uuid4()),
        provider_id,
        draft.name,
        draft.description,
        response_types,
        grant_types,
        method,
        app_type,
        now,
    )
    if number is None:
        raise _Rejected(404, "Provider not found")
    row = draft.name, draft.description, response_types, grant_types, method, app_type
    return _json(_public((*row, number, now, now)))


@app.get(_PATH)
async def list_client_types(request: Request) -> Response:
    """List a page of client types."""
    storage = _storage_for(request)
    provider_id = _id(request, "provider_id")
    query = request.query_params
    limit = _number(query.get("per_page"), _DEFAULT_PAGE, _MAX_PAGE)
    page = _number(query.get("page"), 1, 2**31 - 1)
    rows = await storage.list(provider_id, limit, (page - 1) * limit)
    if not rows and not await storage.has_provider(provider_id):
        raise _Rejected(404, "Provider not found")
    return _json([_public(row) for row in rows])


@app.get(_PATH + "/{client_type_id}")
async def get_client_type(request: Request) -> Response:
    """Get a client type."""
    storage = _storage_for(request)
    row = await storage.get(_id(request, "provider_id"), _id(request, "client_type_id"))
    if row is None:
        raise _Rejected(404, "Not found")
    return _json(_public(row))

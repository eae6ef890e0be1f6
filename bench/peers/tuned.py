"""The optimized version of the tutorial's peer: async, SQLAlchemy Core, several workers.

It still uses FastAPI and SQLModel's tables: parameters and bodies are declared, responses are
pydantic models. There is one Core statement a request, compiled once and cached by SQLAlchemy, on
persistent connections in autocommit mode. PEER_DATABASE_URL, PEER_KEY and PEER_WORKERS are its
settings; the tables exist.
"""

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException, Path, Query, Request

from bench.peers.models import ClientTypeCreate, ClientTypePublic
from bench.peers.tuned_storage import Storage, open_storage

_KEY = os.environ["PEER_KEY"].encode()
_PATH = "/portal-api/oauth-providers/{provider_id}/client-types"


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.storage = open_storage(os.environ["PEER_DATABASE_URL"])
    yield
    await app.state.storage.close()


async def _storage(request: Request, authorization: Annotated[str, Header()] = "") -> Storage:
    """The storage, after the API key is checked."""
    if not secrets.compare_digest(authorization.encode(), _KEY):
        raise HTTPException(status_code=401, detail="Wrong key")
    storage: Storage = request.app.state.storage
    return storage


app = FastAPI(lifespan=_lifespan, openapi_url=None)

StorageDep = Annotated[Storage, Depends(_storage)]
Id = Annotated[int, Path(ge=1, le=2**31 - 1)]


@app.post(_PATH)
async def create_client_type(
    provider_id: Id, client_type: ClientTypeCreate, storage: StorageDep
) -> ClientTypePublic:
    """Create a client type."""
    row = await storage.insert(
        provider_id,
        name=client_type.name,
        description=client_type.description,
        response_types=client_type.response_types.split(","),
        grant_types=client_type.grant_types.split(","),
        token_endpoint_auth_method=client_type.token_endpoint_auth_method or None,
        okta_app_type=client_type.okta_app_type or None,
    )
    if row is None:
        raise HTTPException(status_code=404, detail="Provider not found")
    return ClientTypePublic.model_validate(row)


@app.get(_PATH)
async def read_client_types(
    provider_id: Id,
    storage: StorageDep,
    page: Annotated[int, Query(ge=1)] = 1,
    per_page: Annotated[int, Query(ge=1, le=1000)] = 20,
) -> list[ClientTypePublic]:
    """List a page of client types."""
    rows = await storage.list(provider_id, per_page, (page - 1) * per_page)
    if not rows and not await storage.has_provider(provider_id):
        raise HTTPException(status_code=404, detail="Provider not found")
    return [ClientTypePublic.model_validate(row) for row in rows]


@app.get(_PATH + "/{client_type_id}")
async def read_client_type(
    provider_id: Id, client_type_id: Id, storage: StorageDep
) -> ClientTypePublic:
    """Get a client type."""
    row = await storage.get(provider_id, client_type_id)
    if row is None:
        raise HTTPException(status_code=404, detail="Client type not found")
    return ClientTypePublic.model_validate(row)

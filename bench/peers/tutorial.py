"""The peer that most people would write: FastAPI and SQLModel as in their tutorials.

Run as the tutorial runs it: `uvicorn bench.peers.tutorial:app`, no further options.
PEER_DATABASE_URL and PEER_KEY are the database and the API key.
"""

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, HTTPException, Query
from sqlmodel import Session, col, select

from bench.peers.models import ClientTypeCreate, ClientTypePublic
from bench.peers.tables import ClientType, Provider, create_db_and_tables, open_engine

KEY = os.environ["PEER_KEY"]
engine = open_engine(os.environ["PEER_DATABASE_URL"])


def get_session() -> Iterator[Session]:
    """A session for one call."""
    with Session(engine) as session:
        yield session


SessionDep = Annotated[Session, Depends(get_session)]


def check_key(authorization: Annotated[str, Header()] = "") -> None:
    """Reject a request without the API key."""
    if not secrets.compare_digest(authorization.encode(), KEY.encode()):
        raise HTTPException(status_code=401, detail="Wrong key")


@asynccontextmanager
async def lifespan(_app: FastAPI) -> Any:
    """Create the tables before the first request."""
    create_db_and_tables(engine)
    yield


app = FastAPI(lifespan=lifespan, dependencies=[Depends(check_key)])


def require_provider(provider_id: int, session: Session) -> None:
    """Raise 404 if the provider does not exist."""
    if not session.get(Provider, provider_id):
        raise HTTPException(status_code=404, detail="Provider not found")


@app.post("/portal-api/oauth-providers/{provider_id}/client-types", response_model=ClientTypePublic)
def create_client_type(
    provider_id: int, client_type: ClientTypeCreate, session: SessionDep
) -> ClientType:
    """Create a client type."""
    require_provider(provider_id, session)
    db_client_type = ClientType(
        provider_id=provider_id,
        name=client_type.name,
        description=client_type.description,
        response_types=client_type.response_types.split(","),
        grant_types=client_type.grant_types.split(","),
        token_endpoint_auth_method=client_type.token_endpoint_auth_method or None,
        okta_app_type=client_type.okta_app_type or None,
    )
    session.add(db_client_type)
    session.commit()
    session.refresh(db_client_type)
    return db_client_type


@app.get(
    "/portal-api/oauth-providers/{provider_id}/client-types",
    response_model=list[ClientTypePublic],
)
def read_client_types(
    provider_id: int,
    session: SessionDep,
    page: Annotated[int, Query(ge=1)] = 1,
    per_page: Annotated[int, Query(ge=1, le=1000)] = 20,
) -> Sequence[ClientType]:
    """List a page of client types."""
    require_provider(provider_id, session)
    return session.exec(
        select(ClientType)
        .where(ClientType.provider_id == provider_id)
        .order_by(col(ClientType.id))
        .offset((page - 1) * per_page)
        .limit(per_page)
    ).all()


@app.get(
    "/portal-api/oauth-providers/{provider_id}/client-types/{client_type_id}",
    response_model=ClientTypePublic,
)
def read_client_type(provider_id: int, client_type_id: int, session: SessionDep) -> ClientType:
    """Get a client type."""
    require_provider(provider_id, session)
    client_type = session.get(ClientType, client_type_id)
    if not client_type or client_type.provider_id != provider_id:
        raise HTTPException(status_code=404, detail="Client type not found")
    return client_type

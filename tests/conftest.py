"""What tests share: databases of both kinds, a served portal, the whole stack."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import Engine

from portal.oauth.v1.client_type_pb2_grpc import ClientTypeServiceStub
from portal.oauth.v1.provider_pb2_grpc import ProviderServiceStub
from portal.rest.v1.portal_rest_pb2_grpc import PortalRestServiceStub
from portal_server.run.server import Server
from portal_server.run.settings import Settings
from portal_server.storage.sql.engine import open_engine, parse_url
from portal_server.storage.store import Store
from tests.support.catalog import KEYS, VAULT, Catalog
from tests.support.databases import MIGRATED, new_sqlite
from tests.support.keys import Keys
from tests.support.postgres import Postgres
from tests.support.stack import ADMIN_KEY, Stack

pytest_plugins = ["tests.support.shared", "tests.support.skipped"]

_numbers = count(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="update the golden files with the current responses",
    )


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database, of each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/portal.db"
    cluster: Postgres = request.getfixturevalue("postgres")
    return cluster.new_database(_new_name())


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A migrated database, of each kind in turn."""
    if request.param == "sqlite":
        return new_sqlite(tmp_path / "portal.db")
    cluster: Postgres = request.getfixturevalue("postgres")
    return cluster.new_database(_new_name(), MIGRATED)


def _new_name() -> str:
    return f"test_{os.getpid()}_{next(_numbers)}"


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """A migrated database of each kind."""
    engine = open_engine(parse_url(database_url))
    yield engine
    engine.dispose()


@pytest.fixture
def store(engine: Engine) -> Store:
    """A store on a database of each kind."""
    return Store(engine, VAULT)


@pytest.fixture
def catalog(store: Store) -> Catalog:
    """A catalog on a database of each kind."""
    return Catalog(store)


@dataclass(frozen=True)
class Portal:
    """A served portal and its stubs; calls carry the admin key."""

    channel: grpc.Channel
    anonymous: grpc.Channel
    keyring: Keys
    catalog: Catalog

    @property
    def providers(self) -> ProviderServiceStub:
        return ProviderServiceStub(self.channel)

    @property
    def client_types(self) -> ClientTypeServiceStub:
        return ClientTypeServiceStub(self.channel)

    @property
    def rest(self) -> PortalRestServiceStub:
        return PortalRestServiceStub(self.channel)


class _WithKey(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
):
    """Adds a key to each call that has none."""

    def __init__(self, key: str) -> None:
        self._key = key

    def _intercept(self, continuation, details, request):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        metadata = list(details.metadata or ())
        if not any(name == "authorization" for name, _ in metadata):
            metadata.append(("authorization", self._key))
        return continuation(details._replace(metadata=metadata), request)

    intercept_unary_unary = intercept_unary_stream = _intercept


def with_key(channel: grpc.Channel, key: str) -> grpc.Channel:
    """A channel whose calls carry this key."""
    return grpc.intercept_channel(channel, _WithKey(key))


@pytest.fixture
def portal(tmp_path: Path) -> Iterator[Portal]:
    """A new portal on SQLite, served over a real socket."""
    with serve(new_sqlite(tmp_path / "served.db")) as served:
        yield served


@pytest.fixture
def portal_on_each(database_url: str) -> Iterator[Portal]:
    """A new portal on a database of each kind, served over a real socket."""
    with serve(database_url) as served:
        yield served


class serve:  # noqa: N801
    """Serve a portal on a migrated database, with these settings beside."""

    def __init__(self, database_url: str, **settings: Any) -> None:
        self._url = database_url
        self._settings = settings

    def __enter__(self) -> Portal:
        self._engine = open_engine(parse_url(self._url))
        settings = Settings.model_construct(
            database_url=SecretStr(self._url),
            admin_key=SecretStr(ADMIN_KEY),
            encryption_keys=KEYS,
            direct_grpc_port=0,
            **self._settings,
        )
        self._server = Server(settings)
        self._server.start()
        self._channel = grpc.insecure_channel(f"127.0.0.1:{self._server.port}")
        store = Store(self._engine, VAULT)
        return Portal(
            with_key(self._channel, ADMIN_KEY), self._channel, Keys(store), Catalog(store)
        )

    def __exit__(self, *_: object) -> None:
        self._channel.close()
        self._server.stop()
        self._engine.dispose()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole system, Envoy included, shared by the tests that do not harm it."""
    running = Stack(tmp_path_factory.mktemp("stack")).start()
    yield running
    running.stop()


@pytest.fixture
def rest(stack: Stack) -> Iterator[httpx.Client]:
    """A client of the shared system's REST API, with the admin key."""
    with stack.client() as client:
        yield client

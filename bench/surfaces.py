"""The calls of the long load over REST and gRPC, each with what its response must be."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol, TypeVar

import grpc
import httpx
from google.protobuf.message import Message

from bench.systems import System
from bench.workloads import PAGE, PROVIDER_ID, SEED, SEED_MESSAGE, client_types_path
from portal.oauth.v1 import client_type_pb2 as pb
from portal.oauth.v1.client_type_pb2_grpc import ClientTypeServiceStub
from tests.support.stack import TLS

NAME = "Soak"
"""A part of the name of each client type that the load creates."""
_WRONG_KEY = "this-is-not-an-api-key"
_TIMEOUT_S = 20.0
_MAX_PAGE = 200

Response = TypeVar("Response", bound=Message)


class Unexpected(Exception):
    """A response is not what it must be."""


def require(found: object, expected: object) -> None:
    """Raise Unexpected if these differ."""
    if found != expected:
        raise Unexpected(f"{found} instead of {expected}")


@dataclass(frozen=True, kw_only=True)
class Row:
    """A client type, as a response has it."""

    id: int
    etag: str
    name: str


class Surface(Protocol):
    """The calls over one protocol, on one connection.

    Each raises `FAILURES` if the response is not what it must be.
    """

    name: str

    def connect(self) -> None:
        """Open a new connection, and close the one before."""

    def close(self) -> None:
        """Close the connection."""

    def create(self, name: str, request_id: str) -> Row:
        """Create a client type."""

    def get(self, row: Row) -> Row:
        """Get a client type."""

    def list_first(self) -> None:
        """List the first page."""

    def list_other(self) -> None:
        """List with a filter; REST has none, and lists the second page."""

    def update(self, row: Row, name: str, request_id: str) -> Row:
        """Change the name of a client type that has not changed since `row`."""

    def delete(self, row: Row, request_id: str) -> None:
        """Delete a client type that has not changed since `row`."""

    def send_invalid(self, request_id: str) -> None:
        """Send a request to create a client type without a name, which must be rejected."""

    def send_wrong_key(self) -> None:
        """Send a request with an unknown API key, which must be rejected."""


FAILURES = (Unexpected, grpc.RpcError, httpx.HTTPError, LookupError, ValueError)


class Rest:
    """REST, with keep-alive."""

    name = "REST"

    def __init__(self, system: System) -> None:
        self._system = system
        self._path = client_types_path(PROVIDER_ID)
        self._client: httpx.Client | None = None

    def connect(self) -> None:
        """Open a new connection, and close the one before."""
        self.close()
        self._client = httpx.Client(
            base_url=f"http://127.0.0.1:{self._system.port}",
            headers={"Authorization": self._system.key},
            timeout=_TIMEOUT_S,
            verify=TLS,
        )

    def close(self) -> None:
        """Close the connection."""
        if self._client:
            self._client.close()

    def create(self, name: str, request_id: str) -> Row:
        """Create a client type."""
        headers = {"Idempotency-Key": request_id}
        body = SEED | {"Name": name}
        return _rest_row(self._call("POST", self._path, headers=headers, json=body))

    def get(self, row: Row) -> Row:
        """Get a client type."""
        return _rest_row(self._call("GET", self._of(row)))

    def list_first(self) -> None:
        """List the first page."""
        self._list(1)

    def list_other(self) -> None:
        """List the second page."""
        self._list(2)

    def update(self, row: Row, name: str, request_id: str) -> Row:
        """Replace a client type that has not changed since `row`."""
        body = SEED | {"Name": name}
        return _rest_row(
            self._call("PUT", self._of(row), headers=_conditional(row, request_id), json=body)
        )

    def delete(self, row: Row, request_id: str) -> None:
        """Delete a client type that has not changed since `row`."""
        self._call("DELETE", self._of(row), headers=_conditional(row, request_id))

    def send_invalid(self, request_id: str) -> None:
        """Send a request to create a client type without a name, which must be rejected."""
        headers = {"Idempotency-Key": request_id}
        body = SEED | {"Name": ""}
        self._call("POST", self._path, HTTPStatus.BAD_REQUEST, headers=headers, json=body)

    def send_wrong_key(self) -> None:
        """Send a request with an unknown API key, which must be rejected."""
        headers = {"Authorization": _WRONG_KEY}
        self._call("GET", self._path, HTTPStatus.UNAUTHORIZED, headers=headers)

    def _of(self, row: Row) -> str:
        return f"{self._path}/{row.id}"

    def _list(self, page: int) -> None:
        found = self._call("GET", self._path, params={"page": page, "per_page": PAGE})
        require(len(found.json()), PAGE)

    def _call(
        self, method: str, path: str, status: HTTPStatus = HTTPStatus.OK, **arguments: Any
    ) -> httpx.Response:
        if self._client is None:
            raise Unexpected("not connected")
        response = self._client.request(method, path, **arguments)
        if response.status_code != status:
            raise Unexpected(f"{response.status_code} {response.text}")
        return response


def _rest_row(response: httpx.Response) -> Row:
    body = response.json()
    return Row(id=body["ID"], etag=response.headers["ETag"], name=body["Name"])


def _conditional(row: Row, request_id: str) -> dict[str, str]:
    return {"If-Match": row.etag, "Idempotency-Key": request_id}


class Native:
    """gRPC, with a channel that shares its connection with no other channel."""

    name = "gRPC"

    def __init__(self, system: System) -> None:
        self._system = system
        self._channel: grpc.Channel | None = None
        self._stub: ClientTypeServiceStub

    def connect(self) -> None:
        """Open a new connection, and close the one before."""
        self.close()
        options = [("grpc.use_local_subchannel_pool", 1)]
        self._channel = grpc.insecure_channel(f"127.0.0.1:{self._system.port}", options)
        self._stub = ClientTypeServiceStub(self._channel)

    def close(self) -> None:
        """Close the connection."""
        if self._channel:
            self._channel.close()

    def create(self, name: str, request_id: str) -> Row:
        """Create a client type."""
        return _native_row(self._call(self._stub.CreateClientType, _creation(name, request_id)))

    def get(self, row: Row) -> Row:
        """Get a client type."""
        request = pb.GetClientTypeRequest(provider_id=PROVIDER_ID, id=row.id)
        return _native_row(self._call(self._stub.GetClientType, request))

    def list_first(self) -> None:
        """List the first page."""
        request = pb.ListClientTypesRequest(provider_id=PROVIDER_ID, page_size=PAGE)
        require(len(self._call(self._stub.ListClientTypes, request).client_types), PAGE)

    def list_other(self) -> None:
        """List with a filter."""
        request = pb.ListClientTypesRequest(
            provider_id=PROVIDER_ID, page_size=PAGE, filter=f'name : "{NAME}"'
        )
        for found in self._call(self._stub.ListClientTypes, request).client_types:
            require(NAME in found.name, expected=True)

    def update(self, row: Row, name: str, request_id: str) -> Row:
        """Change the name of a client type that has not changed since `row`."""
        request = pb.UpdateClientTypeRequest(request_id=request_id)
        request.client_type.provider_id, request.client_type.id = PROVIDER_ID, row.id
        request.client_type.name, request.client_type.etag = name, row.etag
        request.update_mask.paths.append("name")
        return _native_row(self._call(self._stub.UpdateClientType, request))

    def delete(self, row: Row, request_id: str) -> None:
        """Delete a client type that has not changed since `row`."""
        request = pb.DeleteClientTypeRequest(
            provider_id=PROVIDER_ID, id=row.id, etag=row.etag, request_id=request_id
        )
        self._call(self._stub.DeleteClientType, request)

    def send_invalid(self, request_id: str) -> None:
        """Send a request to create a client type without a name, which must be rejected."""
        with _rejected(grpc.StatusCode.INVALID_ARGUMENT):
            self._call(self._stub.CreateClientType, _creation("", request_id))

    def send_wrong_key(self) -> None:
        """Send a request with an unknown API key, which must be rejected."""
        request = pb.ListClientTypesRequest(provider_id=PROVIDER_ID)
        with _rejected(grpc.StatusCode.UNAUTHENTICATED):
            self._call(self._stub.ListClientTypes, request, _WRONG_KEY)

    def etags(self) -> dict[int, str]:
        """The etags of all stored client types by their IDs."""
        found: dict[int, str] = {}
        request = pb.ListClientTypesRequest(provider_id=PROVIDER_ID, page_size=_MAX_PAGE)
        while True:
            page = self._call(self._stub.ListClientTypes, request)
            found |= {row.id: row.etag for row in page.client_types}
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    def _call(
        self, method: Callable[..., Response], request: Message, key: str | None = None
    ) -> Response:
        metadata = (("authorization", key or self._system.key),)
        return method(request, metadata=metadata, timeout=_TIMEOUT_S)


def _creation(name: str, request_id: str) -> pb.CreateClientTypeRequest:
    request = pb.CreateClientTypeRequest(request_id=request_id)
    request.MergeFrom(SEED_MESSAGE)
    request.client_type.name = name
    return request


def _native_row(message: pb.ClientType) -> Row:
    return Row(id=message.id, etag=message.etag, name=message.name)


@contextmanager
def _rejected(code: grpc.StatusCode) -> Iterator[None]:
    """The call of this block must fail with this status."""
    try:
        yield
    except grpc.RpcError as error:
        require(error.code(), code)
    else:
        raise Unexpected(f"OK instead of {code}")

"""The requests of each workload in both protocols, created before the measurement."""

import json
import random
from dataclasses import dataclass
from functools import cache

from google.protobuf.message import Message
from hpack import Encoder, HeaderTuple, NeverIndexedHeaderTuple

from portal.oauth.v1 import client_type_pb2 as pb

WORKLOADS = ("create", "get", "list", "mix")
# The workload of the reference: an RPC that does nothing.
EMPTY = "empty"
EMPTY_METHOD = "/bench.Yardstick/Empty"
PROVIDER_ID = 1
PAGE = 20
_MIX_GETS, _MIX_CREATES = 9, 1
# The number of requests that a caller repeats; enough for many different IDs.
_ROUND = 100
_SERVICE = "/portal.oauth.v1.ClientTypeService/"

SEED = {
    "Name": "Server-side application",
    "Description": "Use this client configuration to create server-side applications"
    " that don't act on behalf of end-users",
    "ResponseTypes": "code,token",
    "GrantType": "authorization_code,refresh_token,password",
    "TokenEndpointAuthMethod": "client_secret_basic",
    "OktaAppType": "web",
}
SEED_MESSAGE = pb.CreateClientTypeRequest(
    provider_id=PROVIDER_ID,
    client_type=pb.ClientType(
        name=SEED["Name"],
        description=SEED["Description"],
        response_types=[pb.RESPONSE_TYPE_CODE, pb.RESPONSE_TYPE_TOKEN],
        grant_types=[
            pb.GRANT_TYPE_AUTHORIZATION_CODE,
            pb.GRANT_TYPE_REFRESH_TOKEN,
            pb.GRANT_TYPE_PASSWORD,
        ],
        token_endpoint_auth_method=pb.TOKEN_ENDPOINT_AUTH_METHOD_CLIENT_SECRET_BASIC,
        okta_app_type=pb.OKTA_APP_TYPE_WEB,
    ),
)


def client_types_path(provider_id: int) -> str:
    """The REST path of the client types of a provider."""
    return f"/portal-api/oauth-providers/{provider_id}/client-types"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One call, as bytes.

    For HTTP/1.1 `data` is the whole request. For gRPC it is the message with gRPC's prefix, and
    there are two header blocks: for the first call of a connection and for all later ones.
    `creates`: success means that there is a new row. `has_id`: a successful response has an ID.
    """

    data: bytes
    first_block: bytes = b""
    block: bytes = b""
    creates: bool = False
    has_id: bool = False


def _kinds(workload: str, seed: int) -> list[str]:
    """The kinds of requests in the order of one caller."""
    if workload != "mix":
        return [workload] * _ROUND
    parts = ["get"] * _MIX_GETS + ["create"] * _MIX_CREATES
    kinds = parts * (_ROUND // len(parts))
    random.Random(seed).shuffle(kinds)  # noqa: S311 - an order, not a secret
    return kinds


def _one_id(ids: list[int], seed: int, number: int) -> int:
    return ids[(seed * 7 + number) % len(ids)]


def http_requests(workload: str, key: str, ids: list[int], seed: int) -> list[Request]:
    """The REST requests of the caller with this number."""
    path = client_types_path(PROVIDER_ID)
    body = json.dumps(SEED).encode()

    def request(number: int, kind: str) -> Request:
        match kind:
            case "create":
                data = _http("POST", path, key, body)
            case "get":
                data = _http("GET", f"{path}/{_one_id(ids, seed, number)}", key)
            case _:
                data = _http("GET", f"{path}?page=1&per_page={PAGE}", key)
        return Request(data=data, creates=kind == "create", has_id=True)

    return [request(*pair) for pair in enumerate(_kinds(workload, seed))]


def _http(method: str, path: str, key: str, body: bytes = b"") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Authorization: {key}"]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def grpc_requests(workload: str, key: str, ids: list[int], seed: int) -> list[Request]:
    """The gRPC requests of the caller with this number."""

    def request(number: int, kind: str) -> Request:
        match kind:
            case "create":
                return _grpc(_SERVICE + "CreateClientType", key, SEED_MESSAGE, creates=True)
            case "get":
                get = pb.GetClientTypeRequest(
                    provider_id=PROVIDER_ID, id=_one_id(ids, seed, number)
                )
                return _grpc(_SERVICE + "GetClientType", key, get)
            case "list":
                page = pb.ListClientTypesRequest(provider_id=PROVIDER_ID, page_size=PAGE)
                return _grpc(_SERVICE + "ListClientTypes", key, page, has_id=False)
            case _:
                return _grpc(EMPTY_METHOD, key, pb.GetClientTypeRequest(), has_id=False)

    return [request(*pair) for pair in enumerate(_kinds(workload, seed))]


def _grpc(
    path: str, key: str, message: Message, *, creates: bool = False, has_id: bool = True
) -> Request:
    data = message.SerializeToString()
    first_block, block = _header_blocks(path, key)
    return Request(
        data=b"\0" + len(data).to_bytes(4) + data,
        first_block=first_block,
        block=block,
        creates=creates,
        has_id=has_id,
    )


@cache
def _header_blocks(path: str, key: str) -> tuple[bytes, bytes]:
    # The first call adds all headers except the path to the dynamic table of the connection. After
    # that each is one byte, as with a gRPC library. It does not matter which path came first.
    headers = [
        HeaderTuple(":method", "POST"),
        HeaderTuple(":scheme", "http"),
        NeverIndexedHeaderTuple(":path", path),
        HeaderTuple(":authority", "localhost"),
        HeaderTuple("te", "trailers"),
        HeaderTuple("content-type", "application/grpc"),
        HeaderTuple("authorization", key),
    ]
    encoder = Encoder()
    return encoder.encode(headers), encoder.encode(headers)

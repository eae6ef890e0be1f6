"""What clients of other portals send, and what must not follow from it."""

import socket
from typing import NamedTuple
from uuid import uuid4

import grpc
import httpx
import pytest

from portal.oauth.v1 import client_type_pb2, provider_pb2
from portal.oauth.v1.client_type_pb2_grpc import ClientTypeServiceStub
from portal.oauth.v1.provider_pb2_grpc import ProviderServiceStub
from tests.conftest import with_key
from tests.support.stack import ADMIN_KEY, Stack

PROVIDERS = "/oauth-providers"
PROVIDER = {"Name": "Idp", "Type": "Keycloak", "WellKnownURL": "https://idp.test/x"}
CLIENT_TYPE = {"Name": "x", "ResponseTypes": "code", "GrantType": "pkce"}

# Each would reach a field of a request if the transcoder saw it.
UNKNOWN = [
    "_=1",
    "sort=name",
    "nope",
    "=x",
    "&&=&",
    "Per_page=1",
    "perPage=1",
    "%70er_page=1",
    "per%5Fpage=1",
    "per_page%3D1",
    "x=1;page=9",
    "provider_id={other}",
    "providerId={other}",
    "provider%5Fid={other}",
    "%70rovider_id={other}",
    "client_type_id=1",
    "provider_id={other}&provider_id={other}",
    "provider=x",
    "provider.name=stolen",
    "provider.Name=stolen",
    "provider%2Ename=stolen",
    "provider.registration_access_token=stolen",
    "client_type.Name=stolen",
    "client%5Ftype.name=stolen",
    "a=1&" * 10 + "provider_id={other}",
]


@pytest.fixture
def provider(rest: httpx.Client) -> str:
    """The path of a provider of the test's own, with three client types."""
    path = f"{PROVIDERS}/{rest.post(PROVIDERS, json=PROVIDER).json()['ID']}"
    for name in ("a", "b", "c"):
        rest.post(f"{path}/client-types", json=CLIENT_TYPE | {"Name": name})
    return path


@pytest.mark.parametrize("query", UNKNOWN)
def test_an_unknown_query_parameter_is_ignored(
    rest: httpx.Client, provider: str, query: str
) -> None:
    other = rest.post(PROVIDERS, json=PROVIDER).json()["ID"]
    query = query.format(other=other)
    client_types = f"{provider}/client-types"
    client_type = f"{client_types}/{rest.get(client_types).json()[0]['ID']}"
    for path in (PROVIDERS, provider, client_types, client_type):
        assert rest.get(f"{path}?{query}").json() == rest.get(path).json()
    created = rest.post(f"{PROVIDERS}?{query}", json=PROVIDER).json()
    replaced = rest.put(f"{provider}?{query}", json=PROVIDER | {"Name": "new"}).json()
    changed = rest.put(f"{client_type}?{query}", json=CLIENT_TYPE | {"Name": "new"}).json()
    added = rest.post(f"{client_types}?{query}", json=CLIENT_TYPE)
    deleted = rest.delete(f"{provider}?{query}")

    assert (created["Name"], replaced["Name"], changed["Name"]) == ("Idp", "new", "new")
    assert (added.status_code, deleted.status_code) == (200, 200)
    assert rest.get(provider).status_code == 404
    assert rest.get(f"{PROVIDERS}/{other}").json()["Name"] == "Idp"
    assert rest.get(f"{PROVIDERS}/{other}").json()["ClientTypes"] == []


def test_known_parameters_count_among_unknown_ones(rest: httpx.Client, provider: str) -> None:
    found = rest.get(f"{provider}/client-types?_=1&per_page=1&x&page=2&sort=name").json()

    assert [row["Name"] for row in found] == ["b"]


@pytest.mark.parametrize(
    ("method", "query"),
    [
        ("GET", "force=perhaps"),
        ("GET", "page=x&limit=-1"),
        ("PUT", "page=0"),
        ("DELETE", "per_page=x"),
    ],
)
def test_a_parameter_of_another_operation_is_ignored(
    rest: httpx.Client, provider: str, method: str, query: str
) -> None:
    body = PROVIDER if method == "PUT" else None

    assert rest.request(method, f"{provider}?{query}", json=body).status_code == 200


@pytest.mark.parametrize("name", ["per_page", "page", "limit"])
def test_a_parameter_given_twice_is_rejected(rest: httpx.Client, name: str) -> None:
    response = rest.get(f"{PROVIDERS}?{name}=1&x=1&{name}=1")

    assert response.status_code == 400
    assert response.json() == {"errors": [f"{name}: is given more than once"]}


@pytest.mark.parametrize("query", ["", "?per_page=2&_=1"])
@pytest.mark.parametrize("slash", ["/", "//"])
def test_a_trailing_slash_changes_nothing(
    rest: httpx.Client, provider: str, slash: str, query: str
) -> None:
    client_types = f"{provider}/client-types"
    client_type = f"{client_types}/{rest.get(client_types).json()[0]['ID']}"
    for path in (PROVIDERS, provider, client_types, client_type):
        with_slash, without = rest.get(f"{path}{slash}{query}"), rest.get(f"{path}{query}")
        assert with_slash.status_code == 200
        assert with_slash.content == without.content
    assert rest.post(f"{client_types}{slash}{query}", json=CLIENT_TYPE).status_code == 200
    assert rest.put(f"{client_type}{slash}{query}", json=CLIENT_TYPE).status_code == 200
    assert rest.delete(f"{client_type}{slash}{query}").status_code == 200
    assert rest.patch(f"{client_type}{slash}{query}").status_code == 405


def exchange(stack: Stack, request: bytes) -> bytes:
    """What comes back on a connection after this request and one of GET /livez."""
    livez = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    received = b""
    with socket.create_connection(("127.0.0.1", stack.http_port), 5) as connection:
        connection.sendall(request + livez)
        while part := connection.recv(65536):
            received += part
    return received


@pytest.mark.parametrize("body", [b"", b"{}", b'{"provider_id":7}', b"x" * 5000])
@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("{provider}", 200),
        ("{provider}/", 200),
        ("{provider}/client-types", 200),
        ("{provider}/client-types?per_page=1&_=1", 200),
        ("/oauth-providers", 200),
        ("/oauth-providers/999999", 404),
        ("/oauth-providers/999999/client-types", 404),
        ("/oauth-providers?page=0", 400),
        ("/oauth-providers?page=", 400),
        ("/nope", 404),
    ],
)
def test_head_is_get_without_a_body(
    stack: Stack, provider: str, path: str, status: int, body: bytes
) -> None:
    path = path.format(provider=provider)
    with stack.client() as rest:
        get, head = rest.get(path), rest.head(path)
    request = (
        f"HEAD /portal-api{path} HTTP/1.1\r\nHost: x\r\nAuthorization: {ADMIN_KEY}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()
    received = exchange(stack, request + body)
    headers, _, next_response = received.partition(b"\r\n\r\n")

    assert (get.status_code, head.status_code) == (status, status)
    for name in ("content-type", "etag"):
        assert head.headers.get(name) == get.headers.get(name)
    if status != 400:  # Envoy's own texts become ours only in a response with a body
        assert head.headers.get("content-length") == get.headers.get("content-length")
    assert headers.startswith(f"HTTP/1.1 {status} ".encode())
    # Not a byte that a client would take for the beginning of the next response.
    assert not next_response or next_response.startswith(b"HTTP/1.1 200 OK\r\n")


def test_head_without_a_valid_key_is_rejected(stack: Stack) -> None:
    with stack.client(None) as client:
        response = client.head(PROVIDERS)

    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.content == b""


class Uids(NamedTuple):
    """Paths of the same provider and client type by number and by uid."""

    provider: str
    provider_by_uid: str
    client_type: str
    client_type_uid: str


@pytest.fixture
def uids(stack: Stack, rest: httpx.Client, provider: str) -> Uids:
    id_ = int(provider.rpartition("/")[2])
    client_type = rest.get(f"{provider}/client-types").json()[0]["ID"]
    with grpc.insecure_channel(f"127.0.0.1:{stack.grpc_port}") as bare:
        channel = with_key(bare, ADMIN_KEY)
        of_provider = ProviderServiceStub(channel).GetProvider(
            provider_pb2.GetProviderRequest(id=id_)
        )
        of_client_type = ClientTypeServiceStub(channel).GetClientType(
            client_type_pb2.GetClientTypeRequest(provider_id=id_, id=client_type)
        )
    return Uids(
        provider,
        f"{PROVIDERS}/{of_provider.uid}",
        f"{provider}/client-types/{client_type}",
        of_client_type.uid,
    )


def test_a_uid_stands_for_a_number_in_every_path(rest: httpx.Client, uids: Uids) -> None:
    upper = f"{PROVIDERS}/{uids.provider_by_uid.rpartition('/')[2].upper()}"
    for provider in (uids.provider, uids.provider_by_uid, upper, f"{upper}/"):
        assert rest.get(provider).json() == rest.get(uids.provider).json()
    for provider in (uids.provider, uids.provider_by_uid, upper):
        assert len(rest.get(f"{provider}/client-types").json()) == 3
        for uid in (uids.client_type_uid, uids.client_type_uid.upper()):
            item = f"{provider}/client-types/{uid}"
            assert rest.get(item).json() == rest.get(uids.client_type).json()
            assert rest.put(item, json=CLIENT_TYPE | {"Name": uid}).json()["Name"] == uid
            assert rest.head(f"{item}/?x=1").status_code == 200
    created = rest.post(f"{uids.provider_by_uid}/client-types", json=CLIENT_TYPE).json()
    replaced = rest.put(upper, json=PROVIDER | {"Name": "new"}).json()

    assert replaced["ClientTypes"][-1] == created
    assert rest.delete(f"{upper}/client-types/{uids.client_type_uid}").json() == {"status": "ok"}
    assert rest.get(uids.client_type).status_code == 404
    assert rest.delete(uids.provider_by_uid).json() == {"status": "ok"}
    assert rest.get(uids.provider).status_code == 404


def test_the_uid_of_a_client_type_of_another_provider_is_not_found(
    rest: httpx.Client, uids: Uids
) -> None:
    other = f"{PROVIDERS}/{rest.post(PROVIDERS, json=PROVIDER).json()['ID']}"
    path = f"{other}/client-types/{uids.client_type_uid}"
    responses = [rest.get(path), rest.put(path, json=CLIENT_TYPE), rest.delete(path)]

    assert [response.status_code for response in responses] == [404] * 3
    assert responses[0].json() == {"errors": [f"client type {uids.client_type_uid} not found"]}
    assert rest.get(uids.client_type).status_code == 200


def test_an_unused_uid_is_not_found(rest: httpx.Client, provider: str) -> None:
    uid = str(uuid4())
    client_type = rest.get(f"{provider}/client-types").json()[0]["ID"]
    of_provider = rest.get(f"{PROVIDERS}/{uid}/client-types/{client_type}")

    assert of_provider.status_code == 404
    assert of_provider.json() == {"errors": [f"provider {uid} not found"]}
    assert rest.get(f"{provider}/client-types/{uid}").status_code == 404
    idempotent = rest.delete(f"{PROVIDERS}/{uid}", headers={"Idempotency-Key": uid})
    assert idempotent.status_code == 404
    assert idempotent.json() == {"errors": [f"provider {uid} not found"]}


def test_a_retry_by_uid_gets_the_first_response(rest: httpx.Client, uids: Uids) -> None:
    replacing, *deleting = ({"Idempotency-Key": str(uuid4())} for _ in range(3))
    item = f"{uids.provider_by_uid}/client-types/{uids.client_type_uid}"
    of_client_type = [rest.delete(item, headers=deleting[0]) for _ in range(2)]
    replaced = rest.put(uids.provider_by_uid, json=PROVIDER, headers=replacing)
    of_provider = [rest.delete(uids.provider_by_uid, headers=deleting[1]) for _ in range(2)]
    replaced_again = rest.put(uids.provider_by_uid, json=PROVIDER, headers=replacing)

    for response in (*of_client_type, *of_provider):
        assert (response.status_code, response.json()) == (200, {"status": "ok"})
    assert (replaced.status_code, replaced_again.status_code) == (200, 200)
    # A retry reads the client types again.
    assert replaced_again.json() == replaced.json() | {"ClientTypes": []}
    assert rest.delete(uids.provider_by_uid).status_code == 404


@pytest.mark.parametrize("force", ["true", "True", "TRUE", "1", "false", "False", "0"])
def test_force_has_several_spellings(rest: httpx.Client, provider: str, force: str) -> None:
    assert rest.delete(f"{provider}?force={force}").status_code == 200


def test_id_token_is_accepted_and_written_as_it_token(rest: httpx.Client, provider: str) -> None:
    body = CLIENT_TYPE | {"ResponseTypes": "id_token, code,it_token"}
    created = rest.post(f"{provider}/client-types", json=body).json()

    assert created["ResponseTypes"] == "it_token,code"


@pytest.mark.parametrize("name", ["per_page", "limit"])
def test_ten_thousand_rows_are_allowed_and_not_one_more(rest: httpx.Client, name: str) -> None:
    most = rest.get(f"{PROVIDERS}?{name}=10000")
    more = rest.get(f"{PROVIDERS}?{name}=10001")

    assert most.status_code == 200
    assert (more.status_code, more.json()) == (
        400,
        {"errors": [f"{name}: must be between 1 and 10000"]},
    )

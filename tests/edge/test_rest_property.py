"""Whatever the rules accept survives the whole way, whatever they do not is rejected in form."""

from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portal.oauth.v1 import client_type_pb2 as pb
from portal.oauth.v1.client_type_pb2_grpc import ClientTypeServiceStub
from portal_server.domain.client_type import ResponseType
from portal_server.wire.oauth_v1.enums import vocabulary_of
from tests.conftest import with_key
from tests.support.stack import ADMIN_KEY, Stack

SHARED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
BOUNDED = settings(max_examples=150, deadline=None, suppress_health_check=SHARED)
# All of Unicode but NUL, which is rejected, and surrogates, which are no characters.
TEXT = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
RESPONSE_TYPES = ["code", "token", "it_token", "none"]
GRANT_TYPES = [
    "authorization_code",
    "pkce",
    "client_credentials",
    "device_code",
    "refresh_token",
    "password",
    "implicit",
]


def some_of(words_: list[str]) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(words_), min_size=1, unique=True).map(",".join)


CLIENT_TYPES = st.fixed_dictionaries(
    {
        "Name": st.text(TEXT, min_size=1, max_size=255).filter(str.strip),
        "Description": st.text(TEXT, max_size=600),
        "ResponseTypes": some_of(RESPONSE_TYPES),
        "GrantType": some_of(GRANT_TYPES),
        "TokenEndpointAuthMethod": st.sampled_from(
            ["", "client_secret_basic", "client_secret_post"]
        ),
        "OktaAppType": st.sampled_from(["", "web", "native", "browser", "service"]),
    }
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(TEXT),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(TEXT), inner, max_size=3),
    max_leaves=6,
)
KEYS = ["Name", "Description", "ResponseTypes", "GrantType", "OktaAppType", "ID", "x"]


@pytest.fixture(scope="module")
def path(stack: Stack) -> str:
    """The client types of a provider of this module's own."""
    with stack.client() as rest:
        provider = {"Name": "p", "Type": "Other", "WellKnownURL": "https://idp.test/"}
        id_ = rest.post("/oauth-providers", json=provider).json()["ID"]
    return f"/oauth-providers/{id_}/client-types"


@given(client_type=CLIENT_TYPES)
@BOUNDED
def test_any_valid_client_type_survives_rest_storage_grpc_and_rest(
    stack: Stack, path: str, client_type: dict[str, str]
) -> None:
    provider_id = int(path.split("/")[2])
    with stack.client() as rest, grpc.insecure_channel(f"127.0.0.1:{stack.grpc_port}") as bare:
        created = rest.post(path, json=client_type).json()
        stub = ClientTypeServiceStub(with_key(bare, ADMIN_KEY))
        request = pb.GetClientTypeRequest(provider_id=provider_id, id=created["ID"])
        native = stub.GetClientType(request)
        native_again = stub.UpdateClientType(
            pb.UpdateClientTypeRequest(client_type=native, update_mask={"paths": ["*"]})  # type: ignore[arg-type]
        )
        read = rest.get(f"{path}/{created['ID']}").json()
        replaced = rest.put(f"{path}/{created['ID']}", json=read).json()

    times = ("CreatedAt", "UpdatedAt")
    expected = client_type | {"ID": created["ID"]}
    for response in (created, read, replaced):
        assert {k: v for k, v in response.items() if k not in times} == expected
    assert native.name == native_again.name == client_type["Name"]
    assert native.description == client_type["Description"]
    assert [
        str(vocabulary_of(ResponseType).word(number)).replace("id_token", "it_token")
        for number in native.response_types
    ] == client_type["ResponseTypes"].split(",")


@given(body=st.dictionaries(st.sampled_from(KEYS), JSON | st.sampled_from(GRANT_TYPES)) | JSON)
@BOUNDED
def test_any_json_is_accepted_or_rejected_in_form(stack: Stack, path: str, body: Any) -> None:
    with stack.client() as rest:
        response = rest.post(path, json=body)

    assert response.status_code in (200, 400)
    if response.status_code == 400:
        assert response.json()["errors"]

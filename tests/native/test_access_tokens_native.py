"""Access tokens instead of API keys, over gRPC: a real server, and a real issuer on a socket."""

import logging
import time
from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import pytest

from portal.oauth.v1 import provider_pb2 as pb
from portal.oauth.v1.api_key_pb2 import ListApiKeysRequest
from portal.oauth.v1.api_key_pb2_grpc import ApiKeyServiceStub
from portal.oauth.v1.provider_pb2_grpc import ProviderServiceStub
from portal.oauth.v1.system_pb2 import GetServerInfoRequest
from portal.oauth.v1.system_pb2_grpc import SystemServiceStub
from portal_server.domain.access_tokens import subject_id
from portal_server.domain.keys import Role
from portal_server.run.access_tokens import token_rules
from portal_server.run.settings import Settings, SettingsError
from tests.conftest import Portal, serve, with_key
from tests.support.databases import new_sqlite
from tests.support.details import Rejection
from tests.support.issuer import AUDIENCE, Issuer
from tests.support.providers.oidc import oidc_provider
from tests.support.providers.scripted import Scripted

LIST = pb.ListProvidersRequest()
PROVIDER = pb.Provider(name="p", type=pb.PROVIDER_TYPE_OTHER, well_known_uri="https://idp.test/x")
ROLES = {"portal-admins": Role.ADMIN, "portal-editors": Role.EDITOR, "staff": Role.VIEWER}


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with Scripted() as server:
        issuer = Issuer(server)
        issuer.add("k1")
        yield issuer


def settings_of(url: str) -> dict[str, Any]:
    return {"jwt_issuer": url, "jwt_audience": AUDIENCE, "jwt_roles": ROLES}


@pytest.fixture(scope="module")
def portal(issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    url = new_sqlite(tmp_path_factory.mktemp("tokens") / "served.db")
    with serve(url, **settings_of(issuer.url)) as portal:
        await_keys(portal, issuer.token())
        yield portal


def await_keys(portal: Portal, token: str) -> None:
    """Wait until the server has fetched the keys of the issuer."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            ProviderServiceStub(with_key(portal.anonymous, token)).ListProviders(LIST)
        except grpc.RpcError as error:
            if Rejection(error).reason != "ISSUER_UNAVAILABLE":
                raise
            time.sleep(0.02)
        else:
            return
    pytest.fail("the keys were not fetched")


def rejection_of(portal: Portal, token: str, request: Any = LIST) -> Rejection:
    stub = ProviderServiceStub(with_key(portal.anonymous, token))
    call = stub.ListProviders if request is LIST else stub.CreateProvider
    with pytest.raises(grpc.RpcError) as error:
        call(request)
    return Rejection(error.value)


def test_a_token_may_do_what_its_role_may(portal: Portal, issuer: Issuer) -> None:
    create = pb.CreateProviderRequest(provider=PROVIDER)
    viewer = issuer.token(roles=["staff"], sub="viewer")
    editor = with_key(portal.anonymous, f"Bearer {issuer.token(sub='editor')}")
    made = ProviderServiceStub(editor).CreateProvider(create)
    with pytest.raises(grpc.RpcError) as error:
        ApiKeyServiceStub(editor).ListApiKeys(ListApiKeysRequest())
    listed = ProviderServiceStub(with_key(portal.anonymous, viewer)).ListProviders(LIST)

    assert made in listed.providers
    assert Rejection(error.value).reason == "ROLE_NOT_ALLOWED"
    assert rejection_of(portal, viewer, create).reason == "ROLE_NOT_ALLOWED"


def test_the_caller_is_named_by_a_hash_of_its_subject(
    portal: Portal, issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    token = issuer.token(sub="someone@example.com")
    with caplog.at_level(logging.DEBUG):
        stub = SystemServiceStub(with_key(portal.anonymous, token))
        caller = stub.GetServerInfo(GetServerInfoRequest()).caller

    assert caller.key_id == subject_id(issuer.url, "someone@example.com")
    assert caller.expire_time.seconds - time.time() == pytest.approx(300, abs=10)
    assert f"key={caller.key_id}" in caplog.text
    assert "someone" not in caplog.text
    assert token not in caplog.text


def test_an_invalid_token_is_rejected_as_an_invalid_key_is(portal: Portal, issuer: Issuer) -> None:
    found = [
        rejection_of(portal, token)
        for token in ("nope", issuer.token(aud="other"), issuer.token(exp=int(time.time()) - 1))
    ]

    assert {one.reason for one in found} == {"KEY_INVALID"}
    assert len({one.message for one in found}) == 1


def test_a_token_without_a_role_is_forbidden(portal: Portal, issuer: Issuer) -> None:
    rejection = rejection_of(portal, issuer.token(roles=["others"]))

    assert rejection.code == grpc.StatusCode.PERMISSION_DENIED
    assert rejection.message == "the access token has no role for this portal in roles"


def test_keys_stay_valid_beside_tokens(portal: Portal) -> None:
    ProviderServiceStub(portal.channel).ListProviders(LIST)


def test_without_an_issuer_no_token_is_accepted(issuer: Issuer, tmp_path: Any) -> None:
    with serve(new_sqlite(tmp_path / "p.db")) as portal:
        assert rejection_of(portal, issuer.token()).reason == "KEY_INVALID"


@pytest.mark.needs("node", "npm")
@pytest.mark.timeout(300)
def test_the_tokens_of_a_real_provider_are_accepted(tmp_path: Any) -> None:
    with oidc_provider() as url, serve(new_sqlite(tmp_path / "p.db"), **settings_of(url)) as portal:
        response = httpx.post(
            f"{url}/token",
            data={"grant_type": "client_credentials", "resource": AUDIENCE},
            auth=("pipeline", "pipeline-secret"),
        )
        token = response.json()["access_token"]
        await_keys(portal, token)
        editor = ProviderServiceStub(with_key(portal.anonymous, token))
        made = editor.CreateProvider(pb.CreateProviderRequest(provider=PROVIDER))

    assert made.name == "p"


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"jwt_audience": "x"}, "PORTAL_JWT_ISSUER: required"),
        ({"jwt_issuer": "https://a.test"}, "PORTAL_JWT_AUDIENCE: required"),
        ({"jwt_issuer": "https://a.test", "jwt_audience": " , "}, "PORTAL_JWT_AUDIENCE: required"),
        ({"jwt_issuer": "https://a.test", "jwt_audience": "x"}, "PORTAL_JWT_ROLES: required"),
    ],
)
def test_incomplete_settings_are_named(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(SettingsError, match=text):
        token_rules(Settings.model_construct(**settings))

"""Registers and manages clients at a real provider, which is strict about RFC 7591 and 7592."""

# ruff: noqa: S105, S106 - secrets of the tests

from collections.abc import Iterator
from dataclasses import replace

import pytest

from portal_server.domain.client import ProviderClient
from portal_server.domain.discovery import CheckOutcome
from portal_server.domain.errors import Reason, Rejected, Unimplemented
from portal_server.idp.access import Access, Handle
from portal_server.idp.registrar import Registrar
from tests.idp.conftest import access_to
from tests.support.providers.oidc import oidc_provider

pytestmark = [pytest.mark.needs("node", "npm"), pytest.mark.timeout(300)]

TOKEN = "initial-access-token"
METADATA = {
    "client_name": "web [0123456789ab]",
    "redirect_uris": ["https://app.example.com/cb"],
    "grant_types": ["authorization_code", "refresh_token"],
    "response_types": ["code"],
    "token_endpoint_auth_method": "client_secret_basic",
}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with oidc_provider(TOKEN) as url:
        yield url


@pytest.fixture
def access(url: str) -> Access:
    return access_to(f"{url}/.well-known/openid-configuration", token=TOKEN)


def handle_of(client: ProviderClient) -> Handle:
    return Handle(
        client_id=client.client_id,
        registration_client_uri=client.registration_client_uri,
        registration_access_token=client.registration_access_token,
    )


def test_a_client_is_registered_read_updated_and_deleted(
    registrar: Registrar, access: Access
) -> None:
    client = registrar.register(access, METADATA)
    assert client.client_secret
    assert client.registration_access_token
    assert {name: client.metadata[name] for name in METADATA} == METADATA

    read = registrar.read(access, handle_of(client))
    assert read.client_secret == client.client_secret
    assert read.registration_access_token == client.registration_access_token

    changed = {**METADATA, "client_name": "other [0123456789ab]"}
    updated = registrar.update(access, handle_of(client), changed)
    assert updated.metadata["client_name"] == "other [0123456789ab]"
    assert updated.registration_access_token != client.registration_access_token

    with pytest.raises(Rejected) as caught:
        registrar.read(access, handle_of(client))  # by the old token
    assert caught.value.http_status == 401
    assert client.registration_access_token not in caught.value.message

    registrar.delete(access, handle_of(updated))
    with pytest.raises(Rejected) as caught:
        registrar.delete(access, handle_of(updated))
    assert caught.value.http_status == 401


def test_a_token_that_is_not_valid_is_rejected(registrar: Registrar, access: Access) -> None:
    access = replace(access, registration_access_token="another-token")
    with pytest.raises(Rejected) as caught:
        registrar.register(access, METADATA)
    assert caught.value.reason is Reason.PROVIDER_CREDENTIAL_REJECTED
    assert caught.value.error == "invalid_token"
    assert "initial access token" in caught.value.message


def test_a_rejection_of_metadata_has_the_providers_text(
    registrar: Registrar, access: Access
) -> None:
    with pytest.raises(Rejected) as caught:
        registrar.register(access, {**METADATA, "grant_types": ["password"]})
    assert caught.value.reason is Reason.PROVIDER_REJECTED
    assert caught.value.error == "invalid_client_metadata"
    assert "grant_types" in caught.value.description


def test_a_secret_cannot_be_rotated_and_a_client_cannot_be_searched(
    registrar: Registrar, access: Access
) -> None:
    client = registrar.register(access, METADATA)
    with pytest.raises(Unimplemented) as caught:
        registrar.rotate(access, handle_of(client), METADATA)
    assert caught.value.reason is Reason.ROTATION_NOT_SUPPORTED
    assert registrar.find(access, METADATA["client_name"]) is None  # type: ignore[arg-type]


def test_its_checks_are_ok(registrar: Registrar, access: Access) -> None:
    outcomes = {each.name: each.outcome for each in registrar.check(access)}
    assert outcomes == {
        "discovery": CheckOutcome.OK,
        "tls": CheckOutcome.WARNING,  # it is http
        "registration_endpoint": CheckOutcome.OK,
        "credential": CheckOutcome.SKIPPED,
    }

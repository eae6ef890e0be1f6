"""Registers and manages clients at a real Keycloak."""

# ruff: noqa: S106 - secrets of the tests

from collections.abc import Iterator
from dataclasses import replace

import pytest

from portal_server.domain.client import ProviderClient
from portal_server.domain.discovery import CheckOutcome
from portal_server.domain.errors import Reason, Rejected, Unimplemented
from portal_server.domain.provider import CredentialType, ProviderType
from portal_server.idp.access import Access, Handle
from portal_server.idp.registrar import Registrar
from tests.idp.conftest import access_to
from tests.support.providers.keycloak import (
    ACCOUNT,
    ACCOUNT_SECRET,
    CREATOR,
    CREATOR_SECRET,
    Keycloak,
    keycloak,
)

pytestmark = [pytest.mark.slow, pytest.mark.needs("javac", "mvn")]

NAME = "web [0123456789ab]"
METADATA = {
    "client_name": NAME,
    "redirect_uris": ["https://app.example.com/cb"],
    "grant_types": ["authorization_code", "refresh_token"],
    "response_types": ["code"],
    "token_endpoint_auth_method": "client_secret_basic",
}


@pytest.fixture(scope="module")
def server() -> Iterator[Keycloak]:
    with keycloak() as server:
        yield server


@pytest.fixture
def account(server: Keycloak) -> Access:
    return access_to(
        server.well_known,
        secret=ACCOUNT_SECRET,
        type=ProviderType.KEYCLOAK,
        credential_type=CredentialType.CLIENT_CREDENTIALS,
        credential_client_id=ACCOUNT,
    )


def initial(server: Keycloak) -> Access:
    token = server.initial_access_token()
    return access_to(server.well_known, token=token, type=ProviderType.KEYCLOAK)


def handle_of(client: ProviderClient) -> Handle:
    return Handle(
        client_id=client.client_id,
        registration_client_uri=client.registration_client_uri,
        registration_access_token=client.registration_access_token,
    )


def test_a_client_is_managed_by_its_registration_access_token(
    registrar: Registrar, server: Keycloak
) -> None:
    access = initial(server)
    client = registrar.register(access, METADATA)
    assert client.metadata["response_types"] == ["code", "none"]
    read = registrar.read(access, handle_of(client))
    assert read.client_secret == client.client_secret
    updated = registrar.update(access, handle_of(client), {**METADATA, "client_name": "other"})
    assert updated.registration_access_token != client.registration_access_token
    with pytest.raises(Unimplemented):
        registrar.rotate(access, handle_of(updated), METADATA)
    assert registrar.find(access, NAME) is None
    registrar.delete(access, handle_of(updated))
    with pytest.raises(Rejected) as caught:
        registrar.read(access, handle_of(updated))
    assert caught.value.http_status == 401


def test_an_initial_access_token_that_is_used_up_is_rejected(
    registrar: Registrar, server: Keycloak
) -> None:
    access = initial(server)
    registrar.register(access, METADATA)
    with pytest.raises(Rejected) as caught:
        registrar.register(access, METADATA)
    assert caught.value.reason is Reason.PROVIDER_CREDENTIAL_REJECTED
    assert "No remaining count" in caught.value.description


def test_a_service_account_registers_finds_rotates_and_deletes(
    registrar: Registrar, account: Access
) -> None:
    name = "found [0123456789ac]"
    client = registrar.register(account, {**METADATA, "client_name": name})
    (found,) = registrar.find(account, name) or ()
    assert found.client_id == client.client_id
    assert registrar.find(account, "nothing") == ()

    read = registrar.read(account, found)
    assert read.client_secret == client.client_secret
    rotated = registrar.rotate(account, found, METADATA)
    assert rotated.client_secret != client.client_secret
    assert registrar.read(account, found).client_secret == rotated.client_secret

    updated = registrar.update(account, found, {**METADATA, "client_name": "other"})
    assert updated.metadata["client_name"] == "other"
    registrar.delete(account, found)
    registrar.delete(account, found)
    with pytest.raises(Rejected) as caught:
        registrar.read(account, found)
    assert caught.value.http_status == 404


def test_an_account_that_may_only_create_uses_the_token_of_the_client(
    registrar: Registrar, server: Keycloak
) -> None:
    access = access_to(
        server.well_known,
        secret=CREATOR_SECRET,
        type=ProviderType.KEYCLOAK,
        credential_type=CredentialType.CLIENT_CREDENTIALS,
        credential_client_id=CREATOR,
    )
    client = registrar.register(access, METADATA)
    assert registrar.find(access, NAME) is None
    assert registrar.read(access, handle_of(client)).client_id == client.client_id
    with pytest.raises(Unimplemented):
        registrar.rotate(access, handle_of(client), METADATA)
    registrar.delete(access, handle_of(client))


def test_a_wrong_secret_of_the_account_is_rejected(registrar: Registrar, account: Access) -> None:
    access = replace(account, credential_client_secret="another-secret")
    with pytest.raises(Rejected) as caught:
        registrar.register(access, METADATA)
    assert caught.value.reason is Reason.PROVIDER_CREDENTIAL_REJECTED
    assert "another-secret" not in caught.value.message


def test_the_registration_endpoint_as_the_well_known_url_is_explained(
    registrar: Registrar, server: Keycloak
) -> None:
    pasted = f"{server.url}/realms/lab/clients-registrations/openid-connect"
    access = access_to(pasted, type=ProviderType.KEYCLOAK)
    check = registrar.check(access)[0]
    assert check.outcome is CheckOutcome.FAILED
    assert f"Set the well-known URL to {server.well_known}" in check.text


def test_the_check_reads_the_end_of_an_initial_access_token(
    registrar: Registrar, server: Keycloak
) -> None:
    checks = {each.name: each for each in registrar.check(initial(server))}
    assert checks["discovery"].outcome is CheckOutcome.OK
    assert checks["credential"].outcome is CheckOutcome.WARNING  # an hour is left
    assert "expires in 0 days" in checks["credential"].text

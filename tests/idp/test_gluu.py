"""Clients at a double of Gluu and Janssen."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from portal_server.domain.client import ProviderClient
from portal_server.domain.errors import Rejected
from portal_server.domain.provider import ProviderType
from portal_server.idp.access import Access, Handle
from portal_server.idp.registrar import Registrar
from tests.idp.conftest import access_to
from tests.support.providers.gluu import Gluu

METADATA = {
    "client_name": "web [0123456789ab]",
    "redirect_uris": ["https://app.example.com/cb"],
    "grant_types": ["authorization_code"],
    "response_types": ["code"],
    "software_id": "portal",
}


@pytest.fixture
def gluu() -> Iterator[Gluu]:
    with Gluu(lifetime_s=86400, return_client_secret_on_read=False) as gluu:
        yield gluu


@pytest.fixture
def access(gluu: Gluu) -> Access:
    return access_to(gluu.well_known, type=ProviderType.GLUU)


def handle_of(client: ProviderClient) -> Handle:
    return Handle(
        client_id=client.client_id,
        registration_client_uri=client.registration_client_uri,
        registration_access_token=client.registration_access_token,
    )


def test_a_client_is_managed_at_a_uri_with_a_query(
    registrar: Registrar, gluu: Gluu, access: Access
) -> None:
    client = registrar.register(access, METADATA)
    assert client.registration_client_uri.endswith(f"register?client_id={client.client_id}")
    handle = handle_of(client)
    assert registrar.read(access, handle).metadata["software_id"] == "portal"
    changed = {**METADATA, "client_name": "other"}
    updated = registrar.update(access, handle, changed)
    assert updated.metadata["client_name"] == "other"
    assert updated.registration_access_token == client.registration_access_token
    registrar.delete(access, handle)
    assert not gluu.clients
    with pytest.raises(Rejected) as caught:
        registrar.read(access, handle)
    assert caught.value.http_status == 401


def test_the_end_of_a_client_is_the_expiration_of_its_secret(
    registrar: Registrar, access: Access
) -> None:
    client = registrar.register(access, METADATA)
    assert client.client_secret_expire_time is not None
    assert client.client_secret_expire_time > datetime.now(UTC) + timedelta(hours=23)


def test_what_gluu_adds_is_in_the_metadata(registrar: Registrar, access: Access) -> None:
    client = registrar.register(access, METADATA)
    assert client.metadata["grant_types"] == ["authorization_code", "refresh_token"]


def test_the_password_grant_is_rejected_with_the_text_of_gluu(
    registrar: Registrar, access: Access
) -> None:
    with pytest.raises(Rejected) as caught:
        registrar.register(access, {**METADATA, "grant_types": ["password"]})
    assert caught.value.error == "access_denied"
    assert caught.value.http_status == 400

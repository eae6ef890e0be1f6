"""Clients at a double of Okta."""

# ruff: noqa: S105, S106 - secrets of the tests

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from portal_server.domain.discovery import CheckOutcome
from portal_server.domain.errors import Reason, Rejected, Unimplemented
from portal_server.domain.provider import ProviderType
from portal_server.idp.access import Access, Handle
from portal_server.idp.registrar import Registrar
from tests.idp.conftest import access_to
from tests.support.providers.okta import Okta

NAME = "web [0123456789ab]"
METADATA = {
    "client_name": NAME,
    "redirect_uris": ["https://app.example.com/cb"],
    "application_type": "web",
    "grant_types": ["authorization_code", "refresh_token"],
    "response_types": ["code"],
    "token_endpoint_auth_method": "client_secret_basic",
}


@pytest.fixture
def okta() -> Iterator[Okta]:
    with Okta() as okta:
        yield okta


@pytest.fixture
def access(okta: Okta) -> Access:
    well_known = f"{okta.url}/oauth2/default/.well-known/openid-configuration"
    return access_to(well_known, token=okta.token, type=ProviderType.OKTA)


def registered(registrar: Registrar, access: Access) -> Handle:
    return Handle(client_id=registrar.register(access, METADATA).client_id)


def test_a_client_is_managed_by_the_api_token_alone(
    registrar: Registrar, okta: Okta, access: Access
) -> None:
    client = registrar.register(access, METADATA)
    assert client.client_secret
    assert client.client_secret_expire_time is None
    handle = Handle(client_id=client.client_id)

    read = registrar.read(access, handle)
    assert read.client_secret == ""
    assert "client_uri" not in read.metadata  # it is null there

    changed = {**METADATA, "redirect_uris": ["https://other.example.com/"]}
    assert registrar.update(access, handle, changed).metadata["redirect_uris"] == [
        "https://other.example.com/"
    ]
    registrar.delete(access, handle)
    assert not okta.clients
    assert {each.authorization for each in okta.requests[1:]} == {f"SSWS {okta.token}"}


def test_an_update_sends_all_settings(registrar: Registrar, okta: Okta, access: Access) -> None:
    handle = registered(registrar, access)
    okta.clients[handle.client_id]["initiate_login_uri"] = "https://app.example.com/login"
    registrar.update(access, handle, {"client_name": NAME, "redirect_uris": ["https://b.example/"]})
    sent = okta.requests[-1].document()
    assert sent["initiate_login_uri"] == "https://app.example.com/login"
    assert sent["redirect_uris"] == ["https://b.example/"]
    assert sent["client_id"] == handle.client_id
    assert "client_secret" not in sent
    assert "client_uri" not in sent


def test_a_jwt_is_sent_as_a_bearer_token(registrar: Registrar, okta: Okta, access: Access) -> None:
    token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln"
    okta.bearers[token] = ("okta.clients.register",)
    registrar.register(replace(access, registration_access_token=token), METADATA)
    assert okta.requests[-1].authorization == f"Bearer {token}"


@pytest.mark.parametrize("gone", [False, True])
def test_a_token_that_was_revoked_says_nothing_about_a_client(
    registrar: Registrar, okta: Okta, access: Access, *, gone: bool
) -> None:
    handle = registered(registrar, access)
    if gone:
        okta.clients.clear()
    else:
        okta.token = "another"
    calls: list[Callable[[], object]] = [
        lambda: registrar.read(access, handle),
        lambda: registrar.update(access, handle, METADATA),
        *([] if gone else [lambda: registrar.delete(access, handle)]),
    ]
    for call in calls:
        with pytest.raises(Rejected) as caught:
            call()
        assert caught.value.http_status == (404 if gone else 401)
        assert caught.value.detached is gone


def test_a_client_is_found_by_its_whole_name(
    registrar: Registrar, okta: Okta, access: Access
) -> None:
    for name in (NAME, NAME + "x", NAME.upper(), "other"):
        registrar.register(access, {**METADATA, "client_name": name})
    found = registrar.find(access, NAME)
    (client,) = (each for each in okta.clients.values() if each["client_name"] == NAME)
    assert found == (Handle(client_id=client["client_id"]),)
    assert registrar.find(access, "nothing [0123456789ab]") == ()


def test_a_search_reads_all_pages(
    registrar: Registrar, okta: Okta, access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal_server.idp.drivers._OKTA_PAGE", 2)
    for number in range(5):
        registrar.register(access, {**METADATA, "client_name": f"{NAME}{number}"})
    handle = registered(registrar, access)
    assert registrar.find(access, NAME) == (handle,)
    assert len([each for each in okta.requests if each.query.get("q")]) == 3


def test_a_token_that_may_not_list_cannot_search(
    registrar: Registrar, okta: Okta, access: Access
) -> None:
    token = "a.b.c"
    okta.bearers[token] = ("okta.clients.register",)
    assert registrar.find(replace(access, registration_access_token=token), NAME) is None


def test_a_rotation_returns_a_new_secret(registrar: Registrar, okta: Okta, access: Access) -> None:
    client = registrar.register(access, METADATA)
    rotated = registrar.rotate(access, Handle(client_id=client.client_id), METADATA)
    assert rotated.client_secret == okta.clients[client.client_id]["client_secret"]
    assert rotated.client_secret != client.client_secret


def test_a_public_client_has_no_secret_to_rotate(registrar: Registrar, access: Access) -> None:
    metadata = {**METADATA, "token_endpoint_auth_method": "none"}
    with pytest.raises(Unimplemented) as caught:
        registrar.rotate(access, Handle(client_id="one"), metadata)
    assert caught.value.reason is Reason.ROTATION_NOT_SUPPORTED


@pytest.mark.parametrize("unknown_is_401", [True, False])
def test_a_client_that_is_gone_was_deleted(
    registrar: Registrar, okta: Okta, access: Access, *, unknown_is_401: bool
) -> None:
    okta.unknown_is_401 = unknown_is_401
    handle = registered(registrar, access)
    registrar.delete(access, handle)
    registrar.delete(access, handle)
    with pytest.raises(Rejected) as caught:
        registrar.read(access, handle)
    assert caught.value.http_status == 404


def test_a_rejected_api_token_is_not_a_client_that_is_gone(
    registrar: Registrar, okta: Okta, access: Access
) -> None:
    handle = registered(registrar, access)
    with pytest.raises(Rejected) as caught:
        registrar.delete(replace(access, registration_access_token="00another"), handle)
    assert caught.value.http_status == 401
    assert caught.value.error == "E0000011"
    assert okta.clients


def test_a_name_that_exists_is_rejected(registrar: Registrar, access: Access) -> None:
    registrar.register(access, METADATA)
    with pytest.raises(Rejected) as caught:
        registrar.register(access, METADATA)
    assert "already exists" in caught.value.description


def test_a_rate_limit_reports_when_it_ends(
    registrar: Registrar, okta: Okta, access: Access
) -> None:
    registrar.discover(access)
    okta.limited = True
    with pytest.raises(Rejected) as caught:
        registrar.register(access, METADATA)
    assert caught.value.reason is Reason.PROVIDER_BUSY
    assert 5 < caught.value.retry_after_s <= 20


def test_the_check_tries_the_api_token(registrar: Registrar, okta: Okta, access: Access) -> None:
    def outcome(access: Access) -> CheckOutcome:
        (check,) = (each for each in registrar.check(access) if each.name == "credential")
        assert okta.token not in check.text
        return check.outcome

    assert outcome(access) is CheckOutcome.OK
    assert outcome(replace(access, registration_access_token="00another")) is CheckOutcome.FAILED
    okta.bearers["a.b.c"] = ("okta.clients.register",)
    assert outcome(replace(access, registration_access_token="a.b.c")) is CheckOutcome.WARNING

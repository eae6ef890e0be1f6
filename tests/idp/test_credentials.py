"""What is presented to a provider, and to a client's own URL."""

# ruff: noqa: S105, S106 - secrets of the tests

import base64
from dataclasses import replace
from typing import Any

import pytest

from portal_server.domain.errors import (
    NotSent,
    OutcomeUnknown,
    ProviderError,
    Reason,
    Rejected,
    Unimplemented,
)
from portal_server.domain.provider import CredentialType, ProviderType
from portal_server.idp.access import Access, Handle
from portal_server.idp.registrar import Registrar
from tests.idp.conftest import access_to
from tests.support.providers.scripted import Bytes, Scripted, Seen, http

METADATA = {"client_name": "web", "token_endpoint_auth_method": "client_secret_basic"}
RAT = "registration-access-token"


def account(provider: Scripted, **more: Any) -> Access:
    return access_to(
        provider.well_known,
        secret="se:cret&1",
        credential_type=CredentialType.CLIENT_CREDENTIALS,
        credential_client_id="portal account",
        **more,
    )


def handle(provider: Scripted, path: str = "/register/one") -> Handle:
    return Handle(
        client_id="one",
        registration_client_uri=f"{provider.url}{path}",
        registration_access_token=RAT,
    )


def tokens(provider: Scripted, expires_in: object = 60) -> None:
    """Serve a new token for each request."""

    def respond(_: Seen) -> Bytes:
        number = len([each for each in provider.seen if each.target == "/token"])
        return http(200, {"access_token": f"token-{number}", "expires_in": expires_in})

    provider.responses["/token"] = respond


def accepts(provider: Scripted, *authorizations: str) -> None:
    def respond(seen: Seen) -> Bytes:
        if seen.headers.get("authorization", "") in authorizations:
            return http(201, {"client_id": "one"})
        return http(401, {"error": "invalid_token"})

    provider.responses["/register"] = respond


def test_none_presents_nothing(registrar: Registrar, provider: Scripted) -> None:
    accepts(provider, "")
    assert registrar.register(access_to(provider.well_known), METADATA).client_id == "one"


@pytest.mark.parametrize(
    ("kind", "token", "header"),
    [
        (CredentialType.INITIAL_ACCESS_TOKEN, "abc", "Bearer abc"),
        (CredentialType.SSWS, "00abc", "SSWS 00abc"),
        (CredentialType.SSWS, " 00abc\n", "SSWS 00abc"),
        (CredentialType.SSWS, "eyJh.eyJz.c2ln", "Bearer eyJh.eyJz.c2ln"),
    ],
)
def test_a_token_is_presented_as_its_kind(
    registrar: Registrar, provider: Scripted, kind: CredentialType, token: str, header: str
) -> None:
    accepts(provider, header)
    access = access_to(provider.well_known, token=token, credential_type=kind)
    assert registrar.register(access, METADATA).client_id == "one"


def test_a_service_account_gets_a_token_that_is_cached(
    registrar: Registrar, provider: Scripted
) -> None:
    tokens(provider)
    accepts(provider, "Bearer token-1")
    access = account(provider)
    registrar.register(access, METADATA)
    registrar.register(access, METADATA)
    (seen,) = (each for each in provider.seen if each.target == "/token")
    scheme, _, value = seen.headers["authorization"].partition(" ")
    assert (scheme, base64.b64decode(value)) == ("Basic", b"portal+account:se%3Acret%261")
    assert seen.body == b"grant_type=client_credentials"


def test_a_token_has_the_scope_of_the_provider(registrar: Registrar, provider: Scripted) -> None:
    tokens(provider)
    accepts(provider, "Bearer token-1")
    registrar.register(account(provider, credential_scope="client.create more"), METADATA)
    (seen,) = (each for each in provider.seen if each.target == "/token")
    assert seen.body == b"grant_type=client_credentials&scope=client.create+more"


@pytest.mark.parametrize(
    ("more", "has_hint"),
    [
        ({}, True),
        ({"credential_scope": "dcr"}, False),
        ({"type": ProviderType.KEYCLOAK}, False),  # it is about a role, or a scope of the client
    ],
)
def test_a_token_without_scope_is_rejected_with_what_to_do(
    registrar: Registrar, provider: Scripted, more: dict[str, Any], *, has_hint: bool
) -> None:
    tokens(provider)
    # As Spring Authorization Server does with a token without client.create.
    provider.responses["/register"] = http(403, {"error": "insufficient_scope"})
    with pytest.raises(Rejected) as caught:
        registrar.register(account(provider, **more), METADATA)
    assert caught.value.reason is Reason.PROVIDER_CREDENTIAL_REJECTED
    assert ("set the credential scope" in caught.value.message) is has_hint


def test_an_error_has_no_form_of_the_secret(registrar: Registrar, provider: Scripted) -> None:
    def echo(seen: Seen) -> Bytes:
        sent = f"{seen.headers['authorization']} se%3Acret%261 se:cret&1"
        return http(400, {"error": "invalid_request", "error_description": sent})

    provider.responses["/token"] = echo
    with pytest.raises(Rejected) as error:
        registrar.register(account(provider), METADATA)

    assert error.value.description == "Basic [secret] [secret] [secret]"


@pytest.mark.parametrize("expires_in", [5, 0, -1])
def test_a_token_that_expires_soon_is_not_used_again(
    registrar: Registrar, provider: Scripted, expires_in: int
) -> None:
    tokens(provider, expires_in)
    accepts(provider, "Bearer token-1", "Bearer token-2")
    access = account(provider)
    registrar.register(access, METADATA)
    registrar.register(access, METADATA)
    assert provider.seen[-1].headers["authorization"] == "Bearer token-2"


def test_a_token_that_is_rejected_is_replaced_once(
    registrar: Registrar, provider: Scripted
) -> None:
    tokens(provider)
    access = account(provider)
    accepts(provider, "Bearer token-1")
    registrar.register(access, METADATA)
    accepts(provider, "Bearer token-2")
    registrar.register(access, METADATA)
    accepts(provider, "nothing")
    before = len(provider.seen)
    with pytest.raises(Rejected) as caught:
        registrar.register(access, METADATA)
    assert caught.value.reason is Reason.PROVIDER_CREDENTIAL_REJECTED
    assert len(provider.seen) == before + 3  # rejected, a new token, rejected


@pytest.mark.parametrize(
    ("response", "kind", "reason"),
    [
        (http(401, {"error": "invalid_client"}), Rejected, Reason.PROVIDER_CREDENTIAL_REJECTED),
        (http(400, {"error": "unauthorized"}), Rejected, Reason.PROVIDER_CREDENTIAL_REJECTED),
        (http(429, {}), NotSent, Reason.PROVIDER_BUSY),
        (http(500, {}), NotSent, Reason.PROVIDER_UNREACHABLE),
        (http(200, {"token": "no"}), NotSent, Reason.PROVIDER_UNREACHABLE),
        (http(200, {"access_token": "a b\r\n"}), NotSent, Reason.PROVIDER_UNREACHABLE),
        (b"", NotSent, Reason.PROVIDER_UNREACHABLE),
    ],
)
def test_without_a_token_no_client_is_registered(
    registrar: Registrar,
    provider: Scripted,
    response: bytes,
    kind: type[ProviderError],
    reason: Reason,
) -> None:
    provider.responses["/token"] = response
    with pytest.raises(kind) as caught:
        registrar.register(account(provider), METADATA)
    assert caught.value.reason is reason
    assert "se:cret" not in caught.value.message
    assert not [each for each in provider.seen if each.target == "/register"]


def test_a_token_endpoint_at_another_origin_gets_no_secret(
    registrar: Registrar, provider: Scripted
) -> None:
    provider.discovers(token_endpoint="https://stranger.example/token")
    with pytest.raises(NotSent) as caught:
        registrar.register(account(provider), METADATA)
    assert "another origin" in caught.value.message


def test_a_client_is_managed_by_its_own_token_at_its_exact_uri(
    registrar: Registrar, provider: Scripted
) -> None:
    provider.responses["/register/one"] = http(200, {"client_id": "one", "client_name": "web"})
    access = access_to(provider.well_known, token="initial")
    one = handle(provider, "/register/one?client_id=one%20&x")
    registrar.read(access, one)
    registrar.update(access, one, METADATA)
    registrar.delete(access, one)
    assert [each.method for each in provider.seen] == ["GET", "PUT", "DELETE"]
    assert {each.target for each in provider.seen} == {"/register/one?client_id=one%20&x"}
    assert {each.headers["authorization"] for each in provider.seen} == {f"Bearer {RAT}"}
    assert provider.seen[1].document == {**METADATA, "client_id": "one"}


def test_an_update_keeps_the_url_and_the_token_where_the_response_has_none(
    registrar: Registrar, provider: Scripted
) -> None:
    access, one = access_to(provider.well_known), handle(provider)
    provider.responses["/register/one"] = http(
        200, {"client_id": "one", "registration_access_token": "new"}
    )
    updated = registrar.update(access, one, METADATA)
    assert updated.registration_access_token == "new"
    assert updated.registration_client_uri == one.registration_client_uri
    provider.responses["/register/one"] = http(200, {"client_id": "one"})
    assert registrar.read(access, one).registration_access_token == RAT


@pytest.mark.parametrize(
    "one",
    [
        Handle(client_id="one"),
        Handle(client_id="one", registration_access_token=RAT),
        Handle(
            client_id="one",
            registration_access_token=RAT,
            registration_client_uri="https://stranger.example/one",
        ),
    ],
)
def test_a_token_is_not_sent_to_another_origin(
    registrar: Registrar, provider: Scripted, one: Handle
) -> None:
    with pytest.raises(Rejected) as caught:
        registrar.delete(access_to(provider.well_known, token="initial"), one)
    assert "only its administrator" in caught.value.message
    assert not provider.seen


def test_a_client_that_can_still_be_read_is_not_gone(
    registrar: Registrar, provider: Scripted
) -> None:
    def respond(seen: Seen) -> Bytes:
        # As Spring Authorization Server does: it has no route for updates and deletions.
        found = http(200, {"client_id": "one"})
        return found if seen.method == "GET" else http(404, {"error": "Not Found"})

    provider.responses["/register/one"] = respond
    with pytest.raises(Rejected, match="it does not support deletions") as caught:
        registrar.delete(access_to(provider.well_known), handle(provider))
    # Callers see the words of the provider instead of this message, if there are any.
    assert (caught.value.http_status, caught.value.description, caught.value.error) == (0, "", "")
    assert not caught.value.detached
    with pytest.raises(Rejected, match="it does not support updates") as caught:
        registrar.update(access_to(provider.well_known), handle(provider), METADATA)
    assert not caught.value.detached


def test_an_update_of_a_client_that_cannot_be_read_either_detaches(
    registrar: Registrar, provider: Scripted
) -> None:
    provider.responses["/register/one"] = http(404, {})
    with pytest.raises(Rejected) as caught:
        registrar.update(access_to(provider.well_known), handle(provider), METADATA)
    assert caught.value.detached


def test_a_deletion_is_not_certain_while_the_client_cannot_be_read(
    registrar: Registrar, provider: Scripted
) -> None:
    def respond(seen: Seen) -> Bytes:
        return http(503 if seen.method == "GET" else 404, {})

    provider.responses["/register/one"] = respond
    with pytest.raises(OutcomeUnknown):
        registrar.delete(access_to(provider.well_known), handle(provider))


@pytest.mark.parametrize("status", [302, 403, 405, 429])
def test_a_deletion_is_not_certain_while_the_client_may_not_be_read(
    registrar: Registrar, provider: Scripted, status: int
) -> None:
    def respond(seen: Seen) -> Bytes:
        return http(status if seen.method == "GET" else 404, {})

    provider.responses["/register/one"] = respond
    with pytest.raises(Rejected) as caught:
        registrar.delete(access_to(provider.well_known), handle(provider))
    assert (caught.value.http_status, caught.value.detached) == (status, False)


@pytest.mark.parametrize("status", [204, 200, 404, 410])
def test_a_deleted_client_is_deleted(registrar: Registrar, provider: Scripted, status: int) -> None:
    provider.responses["/register/one"] = http(status, {})
    registrar.delete(access_to(provider.well_known), handle(provider))


@pytest.mark.parametrize("status", [401, 403])
def test_a_rejected_deletion_is_reported(
    registrar: Registrar, provider: Scripted, status: int
) -> None:
    provider.responses["/register/one"] = http(status, {"error_description": f"no {RAT}"})
    with pytest.raises(Rejected) as caught:
        registrar.delete(access_to(provider.well_known), handle(provider))
    assert caught.value.http_status == status
    assert RAT not in caught.value.message + caught.value.description


@pytest.mark.parametrize("status", [408, 500, 503])
def test_a_deletion_whose_outcome_is_unknown_is_reported(
    registrar: Registrar, provider: Scripted, status: int
) -> None:
    provider.responses["/register/one"] = http(status, {})
    with pytest.raises(OutcomeUnknown):
        registrar.delete(access_to(provider.well_known), handle(provider))


def test_a_response_with_another_client_is_not_used(
    registrar: Registrar, provider: Scripted
) -> None:
    provider.responses["/register/one"] = http(200, {"client_id": "two"})
    with pytest.raises(OutcomeUnknown):
        registrar.read(access_to(provider.well_known), handle(provider))


def keycloak(provider: Scripted) -> Access:
    """A service account at a provider with the paths of Keycloak."""
    tokens(provider)
    endpoint = f"{provider.url}/realms/lab/clients-registrations/openid-connect"
    provider.discovers(registration_endpoint=endpoint)
    return account(provider, type=ProviderType.KEYCLOAK)


CLIENT_PATH = "/realms/lab/clients-registrations/openid-connect/one"
ADMIN_PATH = "/admin/realms/lab/clients"


def test_a_keycloak_account_manages_clients_by_its_own_token(
    registrar: Registrar, provider: Scripted
) -> None:
    access = keycloak(provider)
    provider.responses[CLIENT_PATH] = http(200, {"client_id": "one", "client_secret": "shown"})
    assert registrar.read(access, Handle(client_id="one")).client_secret == "shown"
    provider.responses[CLIENT_PATH] = http(404, {"error": "invalid_request"})
    registrar.delete(access, Handle(client_id="one"))
    assert {each.headers["authorization"] for each in provider.seen[2:]} == {"Bearer token-1"}


def test_an_account_that_may_only_create_uses_the_token_of_the_client(
    registrar: Registrar, provider: Scripted
) -> None:
    access = keycloak(provider)

    def respond(seen: Seen) -> Bytes:
        if seen.headers["authorization"] == f"Bearer {RAT}":
            return http(200, {"client_id": "one"})
        return http(403, {"error": "insufficient_scope"})

    provider.responses[CLIENT_PATH] = respond
    assert registrar.read(access, handle(provider, CLIENT_PATH)).client_id == "one"
    with pytest.raises(Rejected) as caught:
        registrar.read(access, Handle(client_id="one"))
    assert caught.value.http_status == 403


def test_a_keycloak_account_finds_clients_by_reading_all(
    registrar: Registrar, provider: Scripted
) -> None:
    access = keycloak(provider)
    rows = [{"clientId": f"c{number}", "name": f"n{number}"} for number in range(150)]

    def respond(seen: Seen) -> Bytes:
        first = 100 if "first=100" in seen.target else 0
        return http(200, rows[first : first + 100])

    provider.responses[ADMIN_PATH] = respond
    (found,) = registrar.find(access, "n120") or ()
    assert found.client_id == "c120"
    assert found.registration_client_uri.endswith("/openid-connect/c120")
    assert registrar.find(access, "n1200") == ()
    provider.responses[ADMIN_PATH] = http(403, {})
    assert registrar.find(access, "n120") is None


def test_a_search_that_fails_is_not_an_empty_one(registrar: Registrar, provider: Scripted) -> None:
    access = keycloak(provider)
    for response in (http(500, {}), http(200, {"rows": []}), http(200, b"<html>")):
        provider.responses[ADMIN_PATH] = response
        with pytest.raises(OutcomeUnknown):
            registrar.find(access, "n1")


def test_a_keycloak_account_rotates_a_secret(registrar: Registrar, provider: Scripted) -> None:
    access = keycloak(provider)
    provider.responses[ADMIN_PATH] = http(200, [{"id": "key", "clientId": "one"}])
    provider.responses[f"{ADMIN_PATH}/key/client-secret"] = http(200, {"value": "new-secret"})
    rotated = registrar.rotate(access, handle(provider, CLIENT_PATH), METADATA)
    assert rotated.client_secret == "new-secret"
    assert rotated.metadata == METADATA
    assert rotated.registration_access_token == RAT
    assert len(provider.requests("POST")) == 2  # the token, and the secret


def test_a_keycloak_client_that_is_gone_has_no_secret_to_rotate(
    registrar: Registrar, provider: Scripted
) -> None:
    access = keycloak(provider)
    provider.responses[ADMIN_PATH] = http(200, [])
    with pytest.raises(Rejected) as caught:
        registrar.rotate(access, Handle(client_id="one"), METADATA)
    assert caught.value.http_status == 404
    provider.responses[ADMIN_PATH] = http(403, {})
    with pytest.raises(Unimplemented):
        registrar.rotate(access, Handle(client_id="one"), METADATA)


def test_keycloak_with_an_initial_access_token_rotates_nothing(
    registrar: Registrar, provider: Scripted
) -> None:
    access = access_to(provider.well_known, token="iat", type=ProviderType.KEYCLOAK)
    with pytest.raises(Unimplemented) as caught:
        registrar.rotate(access, handle(provider), METADATA)
    assert caught.value.reason is Reason.ROTATION_NOT_SUPPORTED
    assert registrar.find(access, "web") is None
    assert not provider.seen


def test_a_provider_that_changes_gets_a_new_token(registrar: Registrar, provider: Scripted) -> None:
    tokens(provider)
    accepts(provider, "Bearer token-1", "Bearer token-2")
    access = account(provider)
    registrar.register(access, METADATA)
    changed = replace(access.provider, update_time=access.provider.update_time.replace(year=2030))
    registrar.register(replace(access, provider=changed), METADATA)
    assert provider.seen[-1].headers["authorization"] == "Bearer token-2"

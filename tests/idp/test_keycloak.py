"""Registers and manages clients at a real Keycloak, and accepts its access tokens."""

# ruff: noqa: S106 - secrets of the tests

import html
import json
import re
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from portal_client import InvalidArgument, PermissionDenied, Portal, Provider, Unauthenticated
from portal_server.domain.client import ProviderClient
from portal_server.domain.discovery import CheckOutcome
from portal_server.domain.errors import Reason, Rejected, Unimplemented
from portal_server.domain.provider import CredentialType, ProviderType
from portal_server.idp.access import Access, Handle
from portal_server.idp.registrar import Registrar
from tests.idp.conftest import access_to
from tests.support.issuer import AUDIENCE, ROLES
from tests.support.providers.keycloak import (
    ACCOUNT,
    ACCOUNT_SECRET,
    CREATOR,
    CREATOR_SECRET,
    Keycloak,
    keycloak,
)
from tests.support.stack import Stack, soon

pytestmark = [pytest.mark.slow, pytest.mark.needs("javac", "mvn")]

NAME = "web [0123456789ab]"
METADATA: dict[str, Any] = {
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
    assert updated.client_secret == client.client_secret
    with pytest.raises(Unimplemented, match="only for a service account"):
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
    assert "expires within a day" in checks["credential"].text


def cookies_of(response: httpx.Response) -> str:
    """By hand: Keycloak marks them Secure also over plain http."""
    given = response.headers.get_list("set-cookie")
    return "; ".join(each.partition(";")[0] for each in given)


def code_of(server: Keycloak, client: ProviderClient, challenge: str) -> str:
    """An authorization code, after a person has signed in."""
    person = {"username": "ada", "email": "ada@example.com", "firstName": "A", "lastName": "L"}
    password = {"type": "password", "value": "of-ada"}
    if not server.admin("GET", "/users?username=ada&exact=true"):
        server.admin("POST", "/users", {**person, "enabled": True, "credentials": [password]})
    query = {
        "client_id": client.client_id,
        "response_type": "code",
        "redirect_uri": METADATA["redirect_uris"][0],
        "scope": "openid",
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    url = f"{server.issuer}/protocol/openid-connect/auth"
    page = httpx.get(url, params=query, timeout=60)
    form = re.search(r'action="([^"]+)"', page.text)
    assert form, page.text
    signed_in = httpx.post(
        html.unescape(form[1]),
        data={"username": "ada", "password": "of-ada"},
        headers={"Cookie": cookies_of(page)},
        timeout=60,
    )
    return parse_qs(urlsplit(signed_in.headers["location"]).query)["code"][0]


def test_a_public_client_gets_tokens_for_a_code_with_pkce(
    registrar: Registrar, server: Keycloak, account: Access
) -> None:
    metadata = {**METADATA, "token_endpoint_auth_method": "none"}
    client = registrar.register(account, metadata)
    verifier = "v" * 43
    digest = sha256(verifier.encode()).digest()
    challenge = urlsafe_b64encode(digest).decode().rstrip("=")

    def exchange(given: str) -> httpx.Response:
        form = {
            "grant_type": "authorization_code",
            "code": code_of(server, client, challenge),
            "redirect_uri": METADATA["redirect_uris"][0],
            "client_id": client.client_id,
            "code_verifier": given,
        }
        return httpx.post(f"{server.issuer}/protocol/openid-connect/token", data=form, timeout=60)

    tokens, wrong = exchange(verifier), exchange("w" * 43)
    registrar.delete(account, handle_of(client))

    assert tokens.json()["access_token"]
    assert wrong.json()["error"] == "invalid_grant"


# Its access tokens, instead of API keys


@pytest.fixture(scope="module")
def accepting(server: Keycloak, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A system that accepts the tokens of this Keycloak; it has fetched its keys."""
    for client_id, audience, role, seconds in (
        ("pipeline", AUDIENCE, "portal-editors", 300),
        ("reader", AUDIENCE, "staff", 300),
        ("unknown", AUDIENCE, "others", 300),
        ("elsewhere", "https://other.example", "portal-editors", 300),
        ("short", AUDIENCE, "portal-editors", 1),
    ):
        server.caller(client_id, audience, role, seconds)
    settings = {
        "PORTAL_JWT_ISSUER": server.issuer,
        "PORTAL_JWT_AUDIENCE": AUDIENCE,
        "PORTAL_JWT_ROLES": ROLES,
        "PORTAL_JWT_ROLE_CLAIM": "realm_access.roles",
    }
    stack = Stack(tmp_path_factory.mktemp("accepting"), **settings).start()
    token = server.access_token("pipeline")
    assert soon(lambda: status(stack, token) != 503, 20)
    yield stack
    stack.stop()


def status(stack: Stack, token: str) -> int:
    with stack.client(f"Bearer {token}") as rest:
        return rest.get("/oauth-providers").status_code


def claims(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    found: dict[str, Any] = json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


def test_the_tokens_of_a_client_have_the_role_of_its_service_account(
    accepting: Stack, server: Keycloak
) -> None:
    target = f"127.0.0.1:{accepting.grpc_port}"
    editor, reader = (server.access_token(name) for name in ("pipeline", "reader"))
    with accepting.client(f"Bearer {editor}") as rest:
        created = rest.post(
            "/oauth-providers/1/client-types",
            json={"Name": "x", "ResponseTypes": "code", "GrantType": "pkce"},
        )
    with accepting.client(reader) as rest:
        written = rest.put("/oauth-providers/1", json={})
    with Portal(target, key=editor) as portal, pytest.raises(InvalidArgument):
        portal.create_provider(Provider())
    with Portal(target, key=reader) as portal:
        provider = portal.get_provider(1)
        with pytest.raises(PermissionDenied):
            portal.create_provider(Provider())

    assert created.status_code == 200
    assert (written.status_code, status(accepting, reader)) == (403, 200)
    assert provider.name == "Example Keycloak"


@pytest.mark.parametrize("what", ["audience", "expired", "issuer", "realm", "changed"])
def test_a_token_that_is_not_for_this_portal_is_rejected(
    accepting: Stack, server: Keycloak, what: str
) -> None:
    if what == "audience":
        token = server.access_token("elsewhere")
    elif what == "issuer":  # Keycloak names itself by the address that it is called at
        token = server.access_token("pipeline", server.url.replace("127.0.0.1", "localhost"))
        assert claims(token)["iss"] != server.issuer
    elif what == "realm":
        token = server.administrator()
    else:
        token = server.access_token("short" if what == "expired" else "pipeline")
    if what == "expired":
        assert status(accepting, token) == 200
        time.sleep(max(0, claims(token)["exp"] - time.time()) + 1)
    if what == "changed":
        head, body, signature = token.split(".")
        token = f"{head}.{body}.{'AAAA' if signature[:4] != 'AAAA' else 'BBBB'}{signature[4:]}"
    target = f"127.0.0.1:{accepting.grpc_port}"
    with Portal(target, key=token) as portal, pytest.raises(Unauthenticated):
        portal.get_provider(1)

    assert status(accepting, token) == 401


def test_a_token_without_a_role_of_this_portal_is_forbidden(
    accepting: Stack, server: Keycloak
) -> None:
    assert status(accepting, server.access_token("unknown")) == 403

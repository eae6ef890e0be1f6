"""The checks of a provider, as an administrator reads them."""

# ruff: noqa: S106 - secrets of the tests

import base64
import json
import time

import pytest

from portal_server.domain.discovery import CheckOutcome, ProviderCheck
from portal_server.domain.provider import CredentialType, ProviderType
from portal_server.idp.access import Access
from portal_server.idp.registrar import Registrar
from tests.idp.conftest import access_to
from tests.support.providers.scripted import Scripted, closed_port, http, silent_port

PATH = "/.well-known/openid-configuration"
NAMES = ["discovery", "tls", "registration_endpoint", "credential"]


def checks(registrar: Registrar, access: Access) -> dict[str, ProviderCheck]:
    found = registrar.check(access)
    assert [each.name for each in found] == NAMES
    assert all(each.text for each in found)
    return {each.name: each for each in found}


def jwt(**claims: object) -> str:
    part = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"eyJhbGciOiJIUzI1NiJ9.{part}.c2ln"


def test_a_provider_without_problems_is_ok(registrar: Registrar, provider: Scripted) -> None:
    found = checks(registrar, access_to(provider.well_known))
    assert found["discovery"].outcome is CheckOutcome.OK
    assert found["registration_endpoint"].outcome is CheckOutcome.OK
    assert f"{provider.url}/register" in found["registration_endpoint"].text
    assert found["credential"].outcome is CheckOutcome.OK


def test_nothing_comes_from_the_cache(registrar: Registrar, provider: Scripted) -> None:
    access = access_to(provider.well_known)
    registrar.discover(access)
    provider.discovers(registration_endpoint=None)
    assert checks(registrar, access)["registration_endpoint"].outcome is CheckOutcome.FAILED


@pytest.mark.parametrize(
    ("document", "endpoint"),
    [
        ("/realms/lab/.well-known/openid-configuration", "/realms/lab/clients-registrations/oidc"),
        ("/.well-known/oauth-authorization-server/realms/lab", "/realms/lab/reg"),
        (PATH, "/jans-auth/restv1/register"),
    ],
)
def test_a_registration_endpoint_in_place_of_the_well_known_url_is_explained(
    registrar: Registrar, provider: Scripted, document: str, endpoint: str
) -> None:
    provider.responses = {
        document: http(
            200, {"issuer": provider.url, "registration_endpoint": f"{provider.url}{endpoint}"}
        ),
        endpoint: http(405, {}),
    }
    found = checks(registrar, access_to(f"{provider.url}{endpoint}"))
    assert found["discovery"].outcome is CheckOutcome.FAILED
    assert found["discovery"].text == (
        f"{provider.url}{endpoint} is the registration endpoint, not the well-known URL."
        f" Set the well-known URL to {provider.url}{document}"
    )


@pytest.mark.parametrize(
    ("document", "given"),
    [
        ("/realms/lab/.well-known/openid-configuration", "/realms/lab"),
        ("/realms/lab/.well-known/openid-configuration", "/realms/lab/"),
        (
            "/.well-known/oauth-authorization-server/realms/lab",
            "/realms/lab/.well-known/openid-configuration",
        ),
        (
            "/realms/lab/.well-known/openid-configuration",
            "/.well-known/oauth-authorization-server/realms/lab",
        ),
        (PATH, "/"),
        ("/.well-known/oauth-authorization-server", PATH),
    ],
)
def test_a_document_at_another_place_is_found(
    registrar: Registrar, provider: Scripted, document: str, given: str
) -> None:
    provider.responses = {document: http(200, {"issuer": f"{provider.url}/realms/lab"})}
    found = checks(registrar, access_to(f"{provider.url}{given}"))
    assert found["discovery"].outcome is CheckOutcome.FAILED
    assert f"but one at {provider.url}{document}" in found["discovery"].text


def test_a_url_without_a_document_reports_the_status(
    registrar: Registrar, provider: Scripted
) -> None:
    provider.responses = {}
    found = checks(registrar, access_to(f"{provider.url}/a/b/c/d/e/f/g/h"))
    assert "status 404" in found["discovery"].text
    assert len(provider.seen) <= 13


def test_another_issuer_is_a_warning(registrar: Registrar, provider: Scripted) -> None:
    provider.discovers(issuer="https://idp.example.com")
    found = checks(registrar, access_to(provider.well_known))
    assert found["discovery"].outcome is CheckOutcome.WARNING
    assert "https://idp.example.com" in found["discovery"].text


def test_a_provider_that_cannot_be_reached_fails_once(registrar: Registrar) -> None:
    found = checks(registrar, access_to(f"http://127.0.0.1:{closed_port()}{PATH}"))
    assert found["discovery"].outcome is CheckOutcome.FAILED
    assert "no connection" in found["discovery"].text
    assert found["registration_endpoint"].outcome is CheckOutcome.SKIPPED


def test_the_checks_end_at_the_deadline(hasty: Registrar) -> None:
    start = time.monotonic()
    with silent_port() as port:
        checks(hasty, access_to(f"http://127.0.0.1:{port}{PATH}"))
    assert time.monotonic() - start < 2


def test_the_end_of_an_initial_access_token_is_read(
    registrar: Registrar, provider: Scripted
) -> None:
    def credential(**claims: object) -> ProviderCheck:
        access = access_to(provider.well_known, token=jwt(**claims))
        return checks(registrar, access)["credential"]

    now = time.time()
    assert credential(exp=now - 5).outcome is CheckOutcome.FAILED
    assert credential(exp=now + 86400).outcome is CheckOutcome.WARNING
    assert credential(exp=now + 86400 * 30, iss=provider.url).outcome is CheckOutcome.OK
    other = credential(exp=now + 86400 * 30, iss="http://localhost/realms/lab")
    assert other.outcome is CheckOutcome.WARNING
    assert "http://localhost/realms/lab" in other.text
    assert credential(exp="soon").outcome is CheckOutcome.SKIPPED
    assert credential(exp=1e300).outcome is CheckOutcome.OK


@pytest.mark.parametrize("token", ["opaque", "a.b.c", "..", "a.!!!.c", "é.é.é"])
def test_a_token_that_is_not_a_jwt_is_not_checked(
    registrar: Registrar, provider: Scripted, token: str
) -> None:
    found = checks(registrar, access_to(provider.well_known, token=token))
    assert found["credential"].outcome in {CheckOutcome.SKIPPED, CheckOutcome.FAILED}
    assert token not in found["credential"].text


def test_a_service_account_is_tried(registrar: Registrar, provider: Scripted) -> None:
    access = access_to(
        provider.well_known,
        secret="very-secret",
        credential_type=CredentialType.CLIENT_CREDENTIALS,
        credential_client_id="portal",
    )
    provider.responses["/token"] = http(401, {"error": "invalid_client"})
    found = checks(registrar, access)["credential"]
    assert found.outcome is CheckOutcome.FAILED
    assert "invalid_client" in found.text
    provider.responses["/token"] = http(200, {"access_token": "abc"})
    assert checks(registrar, access)["credential"].outcome is CheckOutcome.OK


def test_keycloak_without_a_credential_is_a_warning(
    registrar: Registrar, provider: Scripted
) -> None:
    access = access_to(provider.well_known, type=ProviderType.KEYCLOAK)
    assert checks(registrar, access)["credential"].outcome is CheckOutcome.WARNING

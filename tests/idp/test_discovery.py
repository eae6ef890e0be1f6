"""Discovery documents: where they are read, what is used of them, and how long."""

import pytest

from portal_server.domain.discovery import Discovery
from portal_server.domain.errors import NotSent, ProviderError, Reason
from portal_server.idp.discovery import Discoveries
from portal_server.idp.registrar import Registrar
from tests.idp.conftest import access_to
from tests.support.providers.scripted import Bytes, Scripted, Seen, http

PATH = "/.well-known/openid-configuration"


def test_values_of_another_type_count_as_missing(registrar: Registrar, provider: Scripted) -> None:
    provider.responses[PATH] = http(
        200,
        {
            "issuer": 7,
            "registration_endpoint": "javascript:alert(1)",
            "token_endpoint": "https://user:secret@idp.example/",
            "grant_types_supported": ["implicit", 1, "a\nb", "x" * 5000],
            "scopes_supported": "openid",
        },
    )
    found = registrar.discover(access_to(provider.well_known))
    assert found == Discovery(grant_types_supported=("implicit",))


def test_a_document_is_cached_for_a_version_of_a_provider(
    registrar: Registrar, provider: Scripted
) -> None:
    access = access_to(provider.well_known)
    assert registrar.discover(access) is registrar.discover(access)
    assert registrar.endpoint(access) == f"{provider.url}/register"
    assert len(provider.seen) == 1
    registrar.discover(access_to(provider.well_known))
    assert len(provider.seen) == 2


def test_documents_and_errors_expire(provider: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    registrar = Registrar(allow_private=True)
    now = [0.0]
    monkeypatch.setattr(registrar, "_discoveries", Discoveries(clock=lambda: now[0]))
    access, missing = access_to(provider.well_known), access_to(f"{provider.url}/missing")

    def requests(target: str) -> int:
        registrar.discover(access)
        with pytest.raises(NotSent):
            registrar.discover(missing)
        return len([each for each in provider.seen if each.target == target])

    for seconds, documents, errors in ((0, 1, 1), (9, 1, 1), (11, 1, 2), (299, 1, 3), (301, 2, 3)):
        now[0] = seconds
        assert requests(PATH) == documents
        assert len([each for each in provider.seen if each.target == "/missing"]) == errors


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"", b'"text"'])
def test_a_response_that_is_not_a_document_is_an_error(
    registrar: Registrar, provider: Scripted, body: bytes
) -> None:
    provider.responses[PATH] = http(200, body)
    with pytest.raises(NotSent) as caught:
        registrar.discover(access_to(provider.well_known))
    assert caught.value.reason is Reason.NO_REGISTRATION_ENDPOINT
    assert "instead of a discovery document" in caught.value.message


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (404, Reason.NO_REGISTRATION_ENDPOINT),
        (401, Reason.NO_REGISTRATION_ENDPOINT),
        (429, Reason.PROVIDER_BUSY),
        (500, Reason.PROVIDER_UNREACHABLE),
        (503, Reason.PROVIDER_UNREACHABLE),
    ],
)
def test_an_error_status_means_that_nothing_was_sent(
    registrar: Registrar, provider: Scripted, status: int, reason: Reason
) -> None:
    provider.responses[PATH] = http(status, {"error": "no"})
    with pytest.raises(NotSent) as caught:
        registrar.register(access_to(provider.well_known), {})
    assert caught.value.reason is reason


def test_redirects_on_the_same_host_are_followed(registrar: Registrar, provider: Scripted) -> None:
    document = provider.responses[PATH]
    provider.responses[PATH] = http(301, {}, {"Location": "/two"})
    provider.responses["/two"] = http(302, {}, {"Location": f"{provider.url}/three"})
    provider.responses["/three"] = http(307, {}, {"Location": "/four"})
    provider.responses["/four"] = document
    assert registrar.discover(access_to(provider.well_known)).issuer == provider.url


@pytest.mark.parametrize(
    "location",
    [
        "http://localhost:{port}/document",
        "//127.0.0.1:{port}/document",
        "file:///etc/passwd",
        "ftp://127.0.0.1/document",
        "http://user@127.0.0.1:{port}/document",
        "document",
        "",
    ],
)
def test_other_redirects_are_not_followed(
    registrar: Registrar, provider: Scripted, location: str
) -> None:
    provider.responses["/document"] = provider.responses[PATH]
    headers = {"Location": location.format(port=provider.port)}
    provider.responses[PATH] = http(302, {}, headers)
    with pytest.raises(NotSent):
        registrar.discover(access_to(provider.well_known))
    assert len(provider.seen) == 1


def test_a_loop_of_redirects_ends(registrar: Registrar, provider: Scripted) -> None:
    provider.responses[PATH] = http(302, {}, {"Location": PATH})
    with pytest.raises(NotSent):
        registrar.discover(access_to(provider.well_known))
    assert len(provider.seen) == 4


@pytest.mark.parametrize(
    "endpoint", ["https://stranger.example/register", "http://127.0.0.1:1/register"]
)
def test_an_endpoint_at_another_origin_gets_no_credential(
    registrar: Registrar, provider: Scripted, endpoint: str
) -> None:
    provider.discovers(registration_endpoint=endpoint)
    with pytest.raises(NotSent) as caught:
        registrar.register(access_to(provider.well_known, token="token"), {})  # noqa: S106
    assert caught.value.reason is Reason.NO_REGISTRATION_ENDPOINT
    assert "another origin" in caught.value.message


def test_an_override_may_be_at_another_origin(registrar: Registrar, provider: Scripted) -> None:
    with Scripted({"/register": http(201, {"client_id": "one"})}) as other:
        access = access_to(
            provider.well_known,
            token="token",  # noqa: S106
            registration_endpoint=f"{other.url}/register",
        )
        assert registrar.endpoint(access) == f"{other.url}/register"
        assert registrar.register(access, {}).client_id == "one"
    assert not provider.seen


def test_a_document_without_an_endpoint_is_explained(
    registrar: Registrar, provider: Scripted
) -> None:
    provider.discovers(registration_endpoint=None)
    with pytest.raises(ProviderError) as caught:
        registrar.endpoint(access_to(provider.well_known))
    assert caught.value.reason is Reason.NO_REGISTRATION_ENDPOINT
    assert "turn on dynamic client registration" in caught.value.message


def test_a_get_of_a_document_has_no_credential(registrar: Registrar, provider: Scripted) -> None:
    def respond(seen: Seen) -> Bytes:
        assert "authorization" not in seen.headers
        return http(200, {"issuer": provider.url})

    provider.responses[PATH] = respond
    registrar.discover(access_to(provider.well_known, token="token"))  # noqa: S106

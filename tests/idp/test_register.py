"""Each row of the outcome of a POST, at a provider whose bytes the test chooses."""

# ruff: noqa: S105, S106 - secrets of the tests

import gzip
import json
import logging
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from portal_server.domain.errors import (
    NotSent,
    OutcomeUnknown,
    ProviderError,
    Reason,
    Rejected,
)
from portal_server.idp.access import Handle
from portal_server.idp.connection import MAX_BYTES
from portal_server.idp.registrar import Registrar
from tests.idp.conftest import access_to
from tests.support.providers.scripted import (
    Bytes,
    Scripted,
    Seen,
    closed_port,
    cut,
    dripping,
    http,
    silent_port,
)

METADATA = {"client_name": "web [0123456789ab]", "redirect_uris": ["https://app.example.com/"]}
TOKEN = "initial-access-token"
CLIENT = {
    "client_id": "one",
    "client_secret": "very-secret",
    "client_id_issued_at": 1764380000,
    "client_secret_expires_at": 0,
    "registration_access_token": "rat-very-secret",
    **METADATA,
}


def failed(registrar: Registrar, provider: Scripted) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        registrar.register(access_to(provider.well_known, token=TOKEN), METADATA)
    assert TOKEN not in repr(caught.value) + caught.value.message
    return caught.value


def test_a_registration_is_one_post_with_the_token_and_the_metadata(
    registrar: Registrar, provider: Scripted
) -> None:
    uri = f"{provider.url}/register/one?client_id=one"
    provider.responses["/register"] = http(201, {**CLIENT, "registration_client_uri": uri})
    client = registrar.register(access_to(provider.well_known, token=TOKEN), METADATA)
    (seen,) = provider.requests("POST")
    assert seen.document == METADATA
    assert seen.headers["authorization"] == f"Bearer {TOKEN}"
    assert seen.headers["accept-encoding"] == "identity"
    assert seen.headers["content-type"] == "application/json"
    assert client.client_id == "one"
    assert client.client_secret == "very-secret"
    assert client.registration_access_token == "rat-very-secret"
    assert client.registration_client_uri == uri
    assert client.client_id_issue_time == datetime.fromtimestamp(1764380000, UTC)
    assert client.client_secret_expire_time is None
    assert client.metadata == METADATA
    assert "very-secret" not in repr(client)


def test_a_200_with_a_client_id_is_a_registration(registrar: Registrar, provider: Scripted) -> None:
    provider.responses["/register"] = http(200, {"client_id": "two"}, content_type="text/html")
    client = registrar.register(access_to(provider.well_known), METADATA)
    assert client.client_id == "two"
    assert client.registration_access_token == ""


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("https://stranger.example/one", "manages this client at https://stranger.example, and"),
        ("http://127.0.0.1:1/one", "manages this client at http://127.0.0.1:1, and"),
        ("/one", "no URL for this client"),
    ],
)
def test_a_client_uri_at_another_origin_is_reported_and_not_used(
    registrar: Registrar, provider: Scripted, uri: str, message: str
) -> None:
    provider.responses["/register"] = http(201, {**CLIENT, "registration_client_uri": uri})
    client = registrar.register(access_to(provider.well_known), METADATA)
    one = Handle(
        client_id=client.client_id,
        registration_client_uri=client.registration_client_uri,
        registration_access_token=client.registration_access_token,
    )
    seen = len(provider.seen)
    with pytest.raises(Rejected) as caught:
        registrar.read(access_to(provider.well_known), one)
    assert message in client.message
    assert caught.value.message == client.message
    assert len(provider.seen) == seen


def test_a_client_uri_at_the_well_known_or_the_registration_endpoint_is_used(
    registrar: Registrar, provider: Scripted
) -> None:
    # Such as Hydra, where clients are registered by another way than the public one.
    with Scripted() as public:
        public.discovers()
        public.responses["/one"] = http(200, CLIENT | {"registration_client_uri": "http://no/"})
        uri = f"{public.url}/one"
        provider.responses["/register"] = http(201, {**CLIENT, "registration_client_uri": uri})
        access = access_to(public.well_known, registration_endpoint=f"{provider.url}/register")
        client = registrar.register(access, METADATA)
        one = Handle(
            client_id=client.client_id,
            registration_client_uri=client.registration_client_uri,
            registration_access_token=client.registration_access_token,
        )
        read = registrar.read(access, one)
    assert client.message == ""
    assert client.registration_client_uri == read.registration_client_uri == uri


@pytest.mark.parametrize(
    "status",
    [300, 301, 302, 304, 307, 308, 400, 401, 403, 404, 405, 409, 415, 425, 501, 505, 511],
)
@pytest.mark.parametrize("body", [{"error": "invalid_redirect_uri"}, b"<html>no</html>"])
def test_some_statuses_mean_that_nothing_was_done(
    registrar: Registrar, provider: Scripted, status: int, body: object
) -> None:
    headers = {"Location": f"{provider.url}/elsewhere"}
    provider.responses["/register"] = http(status, body, headers)
    error = failed(registrar, provider)
    assert isinstance(error, Rejected)
    assert error.http_status == status
    credential = status in {401, 403}
    reason = Reason.PROVIDER_CREDENTIAL_REJECTED if credential else Reason.PROVIDER_REJECTED
    assert error.reason is reason
    assert "<" not in error.message
    assert len(provider.requests("POST")) == 1
    assert not [each for each in provider.seen if each.target == "/elsewhere"]


@pytest.mark.parametrize("status", [303, 408, 500, 502, 503, 504, 507, 599])
def test_other_statuses_do_not_say_what_was_done(
    registrar: Registrar, provider: Scripted, status: int
) -> None:
    provider.responses["/register"] = http(status, {"error": "unknown_error"})
    error = failed(registrar, provider)
    assert isinstance(error, OutcomeUnknown)
    assert error.reason is Reason.PROVIDER_OUTCOME_UNKNOWN
    assert error.error == "unknown_error"
    assert len(provider.requests("POST")) == 1


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"Retry-After": "7"}, 7),
        ({"X-Rate-Limit-Reset": "9999999999"}, 3600),
        ({"X-Rate-Limit-Reset": "1"}, 0),
        ({"Retry-After": "Fri, 31 Dec 2100 23:59:59 GMT"}, 3600),
        ({"Retry-After": "9999999"}, 3600),
        ({"Retry-After": "soon"}, 0),
        ({}, 0),
    ],
)
def test_a_429_reports_how_long_to_wait(
    registrar: Registrar, provider: Scripted, headers: dict[str, str], wait_s: int
) -> None:
    provider.responses["/register"] = http(429, {"errorCode": "E0000047"}, headers)
    error = failed(registrar, provider)
    assert isinstance(error, Rejected)
    assert error.reason is Reason.PROVIDER_BUSY
    assert error.retry_after_s == wait_s


def test_the_words_of_a_provider_are_short_and_without_html_secrets_and_control_characters(
    registrar: Registrar, provider: Scripted
) -> None:
    description = f"<b>no</b>\x1b[31m {TOKEN} \u202e" + "x" * 5000
    provider.responses["/register"] = http(
        400, {"error": "invalid_client_metadata", "error_description": description}
    )
    error = failed(registrar, provider)
    assert error.error == "invalid_client_metadata"
    assert len(error.description) == 500
    assert error.description.startswith("no [31m [secret] xxx")
    assert error.message.isprintable()


def test_okta_s_dialect_of_errors_is_understood(registrar: Registrar, provider: Scripted) -> None:
    provider.responses["/register"] = http(
        400,
        {
            "errorCode": "E0000001",
            "errorSummary": "Api validation failed",
            "errorCauses": [{"errorSummary": "name: too long"}],
        },
    )
    error = failed(registrar, provider)
    assert (error.error, error.description) == ("E0000001", "Api validation failed; name: too long")


GARBLED = [
    http(201, b""),
    http(201, b"not json"),
    http(201, b"[1]"),
    http(201, {}),
    http(201, {"client_id": 7}),
    http(201, {"client_id": ""}),
    http(201, {"client_id": "a\0b"}),
    http(201, {"client_id": "x" * 300}),
    http(201, {"client_id": "one", "client_secret": ["a"]}),
    http(201, b"[" * 100_000),
    http(201, b'{"client_id":"one","n":' + b"9" * 10_000 + b"}"),
    http(201, b'{"client_id":"one","n":NaN}'),
    http(202, b"<html>later</html>", content_type="text/html"),
    http(204, b""),
    http(201, gzip.compress(json.dumps(CLIENT).encode()), {"Content-Encoding": "gzip"}),
    http(201, b'{"client_id":"' + b"x" * MAX_BYTES + b'"}'),
    b"HTTP/1.1 201 Created\r\nContent-Length: 99\r\nContent-Length: 12\r\n\r\n{}",
    b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"",
    b"HTTP/1.1 201 Crea",
    b"HTTP/1.1 201 Created\r\nX: " + b"x" * 200_000,
    cut(http(201, CLIENT), 5),
]


@pytest.mark.parametrize("response", GARBLED, ids=range(len(GARBLED)))
def test_a_response_that_cannot_be_read_leaves_the_outcome_unknown(
    registrar: Registrar, provider: Scripted, response: bytes
) -> None:
    provider.responses["/register"] = response
    error = failed(registrar, provider)
    assert isinstance(error, OutcomeUnknown)
    assert error.reason is Reason.PROVIDER_OUTCOME_UNKNOWN
    assert error.client_id == ""
    assert len(provider.requests("POST")) == 1


def test_a_cut_201_has_its_client_id_from_the_location(
    registrar: Registrar, provider: Scripted
) -> None:
    location = "https://admin.example.com/clients/one%2Dtwo?x=1"
    provider.responses["/register"] = cut(http(201, CLIENT, {"Location": location}), 20)
    error = failed(registrar, provider)
    assert isinstance(error, OutcomeUnknown)
    assert error.client_id == "one-two"


def test_a_rejection_whose_body_was_cut_is_a_rejection(
    registrar: Registrar, provider: Scripted
) -> None:
    provider.responses["/register"] = cut(http(400, {"error": "invalid"}), 3)
    assert isinstance(failed(registrar, provider), Rejected)


def _slow(_: Seen) -> Bytes:
    time.sleep(3)
    return http(201, CLIENT)


@pytest.mark.parametrize(
    "respond",
    [
        _slow,
        lambda _: dripping(http(201, CLIENT), 0.05),
        lambda _: dripping(b"HTTP/1.1 201 Created\r\nContent-Length: 99\r\n\r\n" + b"{" * 99, 0.02),
    ],
    ids=["slow", "dripping headers", "dripping body"],
)
def test_a_slow_response_ends_at_the_deadline(
    hasty: Registrar, provider: Scripted, respond: Callable[[Seen], Bytes]
) -> None:
    provider.responses["/register"] = respond
    start = time.monotonic()
    error = failed(hasty, provider)
    assert time.monotonic() - start < 1.5
    assert isinstance(error, OutcomeUnknown)
    assert error.reason is Reason.PROVIDER_TIMEOUT
    assert len(provider.requests("POST")) == 1


def test_a_huge_response_is_not_read_to_its_end(registrar: Registrar, provider: Scripted) -> None:
    sent = []

    def huge(_: Seen) -> Iterator[bytes]:
        yield b"HTTP/1.1 201 Created\r\n\r\n"
        for _part in range(800):
            yield b"x" * 65536
            sent.append(65536)

    provider.responses["/register"] = huge
    assert isinstance(failed(registrar, provider), OutcomeUnknown)
    assert sum(sent) < 20 * MAX_BYTES


def test_a_closed_port_means_that_nothing_was_sent(registrar: Registrar) -> None:
    access = access_to(f"http://127.0.0.1:{closed_port()}/.well-known/openid-configuration")
    with pytest.raises(NotSent) as caught:
        registrar.register(access, METADATA)
    assert caught.value.reason is Reason.PROVIDER_UNREACHABLE
    assert "Connection refused" in caught.value.message


def test_an_unknown_name_means_that_nothing_was_sent(registrar: Registrar) -> None:
    with pytest.raises(NotSent) as caught:
        registrar.register(access_to("https://no-host.invalid/.well-known/x"), METADATA)
    assert caught.value.reason is Reason.PROVIDER_UNREACHABLE


def test_a_provider_that_accepts_and_never_responds_is_given_up(hasty: Registrar) -> None:
    with silent_port() as port:
        access = access_to(
            f"http://127.0.0.1:{port}/", registration_endpoint=f"http://127.0.0.1:{port}/register"
        )
        with pytest.raises(OutcomeUnknown) as caught:
            hasty.register(access, METADATA)
    assert caught.value.reason is Reason.PROVIDER_TIMEOUT


def test_a_slow_discovery_means_that_nothing_was_sent(hasty: Registrar, provider: Scripted) -> None:
    provider.responses["/.well-known/openid-configuration"] = _slow
    error = failed(hasty, provider)
    assert isinstance(error, NotSent)
    assert error.reason is Reason.PROVIDER_UNREACHABLE
    assert not provider.requests("POST")


def test_with_little_time_left_nothing_is_sent(hasty: Registrar, provider: Scripted) -> None:
    found = provider.responses["/.well-known/openid-configuration"]

    def late(_: Seen) -> Bytes:
        time.sleep(0.9)
        assert isinstance(found, bytes)
        return found

    provider.responses["/.well-known/openid-configuration"] = late
    assert isinstance(failed(hasty, provider), NotSent)
    assert not provider.requests("POST")


def test_no_proxy_of_the_environment_is_used(
    registrar: Registrar, provider: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port()}")
    provider.responses["/register"] = http(201, CLIENT)
    assert registrar.register(access_to(provider.well_known), METADATA).client_id == "one"


def test_a_token_that_no_header_can_have_is_rejected_before_anything_is_sent(
    registrar: Registrar, provider: Scripted
) -> None:
    with pytest.raises(Rejected) as caught:
        registrar.register(access_to(provider.well_known, token="a\r\nX: y"), METADATA)
    assert caught.value.reason is Reason.PROVIDER_CREDENTIAL_REJECTED
    assert not provider.requests("POST")


def test_text_that_databases_do_not_store_is_replaced(
    registrar: Registrar, provider: Scripted
) -> None:
    body = b'{"client_id":"one","client_name":"a\\u0000b\\ud800","contacts":["\\u0000"]}'
    provider.responses["/register"] = http(201, body)
    client = registrar.register(access_to(provider.well_known), METADATA)
    assert client.metadata == {"client_name": "a\ufffdb?", "contacts": ["\ufffd"]}


def test_nothing_secret_is_in_the_repr_of_what_is_passed_around() -> None:
    access = access_to("https://idp.example.com/", token="token-1", secret="secret-1")
    handle = Handle(client_id="one", registration_access_token="rat-1")
    text = repr(access) + repr(handle)
    assert "token-1" not in text
    assert "secret-1" not in text
    assert "rat-1" not in text


def test_the_metadata_is_bounded(registrar: Registrar, provider: Scripted) -> None:
    document = {"client_id": "one", "a": "x" * 20_000, "b": "x" * 20_000, "c": "x"}
    provider.responses["/register"] = http(201, document)
    client = registrar.register(access_to(provider.well_known), METADATA)
    assert list(client.metadata) == ["a", "c"]


def test_no_log_has_a_secret(
    registrar: Registrar, provider: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    provider.responses["/register"] = http(201, CLIENT)
    registrar.register(access_to(provider.well_known, token=TOKEN), METADATA)
    assert TOKEN not in caplog.text
    assert "very-secret" not in caplog.text

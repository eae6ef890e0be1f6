"""TLS: what is trusted, and what the errors report."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trustme

from portal_server.domain.certificates import certificate_problem
from portal_server.domain.discovery import CheckOutcome
from portal_server.domain.errors import Invalid, NotSent, Reason, Rule
from portal_server.domain.provider import ProviderDraft, ProviderType, check_provider
from portal_server.idp.registrar import Registrar
from tests.idp.conftest import access_to
from tests.support.providers.scripted import Scripted, http

METADATA = {"client_name": "web"}


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


def pem(ca: trustme.CA) -> str:
    return ca.cert_pem.bytes().decode()


@contextmanager
def secure(certificate: trustme.LeafCert) -> Iterator[Scripted]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    with Scripted(context=context) as provider:
        provider.discovers()
        provider.responses["/register"] = http(201, {"client_id": "one"})
        yield provider


def test_the_ca_of_a_provider_is_trusted(registrar: Registrar, ca: trustme.CA) -> None:
    with secure(ca.issue_cert("localhost")) as provider:
        access = access_to(provider.well_known, ca_certificate=pem(ca))
        assert registrar.register(access, METADATA).client_id == "one"


BROKEN: list[tuple[Callable[[trustme.CA], trustme.LeafCert], bool, str]] = [
    (lambda _: trustme.CA().issue_cert("localhost"), True, "unable to get local issuer"),
    (lambda ca: ca.issue_cert("localhost"), False, "unable to get local issuer"),
    (lambda ca: ca.issue_cert("other.example"), True, "not valid for 'localhost'"),
    (
        lambda ca: ca.issue_cert("localhost", not_after=datetime(2020, 1, 1, tzinfo=UTC)),
        True,
        "has expired",
    ),
]


@pytest.mark.parametrize(("issue", "is_ca_set", "words"), BROKEN)
def test_a_certificate_that_is_not_trusted_means_that_nothing_was_sent(
    registrar: Registrar,
    ca: trustme.CA,
    issue: Callable[[trustme.CA], trustme.LeafCert],
    words: str,
    *,
    is_ca_set: bool,
) -> None:
    with secure(issue(ca)) as provider:
        access = access_to(provider.well_known, ca_certificate=pem(ca) if is_ca_set else "")
        with pytest.raises(NotSent) as caught:
            registrar.register(access, METADATA)
        assert caught.value.reason is Reason.PROVIDER_TLS_NOT_TRUSTED
        assert words in caught.value.message
        assert not provider.seen
        (check,) = (each for each in registrar.check(access) if each.name == "tls")
        assert check.outcome is CheckOutcome.FAILED


def test_certificates_are_not_checked_if_the_provider_has_that_setting(
    registrar: Registrar, ca: trustme.CA
) -> None:
    with secure(ca.issue_cert("other.example")) as provider:
        access = access_to(provider.well_known, tls_insecure_skip_verify=True)
        assert registrar.register(access, METADATA).client_id == "one"
        (check,) = (each for each in registrar.check(access) if each.name == "tls")
        assert check.outcome is CheckOutcome.WARNING


def test_environment_variables_do_not_change_what_is_trusted(
    registrar: Registrar, ca: trustme.CA, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with secure(ca.issue_cert("localhost")) as provider, pytest.raises(NotSent):
        registrar.register(access_to(provider.well_known), METADATA)


def test_https_to_a_plain_port_is_explained(registrar: Registrar, provider: Scripted) -> None:
    access = access_to(provider.well_known.replace("http:", "https:"))
    with pytest.raises(NotSent) as caught:
        registrar.register(access, METADATA)
    assert "does not use TLS" in caught.value.message


def test_the_check_reports_when_a_certificate_expires(registrar: Registrar, ca: trustme.CA) -> None:
    now = datetime.now(UTC)
    for days, outcome in ((3, CheckOutcome.WARNING), (90, CheckOutcome.OK)):
        end = now + timedelta(days=days)
        with secure(ca.issue_cert("localhost", not_after=end)) as provider:
            access = access_to(provider.well_known, ca_certificate=pem(ca))
            (check,) = (each for each in registrar.check(access) if each.name == "tls")
        assert check.outcome is outcome
        assert f"{end:%Y-%m-%d}" in check.text


def test_a_pem_that_cannot_be_read_is_an_error_that_explains_it(
    registrar: Registrar, ca: trustme.CA
) -> None:
    key = ca.issue_cert("localhost").private_key_and_cert_chain_pem.bytes().decode()
    for text, words in (
        ("garbage", "must be certificates in the PEM format"),
        (f"{pem(ca)}\x01", "must be printable ASCII"),
        (f"# Autorité\n{pem(ca)}", "must be printable ASCII"),
        (key, "has a private key"),
        (pem(ca)[:-300] + "-----END CERTIFICATE-----\n", "cannot be read"),
    ):
        assert words in certificate_problem(text)
        access = access_to("https://127.0.0.1:1/", ca_certificate=text)
        with pytest.raises(NotSent) as caught:
            registrar.register(access, METADATA)
        assert caught.value.reason is Reason.PROVIDER_TLS_NOT_TRUSTED
        assert words in caught.value.message
    assert certificate_problem(pem(ca) + pem(ca)) == ""


def test_a_provider_is_only_stored_with_certificates_that_can_be_read(ca: trustme.CA) -> None:
    draft = ProviderDraft(
        name="p", type=ProviderType.OTHER, well_known_uri="https://idp.example.com/x"
    )
    assert check_provider(replace(draft, ca_certificate=pem(ca))).ca_certificate == pem(ca)
    with pytest.raises(Invalid) as caught:
        check_provider(replace(draft, ca_certificate="garbage"))
    (violation,) = caught.value.violations
    assert (violation.field, violation.rule) == ("ca_certificate", Rule.MALFORMED)

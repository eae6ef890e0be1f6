"""What a error becomes on the wire."""

from base64 import b64encode
from collections.abc import Iterator
from dataclasses import asdict
from enum import StrEnum
from urllib.parse import quote

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.rpc.code_pb2 import Code
from google.rpc.error_details_pb2 import (
    BadRequest,
    ErrorInfo,
    PreconditionFailure,
    ResourceInfo,
    RetryInfo,
)
from google.rpc.status_pb2 import Status

from portal.oauth.v1 import client_type_pb2
from portal_server.domain.client_type import (
    ClientTypeDraft,
    OktaAppType,
    ResponseType,
    check_client_type,
)
from portal_server.domain.errors import (
    Abandoned,
    Aborted,
    AlreadyExists,
    CertificateExpired,
    Invalid,
    NotFound,
    NotSent,
    OutcomeUnknown,
    PortalError,
    Reason,
    Rejected,
    Resource,
    Rule,
    Unauthenticated,
    Violation,
)
from portal_server.domain.fields import Unknown
from portal_server.domain.provider import (
    PROVIDER,
    ProviderDraft,
    ProviderSpec,
    ProviderType,
    check_provider,
)
from portal_server.storage.rows.providers import ProviderRow
from portal_server.wire.oauth_v1 import client_types, clients, filters, providers
from portal_server.wire.rest_v1 import dialect
from portal_server.wire.status import Surface, internal, to_status

PLAIN = Surface({}, str)
SURFACES = [
    pytest.param(client_types.SURFACE, id="native client types"),
    pytest.param(providers.SURFACE, id="native providers"),
    pytest.param(clients.SURFACE, id="native clients"),
    pytest.param(dialect.SURFACE, id="REST"),
]
SECRET = "s3cret-w0rd"  # noqa: S105
TRAILERS = 8192
CODES = {
    "Invalid": "INVALID_ARGUMENT",
    "NotFound": "NOT_FOUND",
    "AlreadyExists": "ALREADY_EXISTS",
    "Precondition": "FAILED_PRECONDITION",
    "Unauthenticated": "UNAUTHENTICATED",
    "CertificateExpired": "UNAUTHENTICATED",
    "Forbidden": "PERMISSION_DENIED",
    "Exhausted": "RESOURCE_EXHAUSTED",
    "Aborted": "ABORTED",
    "OutOfRange": "OUT_OF_RANGE",
    "Unavailable": "UNAVAILABLE",
    "DeadlineExceeded": "DEADLINE_EXCEEDED",
    "Abandoned": "CANCELLED",
    "Unimplemented": "UNIMPLEMENTED",
    "ProviderError": "UNAVAILABLE",
    "NotSent": "UNAVAILABLE",
    "Rejected": "FAILED_PRECONDITION",
    "OutcomeUnknown": "UNAVAILABLE",
}


def subclasses(class_: type[PortalError]) -> Iterator[type[PortalError]]:
    for subclass in class_.__subclasses__():
        yield subclass
        yield from subclasses(subclass)


def an_error(class_: type[PortalError]) -> PortalError:
    if issubclass(class_, Invalid):
        return class_(Violation("name", Rule.REQUIRED, "is required"))
    if issubclass(class_, NotFound):
        return class_(Resource.PROVIDER, 7)
    if issubclass(class_, AlreadyExists):
        return class_(Resource.PROVIDER, "0193b1a6-8a54-7f3e-9c1d-2b7a4e5f6a7b")
    if issubclass(class_, (Unauthenticated, CertificateExpired, Abandoned)):
        return class_()
    return class_(Reason.ETAG_MISMATCH, "a text")


def details(status: Status) -> list[Message]:
    found = []
    for packed in status.details:
        detail = {
            "google.rpc.BadRequest": BadRequest,
            "google.rpc.ErrorInfo": ErrorInfo,
            "google.rpc.PreconditionFailure": PreconditionFailure,
            "google.rpc.ResourceInfo": ResourceInfo,
            "google.rpc.RetryInfo": RetryInfo,
        }[packed.TypeName()]()
        assert packed.Unpack(detail)
        found.append(detail)
    return found


def violations(status: Status) -> list[tuple[str, str, str]]:
    [bad] = [detail for detail in details(status) if isinstance(detail, BadRequest)]
    return [(v.field, v.reason, v.description) for v in bad.field_violations]


def size_in_trailers(status: Status) -> int:
    """Of `grpc-message`, which is in percents, and of `grpc-status-details-bin`."""
    message = quote(status.message, safe=" !\"#$&'()*+,/:;<=>?@[\\]^`{|}~")
    return len(message) + len(b64encode(status.SerializeToString()))


@pytest.mark.parametrize(
    "class_", sorted(subclasses(PortalError), key=str), ids=lambda c: c.__name__
)
def test_the_status_of_a_call_to_retry_has_a_delay(class_: type[PortalError]) -> None:
    status = to_status(an_error(class_), PLAIN)
    delays = [d.retry_delay.ToSeconds() for d in details(status) if isinstance(d, RetryInfo)]

    retriable = Code.Name(status.code) in ("RESOURCE_EXHAUSTED", "UNAVAILABLE")
    assert delays == ([1] if retriable else [])


@pytest.mark.parametrize(
    "class_", sorted(subclasses(PortalError), key=str), ids=lambda c: c.__name__
)
def test_each_error_has_its_code_and_a_reason_for_programs(
    class_: type[PortalError],
) -> None:
    error = an_error(class_)
    status = to_status(error, PLAIN)

    info = details(status)[0]
    assert isinstance(info, ErrorInfo)
    assert Code.Name(status.code) == CODES[class_.__name__]
    assert (info.reason, info.domain) == (error.reason, "oauth-portal")
    assert info.reason.replace("_", "").isalpha()
    assert info.reason.isupper()
    assert status.message


def test_a_status_has_the_message_of_its_error() -> None:
    status = to_status(Aborted(Reason.ETAG_MISMATCH, "a text"), PLAIN)

    assert status.message == "a text"


@pytest.mark.parametrize(
    ("surface", "field", "allowed"),
    [
        pytest.param(
            client_types.SURFACE,
            "client_type.response_types",
            "RESPONSE_TYPE_CODE, RESPONSE_TYPE_TOKEN, RESPONSE_TYPE_ID_TOKEN, RESPONSE_TYPE_NONE",
            id="native",
        ),
        pytest.param(dialect.SURFACE, "ResponseTypes", "code, token, it_token, none", id="REST"),
        pytest.param(PLAIN, "response_types", "code, token, id_token, none", id="none"),
    ],
)
def test_each_surface_has_its_own_names_in_violations(
    surface: Surface, field: str, allowed: str
) -> None:
    broken = Violation(
        "response_types", Rule.UNKNOWN_VALUE, 'unknown value "x"', tuple(ResponseType)
    )
    status = to_status(Invalid(broken), surface)

    description = f'unknown value "x"; allowed: {allowed}'
    assert violations(status) == [(field, "UNKNOWN_VALUE", description)]
    assert status.message == f"{field}: {description}"


@pytest.mark.parametrize("surface", SURFACES)
def test_a_field_without_a_name_of_the_surface_keeps_its_name(surface: Surface) -> None:
    status = to_status(Invalid(Violation("page", Rule.OUT_OF_RANGE, "is bad")), surface)

    assert violations(status) == [("page", "OUT_OF_RANGE", "is bad")]


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (1, "f0: is bad"),
        (3, "f0: is bad; f1: is bad; f2: is bad"),
        (4, "f0: is bad; f1: is bad; f2: is bad; and 1 more"),
        (9, "f0: is bad; f1: is bad; f2: is bad; and 6 more"),
    ],
)
def test_all_violations_are_in_the_details_and_the_first_three_in_the_message(
    number: int, message: str
) -> None:
    broken = [Violation(f"f{n}", Rule.MALFORMED, "is bad") for n in range(number)]
    status = to_status(Invalid(*broken), PLAIN)

    assert status.message == message
    assert [field for field, _, _ in violations(status)] == [f"f{n}" for n in range(number)]


@pytest.mark.parametrize(
    ("resource", "reason", "message"),
    [
        (Resource.PROVIDER, "PROVIDER_NOT_FOUND", "Provider"),
        (Resource.CLIENT_TYPE, "CLIENT_TYPE_NOT_FOUND", "ClientType"),
        (Resource.CLIENT, "CLIENT_NOT_FOUND", "Client"),
    ],
)
def test_a_missing_resource_is_in_the_details(
    resource: Resource, reason: str, message: str
) -> None:
    status = to_status(NotFound(resource, 7), PLAIN)

    info, found = details(status)
    assert isinstance(info, ErrorInfo)
    assert isinstance(found, ResourceInfo)
    assert info.reason == reason
    assert (found.resource_type, found.resource_name) == (
        f"portal.oauth.v1.{message}",
        "7",
    )
    assert status.message == f"{resource} 7 not found"


@pytest.mark.parametrize("class_", [NotSent, Rejected, OutcomeUnknown])
@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (Reason.PROVIDER_BUSY, "RESOURCE_EXHAUSTED"),
        (Reason.PROVIDER_TIMEOUT, "DEADLINE_EXCEEDED"),
        (Reason.NO_REGISTRATION_ENDPOINT, "FAILED_PRECONDITION"),
        (Reason.PROVIDER_TLS_NOT_TRUSTED, "FAILED_PRECONDITION"),
        (Reason.PROVIDER_ADDRESS_NOT_ALLOWED, "FAILED_PRECONDITION"),
        (Reason.PROVIDER_CREDENTIAL_REJECTED, "FAILED_PRECONDITION"),
    ],
)
def test_the_reason_decides_where_the_proto_has_one_status_for_it(
    class_: type[PortalError], reason: Reason, code: str
) -> None:
    assert Code.Name(to_status(class_(reason, "t"), PLAIN).code) == code


@pytest.mark.parametrize(("seconds", "delay"), [(0, 1), (0.2, 1), (1.5, 2), (30, 30)])
def test_a_busy_provider_decides_how_long_to_wait(seconds: float, delay: int) -> None:
    status = to_status(NotSent(Reason.PROVIDER_BUSY, "t", retry_after_s=seconds), PLAIN)
    [retry] = [detail for detail in details(status) if isinstance(detail, RetryInfo)]

    assert retry.retry_delay.ToSeconds() == delay


def test_the_details_have_what_the_provider_reported_and_nothing_else() -> None:
    status = to_status(Rejected(Reason.PROVIDER_REJECTED, "t", http_status=403), PLAIN)

    info = details(status)[0]
    assert isinstance(info, ErrorInfo)
    assert info.metadata == {"http_status": "403"}
    assert status.message == "t"


@pytest.mark.parametrize("character", ["x", "\N{GRINNING FACE}"], ids=ascii)
def test_the_longest_words_of_a_provider_fit_into_the_trailers(character: str) -> None:
    text = character * 5000
    for error, description in ((text, text), (text, ""), ("", text), ("", "")):
        status = to_status(
            Rejected(Reason.PROVIDER_REJECTED, text, error=error, description=description), PLAIN
        )

        assert size_in_trailers(status) < TRAILERS


def test_a_bug_becomes_its_trace_id_and_nothing_else() -> None:
    status = internal("abcd1234")

    [info] = details(status)
    assert isinstance(info, ErrorInfo)
    assert Code.Name(status.code) == "INTERNAL"
    assert status.message == "internal error abcd1234"
    assert not info.metadata


def words_of(class_: type[StrEnum], surface: Surface) -> str:
    return ", ".join(map(surface.spell, class_))


@pytest.mark.parametrize("surface", SURFACES)
def test_each_surface_has_its_own_names_of_allowed_words(surface: Surface) -> None:
    wrong = (Unknown("x"),)
    draft = ClientTypeDraft(response_types=wrong, okta_app_type=Unknown("x"))
    with pytest.raises(Invalid) as error:
        check_client_type(draft, ProviderType.OTHER)

    texts = " ".join(text for _, _, text in violations(to_status(error.value, surface)))
    assert words_of(ResponseType, surface) in texts
    assert words_of(OktaAppType, surface) in texts


@pytest.mark.parametrize(
    ("surface", "unknown"),
    [
        pytest.param(client_types.SURFACE, "", id="native, where unknown words are numbers"),
        pytest.param(dialect.SURFACE, "x" * 5000, id="REST"),
        pytest.param(dialect.SURFACE, "\N{GRINNING FACE}" * 5000, id="REST and wide characters"),
    ],
)
def test_the_largest_error_of_a_client_type_fits_into_the_trailers(
    surface: Surface, unknown: str
) -> None:
    words = tuple(Unknown(f"{-(2**31) + number}{unknown}") for number in range(500))
    draft = ClientTypeDraft(
        name="x" * 5000,
        description="x" * 5000,
        response_types=words,
        grant_types=words,
        token_endpoint_auth_method=words[0],
        okta_app_type=words[0],
    )
    with pytest.raises(Invalid) as error:
        check_client_type(draft, ProviderType.OKTA)

    assert size_in_trailers(to_status(error.value, surface)) < TRAILERS


@pytest.mark.parametrize("character", ["x", "\N{GRINNING FACE}"], ids=ascii)
def test_the_largest_error_of_a_mask_fits_into_the_trailers(character: str) -> None:
    mask = FieldMask(paths=[f"{number}{character * 5000}" for number in range(500)])
    with pytest.raises(Invalid) as error:
        client_types.CODEC.masked_fields(mask, client_type_pb2.ClientType())
    status = to_status(error.value, client_types.SURFACE)

    assert size_in_trailers(status) < TRAILERS


@pytest.mark.parametrize("character", ["x", "\N{GRINNING FACE}"], ids=ascii)
@pytest.mark.parametrize(
    "text", ["{} = a", "'{}' = a", "name = a '{}'", "type = '{}'", "name : a AND {} = a"]
)
def test_the_largest_error_of_a_filter_fits_into_the_trailers(text: str, character: str) -> None:
    with pytest.raises(Invalid) as error:
        filters.parse(text.format(character * 2000), PROVIDER)
    status = to_status(error.value, providers.SURFACE)

    assert size_in_trailers(status) < TRAILERS


def test_an_error_never_has_a_secret() -> None:
    token = SECRET * 1000
    draft = ProviderDraft(well_known_uri="x", registration_access_token=token)
    with pytest.raises(Invalid) as error:
        check_provider(draft)
    status = to_status(error.value, dialect.SURFACE)

    assert "RegistrationAccessToken" in [field for field, _, _ in violations(status)]
    assert SECRET not in str(status)
    assert SECRET not in repr(error.value)
    assert SECRET not in repr(error.value.violations)


def test_an_error_about_a_uri_with_a_password_does_not_show_it() -> None:
    draft = ProviderDraft(
        name="n", type=ProviderType.OTHER, well_known_uri=f"https://u:{SECRET}@idp.test/"
    )
    with pytest.raises(Invalid) as error:
        check_provider(draft)

    assert SECRET not in str(to_status(error.value, PLAIN))


def test_no_representation_of_a_provider_has_its_token() -> None:
    draft = ProviderDraft(
        name="n",
        type=ProviderType.OTHER,
        well_known_uri="https://idp.test/",
        registration_access_token=SECRET,
    )
    spec = check_provider(draft)
    row = ProviderRow(**asdict(spec))

    assert isinstance(spec, ProviderSpec)
    assert spec.registration_access_token == SECRET
    for form in (draft, spec, row):
        assert "idp.test" in repr(form)
        assert SECRET not in f"{form} {form!r}"

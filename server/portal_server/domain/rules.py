"""What the portal accepts: every rule and every limit, as pure functions.

Each check returns the accepted form or raises Invalid with *all* violations.
Lengths count Unicode characters.
"""

import re
from collections.abc import Sequence
from dataclasses import fields
from enum import StrEnum
from typing import TypeVar

from pydantic import AnyHttpUrl, TypeAdapter, ValidationError

from portal_server.domain.errors import Invalid, Precondition, Rule, Violation
from portal_server.domain.model import (
    ClientTypeDraft,
    ClientTypeSpec,
    GrantType,
    OktaAppType,
    ProviderDraft,
    ProviderSpec,
    ProviderType,
    ResponseType,
    Slice,
    TokenEndpointAuthMethod,
    Unknown,
)

MAX_NAME = 255
MAX_DESCRIPTION = 4096
MAX_URI = 2048
MAX_TOKEN = 4096
MAX_FILTER = 2048
# Each is checked for each row that a list passes over.
MAX_CONDITIONS = 16
MAX_REQUEST_ID = 255

# So many rows, each as long as may be, are a message that every gRPC client
# takes: 4 MiB unless it is told otherwise.
MAX_PAGE_SIZE = 200
DEFAULT_PAGE_SIZE = 50
# The REST dialect's numbers. Its rows are messages of their own; the page's
# limit keeps the offset of a row in 64 bits.
MAX_PER_PAGE = 1000
DEFAULT_PER_PAGE = 20
MAX_PAGE_NUMBER = 2**31 - 1

# What a refusal quotes at most: it travels in trailers, which have 8 KiB.
MAX_NAMED = 8
_MAX_QUOTED = 40

PROVIDER_FIELDS = tuple(f.name for f in fields(ProviderDraft))
CLIENT_TYPE_FIELDS = tuple(f.name for f in fields(ClientTypeDraft))

Word = TypeVar("Word", bound=StrEnum)

# RFC 3986, section 4.3, an absolute-URI: no fragment. No user before the host
# either, which would be a secret in every answer. Without flags, because the
# patterns of JSON Schema have none.
URI = re.compile(
    r"[hH][tT][tT][pP][sS]?://"
    r"(?:\w(?:[\w-]*\w)?(?:\.\w(?:[\w-]*\w)?)*\.?|\[[0-9a-fA-F:.]+\])"  # name or address
    r"(?::0*[1-9][0-9]{0,4})?"
    r"(?:[/?][^\s\x00-\x1f\x7f\\#]*)?"
)
_HTTP_URL = TypeAdapter(AnyHttpUrl)
_REQUEST_ID = re.compile(rf"[ -~]{{1,{MAX_REQUEST_ID}}}")


def check_provider(draft: ProviderDraft) -> ProviderSpec:
    """Accept a provider.

    Raises:
        Invalid: name, type or well_known_uri is missing or unusable, or a text
            is too long or holds a NUL.
    """
    broken: list[Violation] = []
    name = _text(broken, "name", draft.name, MAX_NAME, required=True)
    type_ = _word(broken, "type", draft.type, ProviderType, required=True)
    well_known_uri = _uri(broken, "well_known_uri", draft.well_known_uri)
    token = _text(broken, "registration_access_token", draft.registration_access_token, MAX_TOKEN)
    if broken or type_ is None:
        raise Invalid(*broken)
    return ProviderSpec(
        name=name,
        type=type_,
        well_known_uri=well_known_uri,
        tls_insecure_skip_verify=draft.tls_insecure_skip_verify,
        registration_access_token=token,
    )


def check_request_id(text: str) -> None:
    """Accept an id that makes a retry safe (AIP-155).

    Raises:
        Invalid: it is empty, too long, or not printable ASCII.
    """
    if not _REQUEST_ID.fullmatch(text):
        message = f"must be 1 to {MAX_REQUEST_ID} printable ASCII characters"
        raise Invalid(Violation("request_id", Rule.MALFORMED, message))


def check_client_type(draft: ClientTypeDraft, provider_type: ProviderType) -> ClientTypeSpec:
    """Accept a client type of a provider of this type.

    Repeated words are dropped, their order is kept.

    Raises:
        Invalid: name, response_types or grant_types is missing, a word is
            unknown, a text is too long or holds a NUL, or the provider is Okta
            and okta_app_type is missing.
    """
    broken: list[Violation] = []
    name = _text(broken, "name", draft.name, MAX_NAME, required=True)
    description = _text(broken, "description", draft.description, MAX_DESCRIPTION)
    response_types = _words(broken, "response_types", draft.response_types, ResponseType)
    grant_types = _words(broken, "grant_types", draft.grant_types, GrantType)
    auth_method = _word(
        broken,
        "token_endpoint_auth_method",
        draft.token_endpoint_auth_method,
        TokenEndpointAuthMethod,
    )
    okta_app_type = _word(broken, "okta_app_type", draft.okta_app_type, OktaAppType)
    if provider_type is ProviderType.OKTA and draft.okta_app_type is None:
        message = "is required, because the provider's type is Okta"
        broken.append(Violation("okta_app_type", Rule.REQUIRED, message, tuple(OktaAppType)))
    if broken:
        raise Invalid(*broken)
    return ClientTypeSpec(
        name=name,
        description=description,
        response_types=response_types,
        grant_types=grant_types,
        token_endpoint_auth_method=auth_method,
        okta_app_type=okta_app_type,
    )


def check_becomes_okta(without_app_type: Sequence[int]) -> None:
    """Accept that a provider becomes an Okta one, given its client types without app type.

    Raises:
        Precondition: there are any; the text names the first few.
    """
    if without_app_type:
        ids = ", ".join(map(str, without_app_type))
        message = f"the provider cannot become Okta while client types lack an Okta app type: {ids}"
        raise Precondition("OKTA_APP_TYPE_MISSING", message)


def page_size(given: int) -> int:
    """The size of a page for what a caller of a List asks for (AIP-158).

    Raises:
        Invalid: it is negative.
    """
    if given < 0:
        raise Invalid(Violation("page_size", Rule.OUT_OF_RANGE, "must not be negative"))
    return min(given or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)


def check_numbered_page(*, per_page: int | None, page: int | None, limit: int | None) -> Slice:
    """The slice that the REST dialect's numbers mean; None is "not given".

    Raises:
        Invalid: a number is under 1 or over its maximum.
    """
    broken: list[Violation] = []
    for field, given, most in (
        ("per_page", per_page, MAX_PER_PAGE),
        ("page", page, MAX_PAGE_NUMBER),
        ("limit", limit, MAX_PER_PAGE),
    ):
        if given is not None and not 1 <= given <= most:
            message = f"must be between 1 and {most}"
            broken.append(Violation(field, Rule.OUT_OF_RANGE, message))
    if broken:
        raise Invalid(*broken)
    rows = per_page or DEFAULT_PER_PAGE
    return Slice(limit=min(rows, limit or rows), offset=rows * ((page or 1) - 1))


def _text(
    broken: list[Violation], field: str, given: str, most: int, *, required: bool = False
) -> str:
    if required and not given.strip():
        message = "is required" if not given else "must not be blank"
        broken.append(Violation(field, Rule.REQUIRED, message))
    elif len(given) > most:
        message = f"is {len(given)} characters long; at most {most} are allowed"
        broken.append(Violation(field, Rule.TOO_LONG, message))
    elif "\0" in given:
        # PostgreSQL has no NUL in text, SQLite has: what one cannot hold, none may.
        broken.append(Violation(field, Rule.MALFORMED, "must not contain the NUL character"))
    return given


def _uri(broken: list[Violation], field: str, given: str) -> str:
    before = len(broken)
    _text(broken, field, given, MAX_URI, required=True)
    if len(broken) == before:
        # The pattern decides the form, the library whether such a host can be.
        message = "must be an absolute http or https URL without user information or fragment"
        try:
            well_formed = URI.fullmatch(given) and _HTTP_URL.validate_python(given)
        except ValidationError:
            well_formed = None
        if not well_formed:
            broken.append(Violation(field, Rule.MALFORMED, message))
    return given


def _words(
    broken: list[Violation],
    field: str,
    given: Sequence[Word | Unknown],
    vocabulary: type[Word],
) -> tuple[Word, ...]:
    once = dict.fromkeys(given)
    unknown = [word for word in once if isinstance(word, Unknown)]
    broken.extend(_unknown(field, word, vocabulary) for word in unknown[:MAX_NAMED])
    if not given:
        message = "needs at least one value"
        broken.append(Violation(field, Rule.REQUIRED, message, tuple(vocabulary)))
    return tuple(word for word in once if not isinstance(word, Unknown))


def _word(
    broken: list[Violation],
    field: str,
    given: Word | Unknown | None,
    vocabulary: type[Word],
    *,
    required: bool = False,
) -> Word | None:
    if isinstance(given, Unknown):
        broken.append(_unknown(field, given, vocabulary))
        return None
    if given is None and required:
        broken.append(Violation(field, Rule.REQUIRED, "is required", tuple(vocabulary)))
    return given


def quote(text: str) -> str:
    """What a caller gave, as a refusal quotes it: in full only while it is short."""
    return f'"{text}"' if len(text) <= _MAX_QUOTED else f'"{text[:_MAX_QUOTED]}…"'


def _unknown(field: str, word: Unknown, vocabulary: type[Word]) -> Violation:
    return Violation(
        field, Rule.UNKNOWN_VALUE, f"unknown value {quote(word.text)}", tuple(vocabulary)
    )

"""What a client type and a type of provider decide about a registration, before there is a client.

The grant types of a client type decide, and the response types follow from them (RFC
7591, section 2.1): providers derive each of them from the other, and so may grant more
than was requested. Values of a client type that no grant uses are omitted.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from portal_server.domain.client_type import (
    ClientTypeSpec,
    GrantType,
    OktaAppType,
    ResponseType,
    TokenEndpointAuthMethod,
)
from portal_server.domain.discovery import Finding, FindingSeverity
from portal_server.domain.findings import finding
from portal_server.domain.mapping import (
    BASIC,
    GRANTS,
    OKTA,
    PROVIDERS,
    PUBLIC,
    RESPONSE_TYPES,
    OktaRow,
    ProviderRow,
)
from portal_server.domain.provider import ProviderType

_CODE, _TOKEN, _ID_TOKEN = ResponseType.CODE, ResponseType.TOKEN, ResponseType.ID_TOKEN
_NONE = ResponseType.NONE

Report = Callable[..., None]
"""Adds a finding: the name of its row, and what its text names."""


class Findings:
    """Collects the findings for one type of provider."""

    def __init__(self, provider_type: ProviderType, found: Iterable[Finding] = ()) -> None:
        self._provider_type = provider_type
        self._found = list(found)

    def add(self, name: str, **names: object) -> None:
        """Add a row of the table."""
        self._found.append(finding(name, self._provider_type, **names))

    def sorted(self) -> tuple[Finding, ...]:
        """The findings, errors first."""
        order = list(FindingSeverity)
        return tuple(sorted(self._found, key=lambda each: -order.index(each.severity)))


@dataclass(frozen=True, slots=True)
class Shape:
    """What follows only from a client type and a type of provider."""

    grants: tuple[GrantType, ...]
    response_types: tuple[str, ...]
    method: str
    findings: tuple[Finding, ...]

    @property
    def redirecting(self) -> list[str]:
        """The grants that send users to a redirect URI."""
        rows = [GRANTS[grant] for grant in self.grants]
        return list(dict.fromkeys(row.sent for row in rows if row.response_types))


def findings_of(client_type: ClientTypeSpec, provider_type: ProviderType) -> tuple[Finding, ...]:
    """What is wrong or surprising about each client of this type; errors first."""
    return shape_of(client_type, provider_type).findings


def shape_of(client_type: ClientTypeSpec, provider_type: ProviderType) -> Shape:
    """The shape of a registration. Cached, because each create of a client type needs it."""
    return _shape(
        tuple(client_type.response_types),
        tuple(client_type.grant_types),
        client_type.token_endpoint_auth_method,
        client_type.okta_app_type,
        provider_type,
    )


@lru_cache(maxsize=2048)
def _shape(
    response_types: tuple[ResponseType, ...],
    grant_types: tuple[GrantType, ...],
    method: TokenEndpointAuthMethod | None,
    app_type: OktaAppType | None,
    provider_type: ProviderType,
) -> Shape:
    found = Findings(provider_type)
    okta = _okta_row(app_type, provider_type, found.add)
    grants = _grants(response_types, grant_types, app_type, okta, found.add)
    _report_response_types(response_types, grant_types, grants, found.add)
    if okta:
        _report_okta_response_types(response_types, grant_types, app_type, okta, found.add)
    sent = _response_types(response_types, grants, PROVIDERS[provider_type], okta)
    sent_method = _method(method, grants, app_type, okta, found.add)
    if GrantType.PASSWORD in grants:
        found.add("password")
    if GrantType.IMPLICIT in grants:
        found.add("implicit")
    _report_what_is_added(provider_type, grants, sent, found.add)
    return Shape(grants, sent, sent_method, found.sorted())


def _okta_row(
    app_type: OktaAppType | None, provider_type: ProviderType, report: Report
) -> OktaRow | None:
    if provider_type is not ProviderType.OKTA:
        if app_type:
            report("okta_app_type_unused")
        return None
    if not app_type:
        report("okta_app_type_missing")
        return None
    return OKTA[app_type]


def _grants(
    response_types: Sequence[ResponseType],
    grant_types: Sequence[GrantType],
    app_type: OktaAppType | None,
    okta: OktaRow | None,
    report: Report,
) -> tuple[GrantType, ...]:
    """The grants that a client can use."""
    grants = list(grant_types)
    if GrantType.IMPLICIT in grants and not {_TOKEN, _ID_TOKEN} & set(response_types):
        report("implicit_without_response")
        grants.remove(GrantType.IMPLICIT)
    missing: list[str] = []
    if okta:
        allowed = {*okta.required_grants, *okta.optional_grants}
        if rejected := [grant for grant in grants if GRANTS[grant].sent not in allowed]:
            report("okta_grant", grants=listed(rejected), app_type=app_type)
        grants = [grant for grant in grants if grant not in rejected]
        sent = {GRANTS[grant].sent for grant in grants}
        if missing := [grant for grant in okta.required_grants if grant not in sent]:
            report("okta_grant_missing", grants=listed(missing), app_type=app_type)
    if GrantType.REFRESH_TOKEN in grants and not any(
        GRANTS[grant].issues_refresh_tokens for grant in grants
    ):
        report("refresh_without_grant")
        grants.remove(GrantType.REFRESH_TOKEN)
    if not grants and not missing:
        report("nothing_left")
    return tuple(grants)


def _report_response_types(
    response_types: Sequence[ResponseType],
    grant_types: Sequence[GrantType],
    grants: Sequence[GrantType],
    report: Report,
) -> None:
    """Report the response types that the grants of the client type do not fit."""
    if _CODE in _words(grants) and _CODE not in response_types:
        needing = [grant for grant in grants if _CODE in GRANTS[grant].response_types]
        report("code_added", grants=listed(needing))
    uncovered = [word for word in response_types if word not in {*_words(grant_types), _NONE}]
    if _CODE in uncovered:
        report("code_without_grant")
    if tokens := [word for word in uncovered if word is not _CODE]:
        report("token_without_implicit", words=listed(tokens))
    if _NONE in response_types and len(response_types) > 1:
        others = [word for word in response_types if word is not _NONE]
        report("none_with_others", words=listed(others))


def _report_okta_response_types(
    response_types: Sequence[ResponseType],
    grant_types: Sequence[GrantType],
    app_type: OktaAppType | None,
    okta: OktaRow,
    report: Report,
) -> None:
    allowed = {*okta.required_response_types, *okta.optional_response_types}
    covered = _words(grant_types)
    if rejected := [word for word in response_types if word in covered and word not in allowed]:
        report("okta_response", words=listed(rejected), app_type=app_type)


def _response_types(
    response_types: Sequence[ResponseType],
    grants: Sequence[GrantType],
    row: ProviderRow,
    okta: OktaRow | None,
) -> tuple[str, ...]:
    """The response types that follow from the grants (RFC 7591, section 2.1)."""
    available = _words(grants) & {*response_types, _CODE}
    if okta and {GRANTS[grant].sent for grant in grants}.issuperset(okta.required_grants):
        available |= set(okta.required_response_types)
    return tuple(
        sent
        for sent in RESPONSE_TYPES
        if available.issuperset(sent.split()) and (row.combined_response_types or " " not in sent)
    )


def _method(
    given: TokenEndpointAuthMethod | None,
    grants: Sequence[GrantType],
    app_type: OktaAppType | None,
    okta: OktaRow | None,
    report: Report,
) -> str:
    """The authentication method; it is always sent, because defaults differ."""
    wanted = given.value if given else _default_method(grants)
    method = wanted if not okta or wanted in okta.methods else okta.methods[0]
    has_pkce = GrantType.PKCE in grants
    if not grants:
        return method
    if method != wanted:
        report("okta_method", method=method, wanted=wanted, app_type=app_type)
    elif has_pkce and not given and GrantType.CLIENT_CREDENTIALS in grants:
        report("secret_for_client_credentials", method=method)
    elif not given and method != PUBLIC:
        report("method_secret", method=method)
    elif not given and not has_pkce:
        report("method_none")
    if has_pkce:
        report("pkce_public" if method == PUBLIC else "pkce_confidential")
    return method


def _default_method(grants: Sequence[GrantType]) -> str:
    """The method of a client type that has none.

    A client that uses PKCE, or gets no code, is assumed to be unable to keep a secret (RFC
    8252, section 8.4). One with client_credentials must keep one (RFC 6749, section 4.4).
    """
    without_code = {GrantType.IMPLICIT, GrantType.DEVICE_CODE, GrantType.REFRESH_TOKEN}
    if GrantType.CLIENT_CREDENTIALS in grants:
        return BASIC
    return PUBLIC if GrantType.PKCE in grants or without_code.issuperset(grants) else BASIC


def _report_what_is_added(
    provider_type: ProviderType,
    grants: Sequence[GrantType],
    response_types: Sequence[str],
    report: Report,
) -> None:
    """Report what a type of provider adds to the registration (RFC 7591, section 3.2.1)."""
    implicit = GrantType.IMPLICIT in grants
    match provider_type:
        case ProviderType.KEYCLOAK if implicit and "id_token token" not in response_types:
            report("keycloak_implicit")
        case ProviderType.GLUU:
            if grants and not response_types:
                report("gluu_code")
            if implicit and _TOKEN not in response_types:
                report("gluu_token")
            if _CODE in response_types and GrantType.REFRESH_TOKEN not in grants:
                report("gluu_refresh")


def _words(grants: Iterable[GrantType]) -> set[ResponseType]:
    """The response types that grants can have."""
    return {word for grant in grants for word in GRANTS[grant].response_types}


def listed(words: Iterable[str]) -> str:
    """The words in one text."""
    return ", ".join(words)

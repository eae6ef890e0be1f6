"""From a client type to the metadata of a registration (RFC 7591, section 2).

The grant types of a client type decide, and the response types follow from them (RFC
7591, section 2.1): providers derive each of them from the other, and so may grant more
than was requested. Values of a client type that no grant uses are omitted.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from portal_server.domain.client import ClientSpec, Metadata, client_name
from portal_server.domain.client_type import (
    ClientTypeSpec,
    GrantType,
    OktaAppType,
    ResponseType,
    TokenEndpointAuthMethod,
)
from portal_server.domain.differences import differences
from portal_server.domain.discovery import Discovery, Finding, FindingSeverity
from portal_server.domain.errors import Rule, Violation
from portal_server.domain.fields import MAX_NAMED
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
    word_sets,
)
from portal_server.domain.provider import ProviderType
from portal_server.domain.redirect_uris import is_of_native_app

__all__ = ["Plan", "differences", "findings_of", "plan", "redirect_uri_violations"]

_CODE, _TOKEN, _ID_TOKEN = ResponseType.CODE, ResponseType.TOKEN, ResponseType.ID_TOKEN
_NONE = ResponseType.NONE
# OpenID Connect Core 1.0, section 11: the scope of a refresh token.
_OFFLINE: Final = "offline_access"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a registration sends, and what is wrong or surprising about it."""

    metadata: Metadata
    findings: tuple[Finding, ...]


_Report = Callable[..., None]


class _Findings:
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
class _Shape:
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


def plan(
    client_type: ClientTypeSpec,
    provider_type: ProviderType,
    client: ClientSpec,
    uid: str,
    discovery: Discovery | None,
) -> Plan:
    """What is sent to register a client (RFC 7591, section 3.1); None: no discovery document.

    With a finding of severity ERROR, it must not be sent. An empty list is sent, because
    without it the provider chooses (RFC 7591, section 2).
    """
    shape = _shape_of(client_type, provider_type)
    row = PROVIDERS[provider_type]
    found = _Findings(provider_type, shape.findings)
    if problem := _redirect_uri_problem(shape, client.redirect_uris):
        found.add(problem, grants=_listed(shape.redirecting))
    name = client_name(client.name, uid)
    if not name.startswith(client.name):
        found.add("name_cut")
    response_types = _supported_combinations(shape.response_types, discovery)
    metadata: dict[str, Any] = {
        "client_name": name,
        "redirect_uris": list(client.redirect_uris) if shape.redirecting else [],
        "grant_types": list(dict.fromkeys(GRANTS[grant].sent for grant in shape.grants)),
        "response_types": response_types,
        "token_endpoint_auth_method": shape.method,
    }
    if provider_type is ProviderType.OKTA and client_type.okta_app_type:
        metadata["application_type"] = client_type.okta_app_type.value
    elif row.application_type:
        metadata["application_type"] = _application_type(shape, client.redirect_uris)
    if scope := _scope(row, shape, client, discovery, found.add):
        metadata["scope"] = scope
    _compare_with_discovery(shape, response_types, discovery, found.add)
    return Plan(metadata, found.sorted())


def findings_of(client_type: ClientTypeSpec, provider_type: ProviderType) -> tuple[Finding, ...]:
    """What is wrong or surprising about each client of this type; errors first.

    Cached, because each create of a client type needs it.
    """
    return _shape_of(client_type, provider_type).findings


def redirect_uri_violations(
    client_type: ClientTypeSpec, provider_type: ProviderType, redirect_uris: Sequence[str]
) -> list[Violation]:
    """Whether redirect URIs are missing, or not allowed.

    They are required by a grant that sends users to one (RFC 6749, section 3.1.2.2). A
    client without such a grant has none, so that it cannot be used in a flow with one.
    """
    shape = _shape_of(client_type, provider_type)
    match _redirect_uri_problem(shape, redirect_uris):
        case "redirect_uri_missing":
            because = f"because the client has {_listed(shape.redirecting)}"
            text = f"is required, {because} (RFC 6749, section 3.1.2.2)"
            return [Violation("redirect_uris", Rule.REQUIRED, text)]
        case "redirect_uri_not_used":
            text = "must be empty, because no grant of the client uses one (RFC 7591, section 2)"
            return [Violation("redirect_uris", Rule.OUT_OF_RANGE, text)]
        case _:
            return []


def _redirect_uri_problem(shape: _Shape, redirect_uris: Sequence[str]) -> str:
    if shape.redirecting and not redirect_uris:
        return "redirect_uri_missing"
    if shape.grants and not shape.redirecting and redirect_uris:
        return "redirect_uri_not_used"
    return ""


def _shape_of(client_type: ClientTypeSpec, provider_type: ProviderType) -> _Shape:
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
) -> _Shape:
    found = _Findings(provider_type)
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
    return _Shape(grants, sent, sent_method, found.sorted())


def _okta_row(
    app_type: OktaAppType | None, provider_type: ProviderType, report: _Report
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
    report: _Report,
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
            report("okta_grant", grants=_listed(rejected), app_type=app_type)
        grants = [grant for grant in grants if grant not in rejected]
        sent = {GRANTS[grant].sent for grant in grants}
        if missing := [grant for grant in okta.required_grants if grant not in sent]:
            report("okta_grant_missing", grants=_listed(missing), app_type=app_type)
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
    report: _Report,
) -> None:
    """Report the response types that the grants of the client type do not fit."""
    if _CODE in _words(grants) and _CODE not in response_types:
        needing = [grant for grant in grants if _CODE in GRANTS[grant].response_types]
        report("code_added", grants=_listed(needing))
    uncovered = [word for word in response_types if word not in {*_words(grant_types), _NONE}]
    if _CODE in uncovered:
        report("code_without_grant")
    if tokens := [word for word in uncovered if word is not _CODE]:
        report("token_without_implicit", words=_listed(tokens))
    if _NONE in response_types and len(response_types) > 1:
        others = [word for word in response_types if word is not _NONE]
        report("none_with_others", words=_listed(others))


def _report_okta_response_types(
    response_types: Sequence[ResponseType],
    grant_types: Sequence[GrantType],
    app_type: OktaAppType | None,
    okta: OktaRow,
    report: _Report,
) -> None:
    allowed = {*okta.required_response_types, *okta.optional_response_types}
    covered = _words(grant_types)
    if rejected := [word for word in response_types if word in covered and word not in allowed]:
        report("okta_response", words=_listed(rejected), app_type=app_type)


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
    report: _Report,
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
    report: _Report,
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


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words)


def _supported_combinations(
    response_types: Iterable[str], discovery: Discovery | None
) -> list[str]:
    """Without the combinations that the provider does not list.

    A client type cannot name a combination, so none is needed.
    """
    listed = discovery.response_types_supported if discovery else None
    if listed is None:
        return list(response_types)
    supported = word_sets(listed)
    return [
        each for each in response_types if " " not in each or frozenset(each.split()) in supported
    ]


def _application_type(shape: _Shape, redirect_uris: Iterable[str]) -> str:
    """Whether it is a native app (OpenID Connect Registration 1.0, section 2)."""
    if shape.redirecting:
        native = any(map(is_of_native_app, redirect_uris))
    else:
        native = GrantType.DEVICE_CODE in shape.grants
    return "native" if native else "web"


def _scope(
    row: ProviderRow,
    shape: _Shape,
    client: ClientSpec,
    discovery: Discovery | None,
    report: _Report,
) -> str:
    """The scope that is sent; "" if the provider chooses (RFC 7591, section 2)."""
    given = client.scope.split()
    if not row.scope:
        if given:
            report("scope_not_sent")
        return ""
    words = [word for word in given if word not in row.not_in_scope]
    if words != given:
        report("openid_not_sent")
    supported = discovery.scopes_supported if discovery else None
    if supported is None:
        return " ".join(words)
    if unknown := [word for word in words if word not in supported]:
        report("scope_not_listed", words=_listed(unknown[:MAX_NAMED]))
    if GrantType.REFRESH_TOKEN in shape.grants and _OFFLINE in {*supported} & {*row.refresh_scope}:
        if not given:
            words = [word for word in row.refresh_scope if word in supported]
            report("scope_for_refresh", words=" ".join(words))
        elif _OFFLINE not in words:
            report("offline_access_missing")
    return " ".join(words)


def _compare_with_discovery(
    shape: _Shape, response_types: Sequence[str], discovery: Discovery | None, report: _Report
) -> None:
    """Report what the provider does not list (RFC 8414, section 2).

    The lists are hints: some providers accept what they do not list, in particular `none`.
    """
    if not discovery:
        report("no_discovery")
        return
    no_device = (
        GrantType.DEVICE_CODE in shape.grants and not discovery.device_authorization_endpoint
    )
    if no_device:
        report("no_device_endpoint")
    listed = discovery.grant_types_supported
    if listed is not None and (
        missing := [
            grant
            for grant in shape.grants
            if GRANTS[grant].sent not in listed
            and not (no_device and grant is GrantType.DEVICE_CODE)
        ]
    ):
        report("grant_not_listed", grants=_listed(missing))
    listed = discovery.response_types_supported
    if listed is not None:
        supported = word_sets(listed)
        if words := [each for each in response_types if frozenset(each.split()) not in supported]:
            report("response_not_listed", words=_listed(words))
    listed = discovery.token_endpoint_auth_methods_supported
    if listed is not None and shape.method not in {*listed, PUBLIC}:
        report("method_not_listed", method=shape.method)
    if GrantType.PKCE in shape.grants and "S256" not in (
        discovery.code_challenge_methods_supported or ()
    ):
        report("pkce_not_listed")

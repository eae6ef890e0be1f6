"""From a client type and a client to the metadata of a registration (RFC 7591, section 2)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from portal_server.domain.client import ClientSpec, Metadata, client_name
from portal_server.domain.client_type import ClientTypeSpec, GrantType
from portal_server.domain.discovery import Discovery, Finding
from portal_server.domain.errors import Rule, Violation
from portal_server.domain.fields import MAX_NAMED
from portal_server.domain.mapping import GRANTS, PROVIDERS, PUBLIC, ProviderRow, word_sets
from portal_server.domain.provider import ProviderType
from portal_server.domain.redirect_uris import is_of_native_app
from portal_server.domain.registration_shape import Findings, Report, Shape, listed, shape_of

# OpenID Connect Core 1.0, section 11: the scope of a refresh token.
_OFFLINE: Final = "offline_access"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a registration sends, and what is wrong or surprising about it."""

    metadata: Metadata
    findings: tuple[Finding, ...]


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
    shape = shape_of(client_type, provider_type)
    row = PROVIDERS[provider_type]
    found = Findings(provider_type, shape.findings)
    if problem := _redirect_uri_problem(shape, client.redirect_uris):
        found.add(problem, grants=listed(shape.redirecting))
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


def redirect_uri_violations(
    client_type: ClientTypeSpec, provider_type: ProviderType, redirect_uris: Sequence[str]
) -> list[Violation]:
    """Whether redirect URIs are missing, or not allowed.

    They are required by a grant that sends users to one (RFC 6749, section 3.1.2.2). A
    client without such a grant has none, so that it cannot be used in a flow with one.
    """
    shape = shape_of(client_type, provider_type)
    match _redirect_uri_problem(shape, redirect_uris):
        case "redirect_uri_missing":
            because = f"because the client has {listed(shape.redirecting)}"
            text = f"is required, {because} (RFC 6749, section 3.1.2.2)"
            return [Violation("redirect_uris", Rule.REQUIRED, text)]
        case "redirect_uri_not_used":
            text = "must be empty, because no grant of the client uses one (RFC 7591, section 2)"
            return [Violation("redirect_uris", Rule.OUT_OF_RANGE, text)]
        case _:
            return []


def _redirect_uri_problem(shape: Shape, redirect_uris: Sequence[str]) -> str:
    if shape.redirecting and not redirect_uris:
        return "redirect_uri_missing"
    if shape.grants and not shape.redirecting and redirect_uris:
        return "redirect_uri_not_used"
    return ""


def _supported_combinations(
    response_types: Iterable[str], discovery: Discovery | None
) -> list[str]:
    """Without the combinations that the provider does not list.

    A client type cannot name a combination, so none is needed.
    """
    offered = discovery.response_types_supported if discovery else None
    if offered is None:
        return list(response_types)
    supported = word_sets(offered)
    return [
        each for each in response_types if " " not in each or frozenset(each.split()) in supported
    ]


def _application_type(shape: Shape, redirect_uris: Iterable[str]) -> str:
    """Whether it is a native app (OpenID Connect Registration 1.0, section 2)."""
    if shape.redirecting:
        native = any(map(is_of_native_app, redirect_uris))
    else:
        native = GrantType.DEVICE_CODE in shape.grants
    return "native" if native else "web"


def _scope(
    row: ProviderRow,
    shape: Shape,
    client: ClientSpec,
    discovery: Discovery | None,
    report: Report,
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
        report("scope_not_listed", words=listed(unknown[:MAX_NAMED]))
    if GrantType.REFRESH_TOKEN in shape.grants and _OFFLINE in {*supported} & {*row.refresh_scope}:
        if not given:
            words = [word for word in row.refresh_scope if word in supported]
            report("scope_for_refresh", words=" ".join(words))
        elif _OFFLINE not in words:
            report("offline_access_missing")
    return " ".join(words)


def _compare_with_discovery(
    shape: Shape, response_types: Sequence[str], discovery: Discovery | None, report: Report
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
    offered = discovery.grant_types_supported
    if offered is not None and (
        missing := [
            grant
            for grant in shape.grants
            if GRANTS[grant].sent not in offered
            and not (no_device and grant is GrantType.DEVICE_CODE)
        ]
    ):
        report("grant_not_listed", grants=listed(missing))
    offered = discovery.response_types_supported
    if offered is not None:
        supported = word_sets(offered)
        if words := [each for each in response_types if frozenset(each.split()) not in supported]:
            report("response_not_listed", words=listed(words))
    offered = discovery.token_endpoint_auth_methods_supported
    if offered is not None and shape.method not in {*offered, PUBLIC}:
        report("method_not_listed", method=shape.method)
    if GrantType.PKCE in shape.grants and "S256" not in (
        discovery.code_challenge_methods_supported or ()
    ):
        report("pkce_not_listed")

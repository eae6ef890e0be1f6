"""What a provider registered, compared with what was requested."""

import json
from collections.abc import Mapping
from typing import Any

from portal_server.domain.client import Difference, Metadata
from portal_server.domain.mapping import PROVIDERS, PUBLIC, word_sets
from portal_server.domain.provider import ProviderType

# Metadata whose additional values let the client do more, with the defaults of RFC 7591,
# section 2.
_GRANTING: Mapping[str, Any] = {
    "grant_types": ["authorization_code"],
    "response_types": ["code"],
    "redirect_uris": [],
    "token_endpoint_auth_method": "client_secret_basic",
}
_KEYCLOAK_FLOWS = {"code": "code", "none": "code", "token": "implicit", "id_token": "implicit"}
_LISTS = ("grant_types", "response_types", "redirect_uris", "scope")
# A client has some of them, and a list 200 clients.
_MAX_JSON = 1024


def differences(
    requested: Metadata, registered: Metadata, provider_type: ProviderType
) -> tuple[Difference, ...]:
    """Where the provider registered something other than requested (RFC 7591, section 3.2.1).

    Lists are compared without their order, and response types without the order of their
    words. Two things are not reported: known behavior of this type of provider that does
    not change what the client can do, and metadata that the provider only added. A value
    whose type is not that of RFC 7591 is compared as text.
    """
    names = [*requested, *(name for name in _GRANTING if name not in requested)]
    found = (_difference(name, requested, registered, provider_type) for name in names)
    return tuple(each for each in found if each)


def _difference(
    name: str, requested: Metadata, registered: Metadata, provider_type: ProviderType
) -> Difference | None:
    asked, granted = requested.get(name), registered.get(name)
    expected = _GRANTING.get(name) if asked is None else asked
    if name in _LISTS:
        before, after = _elements(name, expected), _elements(name, granted)
        if provider_type is ProviderType.KEYCLOAK and name == "response_types":
            before, after = _keycloak_flows(before), _keycloak_flows(after)
        if provider_type is ProviderType.GLUU and name == "grant_types":
            after -= _gluu_additions(requested) - before
        same, wider = before == after, name in {*_GRANTING, "scope"} and bool(after - before)
    else:
        same = expected == granted or (
            granted is None and name in PROVIDERS[provider_type].not_returned
        )
        wider = name == "token_endpoint_auth_method" and granted == PUBLIC != expected
    if same or (asked is None and not wider):
        return None
    return Difference(field=name, asked=_json(asked), granted=_json(granted), wider=wider)


def _elements(name: str, value: Any) -> frozenset[Any]:
    """The elements of a list, or of a scope, as a set; a response type is a set of words."""
    if value is None:
        return frozenset()
    if name == "scope" and isinstance(value, str):
        return frozenset(value.split())
    values = value if isinstance(value, list | tuple) else [value]
    texts = [each if isinstance(each, str) else _json(each) for each in values]
    if name == "response_types":
        return word_sets(texts)
    return frozenset(texts)


def _keycloak_flows(response_types: frozenset[Any]) -> frozenset[Any]:
    """The flows that Keycloak turns on for response types; it returns all of a flow.

    It has two switches: one for each response type with `code` or `none`, and one for
    each with `token` or `id_token`.
    """
    return frozenset(_KEYCLOAK_FLOWS.get(word, word) for words in response_types for word in words)


def _gluu_additions(requested: Metadata) -> frozenset[str]:
    """The grants that Gluu adds to a client with the response type code."""
    has_code = any(
        "code" in words for words in _elements("response_types", requested.get("response_types"))
    )
    return frozenset({"authorization_code", "refresh_token"} if has_code else ())


def _json(value: Any) -> str:
    """A value as compact JSON, shortened if it is very long; "" for nothing."""
    if value is None:
        return ""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return text if len(text) <= _MAX_JSON else f"{text[:_MAX_JSON]}…"

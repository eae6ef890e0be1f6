"""The JSON Schemas of the REST API's keys and messages.

A request may say more than a response does: blanks around commas, null for an
optional key, keys that are ignored.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from portal_server.domain import fields
from portal_server.domain.client import CLIENT, ClientState
from portal_server.domain.client_type import CLIENT_TYPE
from portal_server.domain.discovery import CheckOutcome, FindingSeverity
from portal_server.domain.fields import (
    SCOPE,
    Flag,
    Ids,
    Integer,
    Labels,
    RedirectUris,
    Scope,
    Text,
    Time,
    Uri,
    Word,
    Words,
)
from portal_server.domain.identity import MAX_ID
from portal_server.domain.provider import PROVIDER
from portal_server.domain.urls import URL
from portal_server.wire.rest_v1.dialect import SURFACE, spell, spellings
from tools.openapi.protos import Field, Message

Schema = dict[str, Any]

# No NUL, because PostgreSQL has none in text.
_TEXT = r"^[^\x00]*$"
# A redirect URI, without what no scheme allows.
_URI = r"[A-Za-z][A-Za-z0-9+.-]*:[!$-)+\-.-\[\]-~]+"
_NOT_BLANK = r"^[^\x00]*[^\s\x00][^\x00]*$"


@dataclass(frozen=True, slots=True)
class Form:
    """What a key holds in a request, and what in a response."""

    given: Schema
    in_response: Schema


def _same(**schema: Any) -> Form:
    return Form({"type": "string", **schema}, {"type": "string", **schema})


def _word(words: type[StrEnum], unset: tuple[str, ...] = ("",)) -> Form:
    return _same(enum=[*map(spell, words), *unset])


def _words(words: type[StrEnum]) -> Form:
    one = f"(?:{'|'.join(map(spell, words))})"
    read = f"(?:{'|'.join(spellings(words))})"
    return Form(
        {"type": "string", "pattern": rf"^\s*{read}\s*(?:,\s*{read}\s*)*$"},
        {"type": "string", "pattern": f"^{one}(?:,{one})*$"},
    )


def _form(field: fields.Field) -> Form:  # noqa: C901, PLR0911 - a kind of field each
    match field:
        case Uri(required=True):
            return _same(format="uri", maxLength=field.max_length, pattern=f"^{URL.pattern}$")
        case Uri():
            return _same(maxLength=field.max_length, pattern=f"^({URL.pattern})?$")
        case Scope():
            return _same(maxLength=field.max_length, pattern=f"^({SCOPE.pattern})?$")
        case Text(required=True):
            return _same(minLength=1, maxLength=field.max_length, pattern=_NOT_BLANK)
        case Text():
            return _same(maxLength=field.max_length, pattern=_TEXT)
        case Flag():
            return _same(type="boolean")
        case Word():
            return _word(field.vocabulary, unset=() if field.required else ("",))
        case Words():
            return _words(field.vocabulary)
        case RedirectUris():
            return Form(
                {"type": "string", "pattern": rf"^\s*({_URI}\s*(,\s*{_URI}\s*)*)?$"},
                {"type": "string", "pattern": f"^({_URI}(,{_URI})*)?$"},
            )
        case Labels():
            value = {"type": "string", "maxLength": field.max_value_length, "pattern": _TEXT}
            key = {"minLength": 1, "maxLength": field.max_key_length, "pattern": _NOT_BLANK}
            return _same(
                type="object",
                maxProperties=field.max_count,
                propertyNames=key,
                additionalProperties=value,
            )
        case Integer() | Ids() | Time():
            raise TypeError("no resource of REST has such a field")


_FORMS = {name: _form(field) for name, field in {**PROVIDER, **CLIENT_TYPE, **CLIENT}.items()}
_MINUTE = "[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}"
_TIME = _same(pattern=f"^{_MINUTE}$")
# What only responses have.
_ADDED: dict[str, Form] = {
    "ID": _same(type="integer", format="int32", minimum=1, maximum=MAX_ID),
    "CreatedAt": _TIME,
    "UpdatedAt": _TIME,
    "status": _same(const="ok"),
    "State": _word(ClientState, unset=()),
    "Message": _same(),
    "OAuthClientID": _same(),
    "OAuthClientSecret": _same(),
    "OAuthClientSecretExpiresAt": _same(pattern=f"^({_MINUTE})?$"),
    "Asked": _same(),
    "Granted": _same(),
    "Wider": _same(type="boolean"),
    "URL": _same(),
    "Body": _same(type="object"),
    "Severity": _word(FindingSeverity, unset=()),
    "Field": _same(),
    "Text": _same(),
    "Reference": _same(),
    "OK": _same(type="boolean"),
    "Outcome": _word(CheckOutcome, unset=()),
}
_BY_KEY = {SURFACE.fields[name]: form for name, form in _FORMS.items()} | _ADDED
# The words of each key with an enum, for people.
_WORDS = {
    SURFACE.fields[name]: ", ".join(f"`{spell(word)}`" for word in field.vocabulary)
    for name, field in {**PROVIDER, **CLIENT_TYPE, **CLIENT}.items()
    if isinstance(field, Word | Words)
}

_TIMES = {"CreatedAt": "2026-01-31 09:30", "UpdatedAt": "2026-02-01 17:05"}
_PROVIDER = {
    "Name": "Example Keycloak",
    "Type": "Keycloak",
    "WellKnownURL": "https://idp.example.com/realms/example/.well-known/openid-configuration",
    "SSLInsecureSkipVerify": False,
    "RegistrationAccessToken": "",
    "ID": 1,
    **_TIMES,
}
_CLIENT_TYPE = {
    "Name": "Server-side application",
    "Description": "Use this client configuration to create server-side applications"
    " that don't act on behalf of end-users",
    "ResponseTypes": "code,token",
    "GrantType": "authorization_code,refresh_token,password",
    "TokenEndpointAuthMethod": "client_secret_basic",
    "OktaAppType": "web",
    "ID": 1,
    **_TIMES,
}
_DIFFERENCE = {
    "Field": "grant_types",
    "Asked": '["authorization_code","implicit"]',
    "Granted": '["authorization_code"]',
    "Wider": False,
}
_CLIENT = {
    "Name": "Web shop",
    "RedirectURLs": "https://shop.example.com/callback",
    "Scope": "openid email",
    "Labels": {"application": "7"},
    "ID": 1,
    "State": "Active",
    "Message": "",
    "OAuthClientID": "8f1b8e7c-5d0b-4b0a-9c39-7a1de3a5a0f1",
    "OAuthClientSecret": "",
    "OAuthClientSecretExpiresAt": "",
    "Differences": [_DIFFERENCE],
    **_TIMES,
}
_FINDING = {
    "Severity": "warning",
    "Field": "GrantType",
    "Text": "the password grant must not be used",
    "Reference": "RFC 9700, section 2.4",
}
_CHECK = {"Name": "discovery", "Outcome": "ok", "Text": "the document was read"}
# By the word that a message's name begins with.
_EXAMPLES: Mapping[str, Mapping[str, Any]] = {
    "ProviderCheck": _CHECK,
    "Provider": _PROVIDER,
    "ClientType": _CLIENT_TYPE,
    "Client": _CLIENT,
    "Difference": _DIFFERENCE,
    "Preview": {
        "URL": "https://idp.example.com/realms/example/clients-registrations/openid-connect",
        "Body": {"client_name": "Web shop [2b7a4e5f6a7b]", "grant_types": ["password"]},
        "Findings": [_FINDING],
    },
    "Finding": _FINDING,
    "Check": {"OK": True, "Checks": [_CHECK]},
    "Status": {"status": "ok"},
}


def meaning(field: Field) -> str:
    """What a key means: the comment of the proto and, for an enum, the words of the domain."""
    words = _WORDS.get(field.key)
    return f"{field.comment} Values: {words}." if words else field.comment


def reference(message: str) -> Schema:
    """The schema of a message, by reference."""
    return {"$ref": f"#/components/schemas/{message}"}


def given(message: Message) -> Schema:
    """The schema of a message in a request.

    Keys that it does not have are ignored, so that a response can be sent back.
    """
    return _object(message, {field.key: _given(field) for field in message.fields}) | {
        "required": [field.key for field in message.fields if field.required],
        "propertyNames": {"minLength": 1},
    }


def in_response(message: Message) -> Schema:
    """The schema of a message in a response: every key that is not optional.

    Later versions may add keys. `true` is explicit, because some generators take its absence for
    `false` and then create clients that reject every unknown key. The tests close the schemas
    before they compare them with responses.
    """
    return _object(message, {field.key: _in_response(field) for field in message.fields}) | {
        "required": [field.key for field in message.fields if not field.optional],
        "additionalProperties": True,
    }


def example(message: Message) -> dict[str, Any]:
    """The example of a body: the fields that are set."""
    values = {field.key: _examples(message).get(field.key) for field in message.fields}
    return {key: value for key, value in values.items() if value not in (None, "", False)}


def _examples(message: Message) -> Mapping[str, Any]:
    return next(known for name, known in _EXAMPLES.items() if message.name.startswith(name))


def _object(message: Message, keys: Mapping[str, Schema]) -> Schema:
    examples = _examples(message)
    properties = {
        field.key: {
            "description": meaning(field),
            **keys[field.key],
            **({"examples": [examples[field.key]]} if field.key in examples else {}),
        }
        for field in message.fields
    }
    return {"type": "object", "description": message.comment, "properties": properties}


def _given(field: Field) -> Schema:
    schema = dict(_BY_KEY[field.key].given)
    if not field.required:  # null is how JSON may say "absent"
        schema["type"] = [schema["type"], "null"]
        if "enum" in schema:
            schema["enum"] = [*schema["enum"], None]
    if field.input_only:
        schema["writeOnly"] = True
    return schema


def _in_response(field: Field) -> Schema:
    if form := _BY_KEY.get(field.key):
        return form.in_response
    return {"type": "array", "items": reference(field.message or "")}

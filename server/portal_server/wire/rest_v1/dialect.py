"""The names and words of the REST dialect, and how it writes times and flags."""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar

from portal.rest.v1 import portal_rest_pb2 as pb
from portal_server.domain.client import CLIENT, ClientState
from portal_server.domain.client_type import CLIENT_TYPE, ResponseType
from portal_server.domain.errors import Invalid, Rule, Violation
from portal_server.domain.fields import Unknown
from portal_server.domain.provider import PROVIDER, CredentialType, ProviderType
from portal_server.wire.requests import TRUE, of_header
from portal_server.wire.status import Surface

AWord = TypeVar("AWord", bound=StrEnum)

# The fields of the domain that have another name in the protos of REST.
_FIELDS = {
    "well_known_uri": "well_known_url",
    "tls_insecure_skip_verify": "ssl_insecure_skip_verify",
    "registration_endpoint": "registration_url",
    "grant_types": "grant_type",
    "redirect_uris": "redirect_urls",
    "create_time": "created_at",
    "update_time": "updated_at",
}
# The words that the dialect spells differently. `it_token` is the contract's spelling. By type,
# because words of different types may be equal.
_WORDS: Mapping[type[StrEnum], Mapping[str, str]] = {
    ResponseType: {ResponseType.ID_TOKEN: "it_token"},
    ProviderType: {word: word.capitalize() for word in ProviderType},
    ClientState: {word: word.capitalize() for word in ClientState},
    CredentialType: {
        **{word: word.title().replace("_", "") for word in CredentialType},
        CredentialType.SSWS: "SSWS",
    },
}
# Additional spellings that requests may have.
_ALSO_READ: Mapping[str, StrEnum] = {"id_token": ResponseType.ID_TOKEN}

_MINUTE = len("2026-01-31 09:30")

_FLAGS = dict.fromkeys(("", "false", "0"), False) | dict.fromkeys(TRUE, True)


def field_name(name: str) -> str:
    """The name that the protos of REST have for a field of the domain."""
    return _FIELDS.get(name, name)


def spell(word: StrEnum) -> str:
    """The dialect's spelling of a word."""
    return _WORDS.get(type(word), {}).get(word, str(word))


_INPUTS = (
    (PROVIDER, pb.ProviderInput),
    (CLIENT_TYPE, pb.ClientTypeInput),
    (CLIENT, pb.ClientInput),
)

SURFACE = Surface(
    {
        name: message.DESCRIPTOR.fields_by_name[field_name(name)].json_name
        for table, message in _INPUTS
        for name in table
    }
    | {"request_id": "Idempotency-Key", "if_match": "If-Match"},
    spell,
    of_header,
)


@cache
def spellings(words: type[StrEnum]) -> Mapping[str, Any]:
    """The words that requests may have, by their spelling."""
    others = {text: word for text, word in _ALSO_READ.items() if isinstance(word, words)}
    return {spell(word): word for word in words} | others


def read_word(words: type[AWord], text: str) -> AWord | Unknown | None:
    """The word that a text spells; None for ""."""
    return spellings(words).get(text) or Unknown(text) if text else None


def read_words(words: type[AWord], text: str) -> tuple[AWord | Unknown, ...]:
    """The words of a comma-separated list; spaces around commas are ignored."""
    vocabulary = spellings(words)
    return tuple(vocabulary.get(part) or Unknown(part) for part in read_list(text))


def read_list(text: str) -> tuple[str, ...]:
    """The texts of a comma-separated list; spaces around commas are ignored."""
    return tuple(part.strip() for part in text.split(",")) if text.strip() else ()


def write_minute(time: datetime | None) -> str:
    """A time in UTC, `YYYY-MM-DD HH:MM`; "" for None."""
    # strftime takes five times as long.
    return time.astimezone(UTC).isoformat(" ", "minutes")[:_MINUTE] if time else ""


def read_flag(field: str, text: str) -> bool:
    """The value of a query parameter: true, false, 1 or 0 in any case; "" is false.

    Raises:
        Invalid: it has another value.
    """
    flag = _FLAGS.get(text.lower())
    if flag is None:
        raise Invalid(Violation(field, Rule.UNKNOWN_VALUE, "must be true, false, 1 or 0"))
    return flag

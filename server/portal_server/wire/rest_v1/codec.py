"""Converts resources between the domain and the messages of REST, field by field.

A field has the same name on both sides, except for those that `dialect` renames. A
value without a field in the message, such as a secret, is in no response. An optional
field is in a response only if it has a value.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

from google.protobuf.message import Message

from portal_server.domain.fields import Field, Labels, RedirectUris, Word, Words
from portal_server.wire.rest_v1.dialect import (
    field_name,
    read_list,
    read_word,
    read_words,
    spell,
    write_minute,
)

_Convert = Callable[[Any], Any]
# Callers use few combinations of words.
_KEPT = 1024


class Codec:
    """The conversions of one resource; `table` has the fields that callers can write."""

    def __init__(self, table: Mapping[str, Field], response: type[Message]) -> None:
        shown = response.DESCRIPTOR.fields_by_name
        self._readers = [(name, field_name(name), _reader(field)) for name, field in table.items()]
        self._writers: list[tuple[str, str, _Convert]] = [
            (field_name(name), name, _writer(field))
            for name, field in table.items()
            if field_name(name) in shown
        ]
        self._writers.append(("id", "id", _unchanged))
        self._writers += [
            (field_name(name), name, write_minute) for name in ("create_time", "update_time")
        ]
        self._optional = [rest for rest, _, _ in self._writers if shown[rest].has_presence]

    def draft(self, message: Message) -> dict[str, Any]:
        """The fields of a draft, by name, from a message of a request."""
        return {name: read(getattr(message, rest)) for name, rest, read in self._readers}

    def response(self, resource: object) -> dict[str, Any]:
        """The fields of a response, by name, from a stored resource."""
        values = {rest: write(getattr(resource, name)) for rest, name, write in self._writers}
        for name in self._optional:
            if not values[name]:
                del values[name]
        return values


def _reader(field: Field) -> _Convert:
    match field:
        case Word():
            return partial(read_word, field.vocabulary)
        case Words():
            return partial(read_words, field.vocabulary)
        case RedirectUris():
            return read_list
        case Labels():
            return dict
        case _:
            return _unchanged


def _writer(field: Field) -> _Convert:
    match field:
        case Word():
            return lambda word: spell(word) if word else ""
        case Words():
            return lru_cache(_KEPT)(lambda words: ",".join(map(spell, words)))
        case RedirectUris():
            return ",".join
        case _:
            return _unchanged


def _unchanged(value: Any) -> Any:
    return value

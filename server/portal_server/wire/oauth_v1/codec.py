"""Converts resources to messages and messages to drafts, field by field of the same name.

What a field is for is read from the proto once, at import (AIP-203):

OUTPUT_ONLY, IDENTIFIER   in responses only; a request's value is ignored
INPUT_ONLY                in requests only: a secret. `<name>_set` says whether there is one
any other                 in both. The etag is computed, and not part of a draft

A repeated message, such as the findings, is converted in the same way: its fields are the
attributes of the same name.

So no response can have a secret. A field of the proto that the resource, the draft or the
table of fields does not have is an error at import.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from operator import attrgetter
from typing import Any, Generic, Protocol, TypeVar, cast

from google.api.field_behavior_pb2 import (  # type: ignore[import-untyped]
    FieldBehavior,
    field_behavior,
)
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from portal.oauth.v1 import finding_pb2
from portal_server.catalog.updates import Change
from portal_server.domain.errors import Invalid, Rule, Violation
from portal_server.domain.fields import MAX_NAMED, Field, Word, Words, quote
from portal_server.wire.oauth_v1.enums import vocabulary_of

Resource = TypeVar("Resource")
Draft = TypeVar("Draft")

_ETAG = "etag"
_PACKAGE = finding_pb2.DESCRIPTOR.package
_SECRET_IS_SET = "_set"  # noqa: S105 - a suffix


class HasEtag(Protocol):
    """A resource, or a request to delete one."""

    etag: str


ResourceMessage = TypeVar("ResourceMessage", bound=Message)


class Codec(Generic[Resource, Draft, ResourceMessage]):
    """Converts one kind of resource.

    Raises:
        TypeError: the proto, the draft and the table of fields have different fields.
    """

    def __init__(
        self,
        message: type[ResourceMessage],
        resource: type[Resource],
        draft: type[Draft],
        table: Mapping[str, Field],
    ) -> None:
        self._message = message
        self._draft = draft
        self._table = table
        # The stubs of the C implementation have a descriptor type of their own.
        fields = cast(list[FieldDescriptor], list(message.DESCRIPTOR.fields))
        self.secrets = frozenset(f.name for f in fields if _has(f, FieldBehavior.INPUT_ONLY))
        """The fields that no response has."""
        readable = [f for f in fields if f.name not in self.secrets]
        sources = {f.name: self._source(f) for f in readable}
        self._names = tuple(sources)
        self._values = attrgetter(*sources.values())
        self._to_message = [(f.name, to) for f in readable if (to := self._to_field(f))]
        self._draft_names = tuple(table)
        self._draft_values = attrgetter(*table)
        self._from_message = [(name, of) for name in table if (of := _from_field(table[name]))]

        writable = {f.name for f in fields if not _is_output(f)} - {_ETAG}
        absent = {name for name in sources.values() if not hasattr(resource, name)}
        absent |= {name for name in table if not hasattr(draft, name)}
        if differing := absent | writable ^ table.keys():
            raise TypeError(f"{message.DESCRIPTOR.full_name}: differing fields {sorted(differing)}")

    def message(self, resource: Resource) -> ResourceMessage:
        """The message of a resource, without its secrets."""
        values = dict(zip(self._names, self._values(resource), strict=True))
        for name, convert in self._to_message:
            values[name] = convert(values[name])
        return self._message(**values)

    def draft(self, message: ResourceMessage) -> Draft:
        """The draft of a message: what its caller can write."""
        values = dict(zip(self._draft_names, self._draft_values(message), strict=True))
        for name, convert in self._from_message:
            values[name] = convert(values[name])
        return self._draft(**values)

    def change(self, mask: FieldMask, message: ResourceMessage) -> Change[Draft]:
        """What an update with this mask and this resource writes, and on which condition.

        Raises:
            Invalid: see `masked_fields`.
        """
        etags = etags_of(cast(HasEtag, message))
        return Change(self.draft(message), self.masked_fields(mask, message), etags)

    def masked_fields(self, mask: FieldMask, message: ResourceMessage) -> set[str]:
        """The fields that an update writes (AIP-134).

        No mask: those that are set. `*`: all. Fields that callers cannot write are
        ignored (AIP-203). A secret cannot be read back, so an empty one is written
        only if the mask has its name.

        Raises:
            Invalid: the mask has a field that the message does not have.
        """
        paths, writable = set(mask.paths), set(self._table)
        given = {field.name for field, _ in message.ListFields()}
        if not paths:
            return given & writable
        known = message.DESCRIPTOR.fields_by_name
        unknown = [path for path in mask.paths if path != "*" and path not in known]
        if unknown:
            quoted = ", ".join(map(quote, unknown[:MAX_NAMED]))
            text = f"has unknown fields: {quoted}; allowed: {', '.join(self._table)}, *"
            raise Invalid(Violation("update_mask", Rule.UNKNOWN_FIELD, text))
        if "*" in paths:
            return writable - (self.secrets - given - paths)
        return paths & writable

    def _source(self, field: FieldDescriptor) -> str:
        """The attribute of the resource that a field of the message shows."""
        secret = field.name.removesuffix(_SECRET_IS_SET)
        return secret if secret in self.secrets else field.name

    def _to_field(self, field: FieldDescriptor) -> Callable[[Any], Any] | None:
        if self._source(field) in self.secrets:
            return bool
        if field.message_type is Timestamp.DESCRIPTOR:
            return timestamp
        if nested := _nested(field):
            return _to_messages(nested)
        match self._table.get(field.name):
            case Word(vocabulary=words):
                return vocabulary_of(words).numbers.__getitem__
            case Words(vocabulary=words):
                number = vocabulary_of(words).numbers.__getitem__
                return lambda given: map(number, given)
            case _:
                return None


def etags_of(message: HasEtag) -> set[str] | None:
    """The etag that the stored resource must have, if the request has one (AIP-154)."""
    return {message.etag} if message.etag else None


def timestamp(time: datetime) -> dict[str, int]:
    """An aware time as the fields of a Timestamp."""
    return {"seconds": int(time.timestamp()), "nanos": time.microsecond * 1000}


def _from_field(field: Field) -> Callable[[Any], Any] | None:
    match field:
        case Word(vocabulary=words):
            return vocabulary_of(words).optional_word
        case Words(vocabulary=words):
            word = vocabulary_of(words).word
            return lambda numbers: tuple(map(word, numbers))
        case _:
            return None


def _nested(field: FieldDescriptor) -> Descriptor | None:
    """The type of a field that is a repeated message of this API, and not a map."""
    message = field.message_type
    if message is None or not field.is_repeated or message.GetOptions().map_entry:
        return None
    return message if message.file.package == _PACKAGE else None


def _to_messages(message: Descriptor) -> Callable[[Iterable[Any]], list[dict[str, Any]]]:
    """Converts values with the attributes of a message to the fields of messages."""
    convert = {f.name: _number if f.enum_type else _unchanged for f in message.fields}

    def fields_of(value: Any) -> dict[str, Any]:
        return {name: to(getattr(value, name)) for name, to in convert.items()}

    return lambda values: list(map(fields_of, values))


def _number(word: StrEnum) -> int:
    return vocabulary_of(type(word)).numbers[word]


def _unchanged(value: Any) -> Any:
    return value


def _is_output(field: FieldDescriptor) -> bool:
    return _has(field, FieldBehavior.OUTPUT_ONLY) or _has(field, FieldBehavior.IDENTIFIER)


def _has(field: FieldDescriptor, behavior: "FieldBehavior.ValueType") -> bool:
    return behavior in field.GetOptions().Extensions[field_behavior]

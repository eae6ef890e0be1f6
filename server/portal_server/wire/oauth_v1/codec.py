"""Converts resources to messages and messages to drafts, field by field of the same name.

What a field is for is read from the proto once, at import (AIP-203):

OUTPUT_ONLY, IDENTIFIER   in responses only; a request's value is ignored
INPUT_ONLY                in requests only: a secret. `<name>_set` says whether there is one
any other                 in both. The etag is computed, and not part of a draft

So no response can contain a secret. It is an error at import if the resource, the draft or
the table of fields does not have a field of the proto.

`Writer` converts other objects to messages: results, and the objects in them.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, Generic, Protocol, TypeVar, cast

from google.api.field_behavior_pb2 import (  # type: ignore[import-untyped]
    FieldBehavior,
    field_behavior,
)
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from portal_server.catalog.updates import Change
from portal_server.domain.errors import Invalid, Rule, Violation
from portal_server.domain.fields import (
    MAX_NAMED,
    Field,
    Ids,
    Integer,
    Labels,
    RedirectUris,
    Time,
    Unknown,
    Word,
    Words,
    quote,
)
from portal_server.wire.oauth_v1.enums import number_of, vocabulary_of

Resource = TypeVar("Resource")
Draft = TypeVar("Draft")

_ETAG = "etag"
# What each write assigns, in addition to the id and the uid.
_UPDATED = ("update_time", _ETAG)
_CREATED = ("create_time", *_UPDATED)
_SECRET_IS_SET = "_set"  # noqa: S105 - a suffix


class HasEtag(Protocol):
    """A resource, or a request to delete one."""

    etag: str


AnyMessage = TypeVar("AnyMessage", bound=Message)
ResourceMessage = TypeVar("ResourceMessage", bound=Message)


class Writer(Generic[AnyMessage]):
    """Converts objects to messages of one kind, without their secrets."""

    def __init__(self, message: type[AnyMessage]) -> None:
        self._message = message
        # The stubs of the C implementation have another type of descriptor.
        fields = cast(list[FieldDescriptor], list(message.DESCRIPTOR.fields))
        self.secrets = frozenset(f.name for f in fields if _has(f, FieldBehavior.INPUT_ONLY))
        """The fields that no response has."""
        readable = [f for f in fields if f.name not in self.secrets]
        self.sources = {f.name: self._source(f) for f in readable}
        """The attribute of the object that each field of the message shows."""
        self._names = tuple(self.sources)
        self._values = _values_of(self.sources.values())
        self._convert = [(f.name, to) for f in readable if (to := self._to_field(f))]

    def message(self, given: object) -> AnyMessage:
        """The message of an object that has an attribute for each field."""
        values = dict(zip(self._names, self._values(given), strict=True))
        for name, convert in self._convert:
            values[name] = convert(values[name])
        return self._message(**values)

    def _source(self, field: FieldDescriptor) -> str:
        secret = field.name.removesuffix(_SECRET_IS_SET)
        return secret if secret in self.secrets else field.name

    def _to_field(self, field: FieldDescriptor) -> Callable[[Any], Any] | None:
        if self._source(field) in self.secrets:
            return bool
        one = _to_value(field)
        if one is None or not field.is_repeated:
            return one
        return lambda given: map(one, given)


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
        self._draft = draft
        self._table = table
        self._writer = Writer(message)
        self.secrets = self._writer.secrets
        """The fields that no response has."""
        self._draft_names = tuple(table)
        self._draft_values = attrgetter(*table)
        self._from_message = [(name, of) for name in table if (of := _from_field(table[name]))]

        fields = cast(list[FieldDescriptor], list(message.DESCRIPTOR.fields))
        writable = {f.name for f in fields if not _is_output(f)} - {_ETAG}
        absent = {name for name in self._writer.sources.values() if not hasattr(resource, name)}
        absent |= {name for name in table if not hasattr(draft, name)}
        if differing := absent | writable ^ table.keys():
            raise TypeError(f"{message.DESCRIPTOR.full_name}: differing fields {sorted(differing)}")

    def message(self, resource: Resource) -> ResourceMessage:
        """The message of a resource, without its secrets."""
        return self._writer.message(resource)

    def draft(self, message: ResourceMessage) -> Draft:
        """The draft of a message: what its caller can write."""
        values = dict(zip(self._draft_names, self._draft_values(message), strict=True))
        for name, convert in self._from_message:
            values[name] = convert(values[name])
        return self._draft(**values)

    def change(self, mask: FieldMask, message: ResourceMessage) -> Change[Draft]:
        """What an update with this mask and this resource writes, and its condition.

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


class Write(Protocol):
    """A request that can be only validated."""

    validate_only: bool


class Create(Write, Protocol):
    """A request that creates a resource."""

    uid: str


def as_created(request: Create, message: AnyMessage) -> AnyMessage:
    """The response to a create; without what it would assign, if it is only validated (AIP-163)."""
    if request.validate_only:
        _clear(message, *_CREATED, *(() if request.uid else ("uid",)))
    return message


def as_updated(request: Write, message: AnyMessage) -> AnyMessage:
    """The response to an update; without what it would assign, if it is only validated."""
    if request.validate_only:
        _clear(message, *_UPDATED)
    return message


def _clear(message: Message, *names: str) -> None:
    for name in names:
        message.ClearField(name)


def etags_of(message: HasEtag) -> set[str] | None:
    """The etag that the stored resource must have, if the request has one (AIP-154)."""
    return {message.etag} if message.etag else None


def timestamp(time: datetime) -> Any:
    """An aware time as the fields of a Timestamp."""
    return {"seconds": int(time.timestamp()), "nanos": time.microsecond * 1000}


def _optional_timestamp(time: datetime | None) -> dict[str, int] | None:
    return timestamp(time) if time else None


def optional_time(given: Timestamp) -> datetime | Unknown | None:
    """The time of a Timestamp; None if it is not set, Unknown if it is out of range."""
    if not given.ListFields():
        return None
    try:
        return given.ToDatetime(UTC)
    except (ValueError, OverflowError):
        return Unknown(str(given.seconds))


def struct(values: Mapping[str, Any]) -> Struct:
    """JSON values as a Struct."""
    made = Struct()
    made.update(values)
    return made


def _values_of(names: Iterable[str]) -> Callable[[object], tuple[Any, ...]]:
    read = attrgetter(*names)
    several = len(tuple(names)) > 1
    return read if several else lambda given: (read(given),)


def _to_value(field: FieldDescriptor) -> Callable[[Any], Any] | None:
    """The function that converts a value to one of this field; None if it is the same."""
    if field.enum_type:
        return number_of
    kind = field.message_type
    if kind is None or kind.GetOptions().map_entry:
        return None
    if kind is Timestamp.DESCRIPTOR:
        return _optional_timestamp
    return struct if kind is Struct.DESCRIPTOR else Writer(GetMessageClass(kind)).message


def _from_field(field: Field) -> Callable[[Any], Any] | None:  # noqa: PLR0911 - a kind each
    match field:
        case Word(vocabulary=words):
            return vocabulary_of(words).optional_word
        case Words(vocabulary=words):
            word = vocabulary_of(words).word
            return lambda numbers: tuple(map(word, numbers))
        case RedirectUris() | Ids():
            return tuple
        case Labels():
            return dict
        case Integer():
            return lambda number: number or None
        case Time():
            return optional_time
        case _:
            return None


def _is_output(field: FieldDescriptor) -> bool:
    return _has(field, FieldBehavior.OUTPUT_ONLY) or _has(field, FieldBehavior.IDENTIFIER)


def _has(field: FieldDescriptor, behavior: "FieldBehavior.ValueType") -> bool:
    return behavior in field.GetOptions().Extensions[field_behavior]

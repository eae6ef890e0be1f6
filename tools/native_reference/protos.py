"""A package of protos with its comments, from a descriptor set."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from google.api.field_behavior_pb2 import (  # type: ignore[import-untyped]
    FieldBehavior,
    field_behavior,
)
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodOptions,
    ServiceDescriptorProto,
)

Path_ = tuple[int, ...]
Comments = Mapping[Path_, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A field of a message or a value of an enum.

    `type` is the name of a scalar or of a message, in full; "" for a value.
    """

    name: str
    number: int
    comment: str
    type: str = ""
    prefix: str = ""
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Type:
    """A message or an enum."""

    name: str
    comment: str
    entries: Sequence[Entry]


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A method; the types are full names."""

    name: str
    comment: str
    request: str
    response: str
    reads: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A service."""

    name: str
    comment: str
    methods: Sequence[Method]


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A package, its parts in alphabetical order."""

    name: str
    services: Sequence[Service]
    messages: Sequence[Type]
    enums: Sequence[Type]


def read_package(descriptors: Path, name: str) -> Package:
    """Read a package from a descriptor set that has the source's comments."""
    files = FileDescriptorSet.FromString(descriptors.read_bytes()).file
    services: list[Service] = []
    messages: list[Type] = []
    enums: list[Type] = []
    for file in files:
        if file.package != name:
            continue
        comments = {
            tuple(location.path): location.leading_comments
            for location in file.source_code_info.location
        }
        root = FileDescriptorProto
        services += (
            _service(service, comments, (root.SERVICE_FIELD_NUMBER, at))
            for at, service in enumerate(file.service)
        )
        messages += (
            _message(message, comments, (root.MESSAGE_TYPE_FIELD_NUMBER, at))
            for at, message in enumerate(file.message_type)
        )
        enums += (
            _enum(enum, comments, (root.ENUM_TYPE_FIELD_NUMBER, at))
            for at, enum in enumerate(file.enum_type)
        )
    return Package(
        name=name,
        services=sorted(services, key=lambda one: one.name),
        messages=sorted(messages, key=lambda one: one.name),
        enums=sorted(enums, key=lambda one: one.name),
    )


def _service(service: ServiceDescriptorProto, comments: Comments, path: Path_) -> Service:
    return Service(
        name=service.name,
        comment=comments[path],
        methods=[
            Method(
                name=method.name,
                comment=comments[*path, ServiceDescriptorProto.METHOD_FIELD_NUMBER, at],
                request=method.input_type.removeprefix("."),
                response=method.output_type.removeprefix("."),
                reads=method.options.idempotency_level == MethodOptions.NO_SIDE_EFFECTS,
            )
            for at, method in enumerate(service.method)
        ],
    )


def _message(message: DescriptorProto, comments: Comments, path: Path_) -> Type:
    maps = {each.name: each for each in message.nested_type if each.options.map_entry}
    return Type(
        name=message.name,
        comment=comments[path],
        entries=[
            _field(field, message, maps, comments[*path, DescriptorProto.FIELD_FIELD_NUMBER, at])
            for at, field in enumerate(message.field)
        ],
    )


def _field(
    field: FieldDescriptorProto,
    message: DescriptorProto,
    maps: Mapping[str, DescriptorProto],
    comment: str,
) -> Entry:
    repeated = field.label == FieldDescriptorProto.LABEL_REPEATED
    entry = maps.get(field.type_name.rpartition(".")[2])
    if entry:
        key, value = map(_type, entry.field)
        type_, prefix = f"map<{key}, {value}>", ""
    else:
        type_, prefix = _type(field), "repeated " if repeated else ""
    return Entry(
        name=field.name,
        number=field.number,
        comment=comment,
        type=type_,
        prefix=prefix,
        notes=[*_notes(field, message)],
    )


def _notes(field: FieldDescriptorProto, message: DescriptorProto) -> Iterator[str]:
    for behavior in field.options.Extensions[field_behavior]:
        yield FieldBehavior.Name(behavior).lower().replace("_", " ")
    if field.HasField("oneof_index") and not field.proto3_optional:
        yield f"one of {message.oneof_decl[field.oneof_index].name}"


def _type(field: FieldDescriptorProto) -> str:
    scalar = FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
    return field.type_name.removeprefix(".") or scalar


def _enum(enum: EnumDescriptorProto, comments: Comments, path: Path_) -> Type:
    return Type(
        name=enum.name,
        comment=comments[path],
        entries=[
            Entry(
                name=value.name,
                number=value.number,
                comment=comments[*path, EnumDescriptorProto.VALUE_FIELD_NUMBER, at],
            )
            for at, value in enumerate(enum.value)
        ],
    )

"""A REST service as its protos describe it, comments included."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from google.api.annotations_pb2 import http  # type: ignore[import-untyped]
from google.api.field_behavior_pb2 import (  # type: ignore[import-untyped]
    INPUT_ONLY,
    REQUIRED,
    field_behavior,
)
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
    MethodOptions,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A field of a message; `message` is the name of its type when that is one.

    `optional` fields are in a response only if they are set.
    """

    name: str
    key: str
    comment: str
    message: str | None
    repeated: bool
    required: bool
    input_only: bool
    optional: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message; its fields are in the order of their numbers, as Envoy writes them."""

    name: str
    comment: str
    fields: Sequence[Field]


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A method: one operation of the REST API.

    `body` is the field of the request that the body is read into, if there is one.
    """

    name: str
    comment: str
    verb: str
    path: str
    body: Field | None
    parameters: Sequence[Field]
    response: str
    returns_list: bool
    reads: bool

    @property
    def path_parameters(self) -> list[str]:
        """The parameters that the path has, in order."""
        return re.findall(r"{(\w+)}", self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A service and the messages of its package, by name, in the order of the file."""

    comment: str
    methods: Sequence[Method]
    messages: Mapping[str, Message]


def read_service(descriptors: Path, package: str, name: str) -> Service:
    """Read a service of a package from a descriptor set that has the source's comments.

    Raises:
        StopIteration: there is no such package or service.
    """
    files = FileDescriptorSet.FromString(descriptors.read_bytes()).file
    file = next(file for file in files if file.package == package)
    comments = {
        tuple(location.path): _prose(location.leading_comments)
        for location in file.source_code_info.location
    }
    messages = {message.name: message for message in _messages(file, comments)}
    at, service = next((at, it) for at, it in enumerate(file.service) if it.name == name)
    path = (FileDescriptorProto.SERVICE_FIELD_NUMBER, at)
    return Service(
        comment=comments[path],
        methods=[
            _method(method, comments[*path, 2, number], messages)
            for number, method in enumerate(service.method)
        ],
        messages=messages,
    )


def _prose(comment: str) -> str:
    """A comment's text: wrapped lines are one line, paragraphs stay apart."""
    paragraphs = re.split(r"\n\s*\n", comment.strip())
    return "\n\n".join(re.sub(r"\s*\n\s*", " ", paragraph) for paragraph in paragraphs)


def _messages(
    file: FileDescriptorProto, comments: Mapping[tuple[int, ...], str]
) -> Iterator[Message]:
    for at, message in enumerate(file.message_type):
        path = (FileDescriptorProto.MESSAGE_TYPE_FIELD_NUMBER, at)
        fields = [
            (field, comments[*path, DescriptorProto.FIELD_FIELD_NUMBER, number])
            for number, field in enumerate(message.field)
        ]
        fields.sort(key=lambda pair: pair[0].number)
        yield Message(
            name=message.name,
            comment=comments[path],
            fields=[_field(field, comment) for field, comment in fields],
        )


def _field(field: FieldDescriptorProto, comment: str) -> Field:
    behaviors = field.options.Extensions[field_behavior]
    return Field(
        name=field.name,
        key=field.json_name,
        comment=comment,
        message=field.type_name.rpartition(".")[2] or None,
        repeated=field.label == FieldDescriptorProto.LABEL_REPEATED,
        required=REQUIRED in behaviors,
        input_only=INPUT_ONLY in behaviors,
        optional=field.proto3_optional,
    )


def _method(method: MethodDescriptorProto, comment: str, messages: Mapping[str, Message]) -> Method:
    rule = method.options.Extensions[http]
    verb = rule.WhichOneof("pattern")
    request = messages[method.input_type.rpartition(".")[2]]
    response = method.output_type.rpartition(".")[2]
    # A list is a stream of parts, whose only field has the rows.
    row = messages[response].fields[0].message if method.server_streaming else None
    return Method(
        name=method.name,
        comment=comment,
        verb=verb,
        path=getattr(rule, verb),
        body=next((field for field in request.fields if field.name == rule.body), None),
        parameters=[field for field in request.fields if field.name != rule.body],
        response=row or messages[response].name,
        returns_list=method.server_streaming,
        reads=method.options.idempotency_level == MethodOptions.NO_SIDE_EFFECTS,
    )

"""Ties what the client's command line and package list by hand to the protos.

Each comparison is also made with a resource that has one more field, to show that it would fail.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import typer
from google.api.field_behavior_pb2 import (  # type: ignore[import-untyped]
    INPUT_ONLY,
    OPTIONAL,
    OUTPUT_ONLY,
    field_behavior,
)
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, FileDescriptor
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from google.protobuf.descriptor_pool import Default

import portal_client
from portal.oauth.v1 import client_type_pb2, provider_pb2
from portal.rest.v1 import portal_rest_pb2
from portal_cli import documents, output, source
from portal_cli.main import app
from portal_client import ClientType, Provider

FILES: list[FileDescriptor] = [client_type_pb2.DESCRIPTOR, provider_pb2.DESCRIPTOR]
RESOURCES = [pytest.param(kind, id=kind.__name__) for kind in (Provider, ClientType)]
DOCUMENTS: dict[type, Any] = {
    Provider: documents.ProviderDocument,
    ClientType: documents.ClientTypeDocument,
}
# Names of the REST API that its protos do not derive from the native name.
RENAMED = {
    "well_known_uri": "well_known_url",
    "tls_insecure_skip_verify": "ssl_insecure_skip_verify",
    "grant_types": "grant_type",
}
ADDED = "added"


def grown(message: Descriptor) -> Descriptor:
    """A copy of a message that has one more optional field."""
    name = f"grown.{message.name}"
    pool = Default()
    try:
        return pool.FindMessageTypeByName(name)
    except KeyError:
        pass
    copy = DescriptorProto()
    message.CopyToProto(copy)
    field = copy.field.add(
        name=ADDED,
        number=1000,
        type=FieldDescriptorProto.TYPE_STRING,
        label=FieldDescriptorProto.LABEL_OPTIONAL,
    )
    field.options.Extensions[field_behavior].append(OPTIONAL)
    file = FileDescriptorProto(name=f"grown/{name}.proto", package="grown", syntax="proto3")
    file.dependency.extend([message.file.name, *(d.name for d in message.file.dependencies)])
    file.message_type.append(copy)
    pool.AddSerializedFile(file.SerializeToString())
    return pool.FindMessageTypeByName(name)


def behaviors(field: FieldDescriptor) -> set[int]:
    return set(field.GetOptions().Extensions[field_behavior])


def writable(message: Descriptor) -> set[str]:
    """The fields that a caller sets; the etag is a condition of a write, not a value."""
    return {f.name for f in message.fields if f.name != "etag" and OUTPUT_ONLY not in behaviors(f)}


def secret(message: Descriptor) -> set[str]:
    return {f.name for f in message.fields if INPUT_ONLY in behaviors(f)}


def command(kind: type, verb: str) -> Any:
    group = {Provider: "providers", ClientType: "client-types"}[kind]
    root: Any = typer.main.get_command(app)
    return root.commands[group].commands[verb]


def options(kind: type, verb: str) -> set[str]:
    """The fields that a command has an option for. A secret is read from a file."""
    names = {one.name.removesuffix("_file") for one in command(kind, verb).params}
    return {name.rstrip("_") for name in names}


def missing_options(kind: type, message: Descriptor) -> set[str]:
    return {
        name for verb in ("create", "update") for name in writable(message) - options(kind, verb)
    }


@pytest.mark.parametrize("kind", RESOURCES)
def test_create_and_update_have_an_option_for_every_writable_field(kind: Any) -> None:
    assert missing_options(kind, kind.DESCRIPTOR) == set()
    assert missing_options(kind, grown(kind.DESCRIPTOR)) == {ADDED}


def document_difference(kind: type, message: Descriptor) -> set[str]:
    fields = set(DOCUMENTS[kind].model_fields) - {"client_types"}
    return fields ^ (writable(message) - secret(message))


@pytest.mark.parametrize("kind", RESOURCES)
def test_documents_have_every_writable_field_except_secrets(kind: Any) -> None:
    assert document_difference(kind, kind.DESCRIPTOR) == set()
    assert document_difference(kind, grown(kind.DESCRIPTOR)) == {ADDED}


def filled(kind: Any) -> Any:
    """A message in which every field has a value."""
    message = kind()
    for field in kind.DESCRIPTOR.fields:
        value: Any
        if field.message_type:
            continue
        if field.enum_type:
            value = field.enum_type.values[1].number
        else:
            value = {field.TYPE_STRING: field.name, field.TYPE_BOOL: True}.get(field.type, 7)
        if field.is_repeated:
            getattr(message, field.name).append(value)
        else:
            setattr(message, field.name, value)
    return message


def kept(message: Any) -> set[str]:
    return {field.name for field, _ in message.ListFields()}


@pytest.mark.parametrize("kind", RESOURCES)
def test_a_document_keeps_the_value_of_every_field(kind: Any) -> None:
    message = filled(kind)
    document = DOCUMENTS[kind]
    again = document.model_validate(document.of(message).model_dump()).message()

    expected = writable(kind.DESCRIPTOR) - secret(kind.DESCRIPTOR)
    assert kept(again) == expected
    assert all(getattr(again, name) == getattr(message, name) for name in expected)


@pytest.mark.parametrize("kind", RESOURCES)
def test_results_show_every_field_except_secrets(kind: Any) -> None:
    def difference(message: Descriptor) -> set[str]:
        fields = {field.name for field in message.fields} - secret(message)
        return fields ^ set(output.as_dict(filled(kind)))

    assert difference(kind.DESCRIPTOR) == set()
    assert difference(grown(kind.DESCRIPTOR)) == {ADDED}


def rest_row(message: Any) -> dict[str, Any]:
    """A resource as the REST API shows it."""
    rest = portal_rest_pb2.DESCRIPTOR.message_types_by_name[message.DESCRIPTOR.name]
    row: dict[str, Any] = {"ID": 7}
    for name in writable(message.DESCRIPTOR) - secret(message.DESCRIPTOR):
        field = message.DESCRIPTOR.fields_by_name[name]
        value = getattr(message, name)
        if field.enum_type:
            [number] = value if field.is_repeated else [value]
            prefix = field.enum_type.values[0].name.removesuffix("UNSPECIFIED")
            value = field.enum_type.values_by_number[number].name.removeprefix(prefix).lower()
        row[rest.fields_by_name[RENAMED.get(name, name)].json_name] = value
    return row


@pytest.mark.parametrize("kind", RESOURCES)
def test_an_import_keeps_the_value_of_every_field(kind: Any) -> None:
    message = filled(kind)
    row = rest_row(message)
    read: Any = source.provider(row) if kind is Provider else source.client_type(row, {})
    again = read.message()

    expected = writable(kind.DESCRIPTOR) - secret(kind.DESCRIPTOR)
    assert kept(again) == expected
    assert all(getattr(again, name) == getattr(message, name) for name in expected)


def api_names(files: list[FileDescriptor]) -> Iterator[str]:
    """The resources, the enums and their values."""
    for file in files:
        yield from (
            name for name in file.message_types_by_name if name in ("Provider", "ClientType")
        )
        for enum in file.enum_types_by_name.values():
            yield enum.name
            yield from enum_values(enum)


def enum_values(enum: EnumDescriptor) -> list[str]:
    return [value.name for value in enum.values if value.number]


def test_the_package_exports_the_resources_the_enums_and_their_values() -> None:
    assert set(api_names(FILES)) - set(portal_client.__all__) == set()


@pytest.mark.parametrize("name", portal_client.__all__)
def test_every_exported_name_exists(name: str) -> None:
    assert hasattr(portal_client, name)

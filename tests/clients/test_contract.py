"""Ties the fields that the command line handles to the protos, and the package's names too.

Each test also runs with a copy of the resource that has one more field.
"""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from google.api.field_behavior_pb2 import (  # type: ignore[import-untyped]
    INPUT_ONLY,
    OPTIONAL,
    OUTPUT_ONLY,
    field_behavior,
)
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from google.protobuf.descriptor_pool import Default
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

import portal_client
from portal.rest.v1 import portal_rest_pb2
from portal_cli import (
    client_types,
    documents,
    field_options,
    fields,
    files,
    output,
    providers,
    source,
)
from portal_client import ClientType, Provider
from tests.support.stack import ROOT
from tests.support.walk import NATIVE
from tools.cli_docs import __main__ as cli_docs

# Type checkers do not see it.
EXPORTED: set[str] = set(vars(portal_client)["__all__"])
ADDED = "added"
# Fields that the REST API names differently.
RENAMED = {
    "well_known_uri": "well_known_url",
    "tls_insecure_skip_verify": "ssl_insecure_skip_verify",
    "registration_endpoint": "registration_url",
    "grant_types": "grant_type",
}


def with_another_field(message: Descriptor) -> Any:
    """A copy of a message that has one more optional string field."""
    copy = DescriptorProto()
    message.CopyToProto(copy)
    field = copy.field.add(
        name=ADDED,
        number=1000,
        type=FieldDescriptorProto.TYPE_STRING,
        label=FieldDescriptorProto.LABEL_OPTIONAL,
    )
    field.options.Extensions[field_behavior].append(OPTIONAL)
    file = FileDescriptorProto(name=f"copy/{message.name}.proto", package="copy", syntax="proto3")
    file.dependency.extend([message.file.name, *(d.name for d in message.file.dependencies)])
    file.message_type.append(copy)
    pool = Default()
    pool.AddSerializedFile(file.SerializeToString())
    return GetMessageClass(pool.FindMessageTypeByName(f"copy.{message.name}"))


OWN: list[Any] = [Provider, ClientType]
COPIES = [with_another_field(kind.DESCRIPTOR) for kind in OWN]
KINDS = [pytest.param(kind, id=kind.DESCRIPTOR.full_name) for kind in (*OWN, *COPIES)]


def behaviors(field: FieldDescriptor) -> set[int]:
    return set(field.GetOptions().Extensions[field_behavior])


def writable(message: Descriptor) -> set[str]:
    """The fields that a caller sets. The etag is a condition of a write, not a value."""
    return {f.name for f in message.fields if f.name != "etag" and OUTPUT_ONLY not in behaviors(f)}


def secret(message: Descriptor) -> set[str]:
    return {f.name for f in message.fields if INPUT_ONLY in behaviors(f)}


def shared(message: Descriptor) -> set[str]:
    return writable(message) - secret(message)


def filled(kind: Any) -> Any:
    """A message in which every scalar field has a value."""
    message = kind()
    for field in kind.DESCRIPTOR.fields:
        if field.message_type:
            continue
        value: Any = {field.TYPE_STRING: field.name, field.TYPE_BOOL: True}.get(field.type, 7)
        if field.enum_type:
            value = field.enum_type.values[1].number
        if field.is_repeated:
            getattr(message, field.name).append(value)
        else:
            setattr(message, field.name, value)
    message.uid = "01935f5e-7a6f-7a2c-8a2e-3f2f6f0f6f6f"
    return message


def values(message: Message) -> dict[str, Any]:
    return {field.name: value for field, value in message.ListFields()}


def test_a_copy_has_one_more_field() -> None:
    for kind, copy in zip(OWN, COPIES, strict=True):
        assert writable(copy.DESCRIPTOR) - writable(kind.DESCRIPTOR) == {ADDED}
        assert ADDED in values(filled(copy))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("decorate", [field_options.for_create, field_options.for_update])
def test_a_command_has_an_option_for_every_writable_field(decorate: Any, kind: Any) -> None:
    def command(**_given: Any) -> None:
        pass

    decorated = decorate(kind.DESCRIPTOR)(command)
    names = {name.removesuffix("_file") for name in inspect.signature(decorated).parameters}
    assert names == writable(kind.DESCRIPTOR)


@pytest.mark.parametrize("kind", KINDS)
def test_an_option_sets_its_field(kind: Any) -> None:
    files = {one.name: one.from_file for one in fields.writable(kind.DESCRIPTOR)}
    options = dict.fromkeys(f"{n}_file" if files[n] else n for n in files)
    for name in shared(kind.DESCRIPTOR) - {n for n in files if files[n]}:
        [field] = [one for one in fields.of(kind.DESCRIPTOR) if one.name == name]
        text = next(iter(field.numbers), "true")
        message, named = field_options.message(kind, options | {name: text})

        assert (named, list(values(message))) == ([name], [name])


@pytest.mark.parametrize("kind", OWN)
def test_a_secret_is_read_from_a_file(kind: Any) -> None:
    files = {one.name for one in fields.writable(kind.DESCRIPTOR) if one.from_file}

    assert files >= secret(kind.DESCRIPTOR)


def test_the_certificates_of_a_provider_are_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
    written = fields.writable(Provider.DESCRIPTOR)
    options = dict.fromkeys(f"{one.name}_file" if one.from_file else one.name for one in written)
    message, named = field_options.message(Provider, options | {"ca_certificate_file": file})

    assert named == ["ca_certificate"]
    assert message.ca_certificate == file.read_text().strip()


@pytest.mark.parametrize(
    ("module", "kind"), [(providers, Provider), (client_types, ClientType)], ids=["p", "c"]
)
def test_create_and_update_have_these_options(module: Any, kind: Any) -> None:
    for command in (module.create, module.update):
        names = {name.removesuffix("_file") for name in inspect.signature(command).parameters}

        assert names > writable(kind.DESCRIPTOR)


@pytest.mark.parametrize("kind", OWN)
def test_every_writable_field_has_a_help_text(kind: Any) -> None:
    assert [one.name for one in fields.writable(kind.DESCRIPTOR) if not one.help] == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_document_keeps_the_value_of_every_field_except_secrets(kind: Any) -> None:
    message = filled(kind)
    again = documents.parse(kind, documents.plain(message))

    kept = shared(kind.DESCRIPTOR) | {"uid"}
    assert values(again) == {n: value for n, value in values(message).items() if n in kept}
    assert values(again).keys() == kept


@pytest.mark.parametrize("kind", KINDS)
def test_results_show_every_field_except_secrets(kind: Any) -> None:
    names = {field.name for field in kind.DESCRIPTOR.fields}

    assert output.as_dict(filled(kind)).keys() == names - secret(kind.DESCRIPTOR)


def rest_row(message: Message) -> dict[str, Any]:
    """A resource as the REST API shows it."""
    resource: Any = message.DESCRIPTOR
    rest = portal_rest_pb2.DESCRIPTOR.message_types_by_name[resource.name]
    row: dict[str, Any] = {"ID": 7}
    for name in shared(resource):
        enum = resource.fields_by_name[name].enum_type
        value = getattr(message, name)
        if enum:
            [number] = value if resource.fields_by_name[name].is_repeated else [value]
            prefix = enum.values[0].name.removesuffix("UNSPECIFIED")
            value = enum.values_by_number[number].name.removeprefix(prefix).lower()
        row[rest.fields_by_name[RENAMED.get(name, name)].json_name] = value
    return row


@pytest.mark.parametrize("kind", OWN)
def test_an_import_keeps_the_value_of_every_field_and_the_cid(kind: Any) -> None:
    message = filled(kind)
    row = rest_row(message) | {"CID": message.uid}
    read: Message = source.provider(row) if kind is Provider else source.client_type(row, {})

    kept = shared(kind.DESCRIPTOR) | {"uid"}
    assert values(read) == {n: value for n, value in values(message).items() if n in kept}
    assert values(read).keys() == kept


@pytest.mark.parametrize("kind", COPIES)
def test_an_import_fails_if_the_rest_api_does_not_have_a_field(kind: Any) -> None:
    [added] = [one for one in fields.of(kind.DESCRIPTOR) if one.name == ADDED]
    with pytest.raises(KeyError, match=ADDED):
        source.key(kind.DESCRIPTOR, added)


def api_names() -> Iterator[str]:
    for file in NATIVE:
        yield from file.message_types_by_name
        for enum in file.enum_types_by_name.values():
            yield enum.name
            yield from enum.values_by_name


def test_the_package_exports_every_message_enum_and_enum_value() -> None:
    assert set(api_names()) - EXPORTED == set()


@pytest.mark.parametrize("name", sorted(EXPORTED))
def test_every_exported_name_exists(name: str) -> None:
    assert hasattr(portal_client, name)


PAGE = (ROOT / "docs" / "cli.md").read_text()


def test_the_tables_of_options_on_the_page_are_current() -> None:
    assert cli_docs.current(PAGE) == PAGE, "run `python -m tools.cli_docs`"
    assert cli_docs.current(PAGE.replace("`--description`", "`--text`")) == PAGE


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_of_options_has_every_writable_field(kind: Any) -> None:
    def command(**_given: Any) -> None:
        pass

    app = typer.Typer()
    app.command()(field_options.for_create(kind.DESCRIPTOR)(command))
    names = " ".join(
        names for names, _ in cli_docs.options({"x": typer.main.get_command(app).params})
    )

    for name in writable(kind.DESCRIPTOR):
        assert f"--{name.replace('_', '-')}" in names


def test_the_file_on_the_page_is_valid() -> None:
    [text] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    [document] = files.parse(text, "page")

    assert document.provider.name == "Staff"
    assert len(document.client_types) == 1

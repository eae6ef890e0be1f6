"""YAML documents that describe a portal: read, validate, write."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import GenericAlias
from typing import Annotated, Any, Final, TypeVar
from uuid import UUID

import yaml
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    StrictBool,
    ValidationError,
    create_model,
)
from pydantic_core import ErrorDetails

from portal_cli import fields
from portal_cli.errors import CommandError
from portal_cli.fields import Field
from portal_cli.places import Place
from portal_client import ClientType, Provider

Resource = TypeVar("Resource", bound=Message)


@dataclass(slots=True)
class ProviderDocument:
    """A provider with its client types.

    The messages hold what a document says: fields that a caller can set except secrets, and the
    uid if the document has one. `place` is where the document is; None for one without a file.
    """

    provider: Provider
    client_types: Sequence[ClientType] = ()
    place: Place | None = None


# Replaces pydantic's texts that are about Python.
_TEXTS: Final = {
    "model_type": "must be a mapping",
    "extra_forbidden": "unknown field",
    "missing": "is required",
    "list_type": "must be a list",
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be an integer",
    "int_parsing": "must be an integer",
}


def validated(value: Any, place: Place) -> list[ProviderDocument]:
    """The providers of a document that was read from this place. Raises: ValidationError."""
    portal: Any = _PORTAL.model_validate(value)
    return [
        ProviderDocument(
            _message(Provider, provider),
            [_message(ClientType, client_type) for client_type in provider.client_types],
            place.of("providers", index),
        )
        for index, provider in enumerate(portal.providers)
    ]


def parse(kind: type[Resource], values: Mapping[str, Any]) -> Resource:
    """A resource from plain data. Raises: ValidationError."""
    return _message(kind, _model(kind.DESCRIPTOR).model_validate(values))


def plain(resource: Provider | ClientType) -> dict[str, Any]:
    """A resource as plain data: its uid, required fields, and other fields that are set."""
    return {"uid": resource.uid} | {
        field.name: value
        for field in fields.shared(resource.DESCRIPTOR)
        if (value := field.value(resource)) or field.required
    }


def describe(error: ValidationError) -> str:
    """One line that names each invalid field and what is wrong with it."""
    return "; ".join(
        f"{'.'.join(map(str, path)) or 'document'}: {text}" for path, text in problems(error)
    )


def problems(error: ValidationError) -> list[tuple[tuple[str | int, ...], str]]:
    """The path of each invalid field, and what is wrong with it."""
    found = []
    for part in error.errors(include_url=False):
        text = _text(part)
        if part["type"] == "extra_forbidden" and error.title == _PORTAL.__name__:
            text += f"; fields: {', '.join(FIELDS[len(part['loc'])])}"
        found.append((part["loc"], text))
    return found


def _text(error: ErrorDetails) -> str:
    return _TEXTS.get(error["type"]) or error["msg"].removeprefix("Value error, ")


def dump(document: Any) -> str:
    """YAML, in the order of the fields."""
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)


def read(file: Path) -> str:
    """The text of a file; `-` is standard input. Raises: CommandError."""
    try:
        data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        return data.decode()
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise CommandError(f"{file}:{line}: not UTF-8") from None


def _uuid(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise ValueError("must be a UUID") from None


@cache
def _model(resource: Descriptor) -> type[BaseModel]:
    """The form of a resource in a document: enums are words; validation converts them."""
    uid = Annotated[str, AfterValidator(_uuid)]
    definitions: dict[str, Any] = {
        field.name: _definition(field) for field in fields.shared(resource)
    }
    return create_model(
        resource.name,
        __config__=ConfigDict(extra="forbid"),
        uid=(uid | None, None),
        **definitions,
    )


def _definition(field: Field) -> tuple[Any, Any]:
    one: Any = StrictBool if field.type is bool else field.type
    if field.numbers:
        one = Annotated[str, AfterValidator(field.number)]
    value = _list_of(one) if field.repeated else one
    return (value, ...) if field.required else (value | None, None)


def _message(kind: type[Resource], model: BaseModel) -> Resource:
    names = _model(kind.DESCRIPTOR).model_fields
    return kind(**{name: getattr(model, name) for name in names})


def _list_of(element: Any) -> Any:
    return GenericAlias(list, (element,))


_PROVIDER: Final = create_model(
    "Provider",
    __base__=_model(Provider.DESCRIPTOR),
    client_types=(_list_of(_model(ClientType.DESCRIPTOR)), []),
)
_PORTAL: Final = create_model(
    "Portal", __config__=ConfigDict(extra="forbid"), providers=(_list_of(_PROVIDER), ...)
)
# By the number of parts of the path to a field: those of the document, a provider, a client type.
FIELDS: Final[Mapping[int, Sequence[str]]] = {
    1: list(_PORTAL.model_fields),
    3: list(_PROVIDER.model_fields),
    5: list(_model(ClientType.DESCRIPTOR).model_fields),
}

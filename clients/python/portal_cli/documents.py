"""YAML documents that describe a portal: read, validate, write."""

import sys
from collections import Counter
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
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, create_model
from pydantic_core import ErrorDetails

from portal_cli import fields
from portal_cli.errors import CommandError
from portal_cli.fields import Field
from portal_client import ClientType, Provider

Resource = TypeVar("Resource", bound=Message)


@dataclass(slots=True)
class ProviderDocument:
    """A provider with its client types.

    The messages hold what a document says: fields that a caller can set except secrets, and the
    uid if the document has one.
    """

    provider: Provider
    client_types: Sequence[ClientType] = ()


# Replaces pydantic's texts that are about Python.
_TEXTS: Final = {
    "model_type": "must be a mapping",
    "extra_forbidden": "unknown field",
    "missing": "is required",
}


class _Loader(yaml.SafeLoader):
    """Rejects duplicate keys: YAML would silently drop the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001
        """The mapping. Raises: ConstructorError."""
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"duplicate field {key.value!r}", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def load(text: str, name: str) -> list[ProviderDocument]:
    """Read a document.

    Raises:
        CommandError: invalid YAML or an invalid document; the text names the place.
    """
    try:
        # The loader is a SafeLoader.
        portal: Any = _PORTAL.model_validate(yaml.load(text, _Loader))  # noqa: S506
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise CommandError(f"{name}: {line}{error.problem}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise CommandError(f"{name}: {error}") from None
    except ValidationError as error:
        raise CommandError(f"{name}: {describe(error)}") from None
    _require_unique_uids(portal, name)
    return [
        ProviderDocument(
            _message(Provider, provider),
            [_message(ClientType, client_type) for client_type in provider.client_types],
        )
        for provider in portal.providers
    ]


def _require_unique_uids(portal: Any, name: str) -> None:
    client_types = (one for provider in portal.providers for one in provider.client_types)
    uids = Counter(one.uid for one in (*portal.providers, *client_types) if one.uid)
    for uid, count in uids.most_common(1):
        if count > 1:
            raise CommandError(f"{name}: duplicate uid {uid}")


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
        f"{'.'.join(map(str, part['loc'])) or 'document'}: {_text(part)}"
        for part in error.errors(include_url=False)
    )


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
    except UnicodeDecodeError:
        raise CommandError(f"{file}: not UTF-8") from None


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
    one: Any = Annotated[str, AfterValidator(field.number)] if field.numbers else field.type
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

"""The fields of a resource, read from the protos.

Options, documents, results and imports all use these. A new field of the protos is in all of them;
only its help text is written here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from google.api.field_behavior_pb2 import (  # type: ignore[import-untyped]
    INPUT_ONLY,
    OUTPUT_ONLY,
    REQUIRED,
    field_behavior,
)
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

_HELP: Final[Mapping[str, str]] = {
    "Provider.name": "Display name",
    "Provider.type": "Identity provider software",
    "Provider.well_known_uri": "URL of the discovery document",
    "Provider.tls_insecure_skip_verify": "Accept any TLS certificate of the provider",
    "Provider.registration_access_token": "Token that registers clients at the provider",
    "Provider.registration_endpoint": "URL where clients are registered; default: the one of the"
    " discovery document",
    "Provider.ca_certificate": "Certificates (PEM) to trust in addition to those of the system",
    "Provider.credential_type": "What the portal presents to register clients; default: chosen by"
    " the type of the provider and by what is set",
    "Provider.credential_client_id": "Client ID of the service account of client_credentials",
    "Provider.credential_client_secret": "Secret of the service account of client_credentials",
    "Provider.credential_scope": "Scope of the token of client_credentials, if the provider"
    " requires one to register clients",
    "ClientType.name": "Display name",
    "ClientType.description": "Description",
    "ClientType.response_types": "Response types that a client may request",
    "ClientType.grant_types": "Grant types that a client may use",
    "ClientType.token_endpoint_auth_method": "How a client authenticates at the token endpoint",
    "ClientType.okta_app_type": "Okta application type; required if the provider is Okta",
}
# Values of several lines.
_LONG: Final = {"Provider.ca_certificate"}
# Secrets in responses, which a command shows once.
_SECRETS: Final = {"Client.new_client_secret"}
# The types of fields that a caller can set.
_TYPES: Final[Mapping[int, type]] = {
    FieldDescriptor.TYPE_STRING: str,
    FieldDescriptor.TYPE_ENUM: str,
    FieldDescriptor.TYPE_BOOL: bool,
    FieldDescriptor.TYPE_INT32: int,
    FieldDescriptor.TYPE_INT64: int,
}
# A condition of a write (AIP-154), not a value that a caller sets.
_ETAG: Final = "etag"


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a resource.

    People write the values of an enum as the RFCs do: `pkce` is `GRANT_TYPE_PKCE`.

    Attributes:
        name: the name in the protos.
        help: what it means; no period at the end.
        type: str, bool or int; str for an enum.
        numbers: the number of each word of an enum; empty for other types.
        repeated: whether it holds a list.
        required: whether a resource cannot be created without it.
        writable: whether a caller can set it.
        secret: whether it is a secret, which results do not show.
        from_file: whether its option has the name of a file.
    """

    name: str
    help: str
    type: type
    numbers: Mapping[str, int]
    repeated: bool
    required: bool
    writable: bool
    secret: bool
    from_file: bool

    def number(self, word: str) -> int:
        """The number of an enum's word; 0 for an empty word. Raises: ValueError."""
        if word and word not in self.numbers:
            raise ValueError(f"{word!r} is not one of: {', '.join(self.numbers)}")
        return self.numbers[word] if word else 0

    def value(self, message: Message) -> Any:
        """The value in a message as plain data: enums as words, timestamps as in RFC 3339."""
        value = getattr(message, self.name)
        if isinstance(value, Mapping) and not isinstance(value, Message):
            return dict(sorted(value.items()))
        if self.repeated:
            return [self._plain(one) for one in value]
        if isinstance(value, Message) and not message.HasField(self.name):
            return None
        return self._plain(value)

    def _plain(self, value: Any) -> Any:
        if isinstance(value, Timestamp):
            return value.ToJsonString()
        if isinstance(value, Struct):
            return dict(sorted(MessageToDict(value).items()))
        if isinstance(value, Message):
            return {field.name: field.value(value) for field in of(value.DESCRIPTOR)}
        if not self.numbers:
            return value
        words = {number: word for word, number in self.numbers.items()}
        # The server may be newer and know more values: those show as their number.
        return words.get(value, str(value)) if value else None


@cache
def of(resource: Descriptor) -> tuple[Field, ...]:
    """All fields of a resource, in the order of the protos."""
    return tuple(_field(resource, descriptor) for descriptor in resource.fields)


def named(message: Descriptor, name: str) -> Field:
    """The field of a message with this name. Raises: KeyError."""
    return {field.name: field for field in of(message)}[name]


@cache
def writable(resource: Descriptor) -> tuple[Field, ...]:
    """The fields that a caller can set."""
    return tuple(field for field in of(resource) if field.writable)


@cache
def shared(resource: Descriptor) -> tuple[Field, ...]:
    """The fields that a caller can set and read back."""
    return tuple(field for field in writable(resource) if not field.secret)


def _field(resource: Descriptor, descriptor: FieldDescriptor) -> Field:
    name = f"{resource.name}.{descriptor.name}"
    behaviors = set(descriptor.GetOptions().Extensions[field_behavior])
    return Field(
        name=descriptor.name,
        help=_HELP.get(name, ""),
        type=_TYPES.get(descriptor.type, object),
        numbers=numbers(descriptor.enum_type) if descriptor.enum_type else {},
        repeated=descriptor.is_repeated,
        required=REQUIRED in behaviors,
        writable=OUTPUT_ONLY not in behaviors and descriptor.name != _ETAG,
        secret=INPUT_ONLY in behaviors or name in _SECRETS,
        from_file=INPUT_ONLY in behaviors or name in _LONG,
    )


def numbers(enum: EnumDescriptor) -> dict[str, int]:
    """The number of each word of an enum: the names of its values without their common prefix."""
    unspecified, *values = enum.values
    prefix = unspecified.name.removesuffix("UNSPECIFIED")
    return {value.name.removeprefix(prefix).lower(): value.number for value in values}

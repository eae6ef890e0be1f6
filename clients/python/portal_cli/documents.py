"""Providers and client types as people write them, in YAML, and as the messages of the API."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from portal_cli.errors import CommandError
from portal_cli.words import (
    GRANT_TYPE,
    OKTA_APP_TYPE,
    PROVIDER_TYPE,
    RESPONSE_TYPE,
    TOKEN_ENDPOINT_AUTH_METHOD,
)
from portal_client import ClientType, Provider


def _optional(check: Callable[[str], str]) -> Callable[[str | None], str | None]:
    return lambda word: check(word) if word else None


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ClientTypeDocument(_Document):
    """A client type; the words are those of RFC 7591."""

    name: str
    description: str = ""
    response_types: list[Annotated[str, AfterValidator(RESPONSE_TYPE.checked)]]
    grant_types: list[Annotated[str, AfterValidator(GRANT_TYPE.checked)]]
    token_endpoint_auth_method: Annotated[
        str | None, AfterValidator(_optional(TOKEN_ENDPOINT_AUTH_METHOD.checked))
    ] = None
    okta_app_type: Annotated[str | None, AfterValidator(_optional(OKTA_APP_TYPE.checked))] = None

    @classmethod
    def of(cls, message: ClientType) -> "ClientTypeDocument":
        """What a message says."""
        return cls.model_construct(
            name=message.name,
            description=message.description,
            response_types=RESPONSE_TYPE.words_of(message.response_types),
            grant_types=GRANT_TYPE.words_of(message.grant_types),
            token_endpoint_auth_method=TOKEN_ENDPOINT_AUTH_METHOD.word(
                message.token_endpoint_auth_method
            ),
            okta_app_type=OKTA_APP_TYPE.word(message.okta_app_type),
        )

    def message(self) -> ClientType:
        """The message."""
        return ClientType(
            name=self.name,
            description=self.description,
            response_types=RESPONSE_TYPE.numbers(self.response_types),
            grant_types=GRANT_TYPE.numbers(self.grant_types),
            token_endpoint_auth_method=TOKEN_ENDPOINT_AUTH_METHOD.number(
                self.token_endpoint_auth_method
            ),
            okta_app_type=OKTA_APP_TYPE.number(self.okta_app_type),
        )


class ProviderDocument(_Document):
    """A provider with its client types. Its registration access token is in no document."""

    name: str
    type: Annotated[str, AfterValidator(PROVIDER_TYPE.checked)]
    well_known_uri: str
    tls_insecure_skip_verify: bool = False
    client_types: list[ClientTypeDocument] = Field(default_factory=list)

    @classmethod
    def of(
        cls, message: Provider, client_types: list[ClientTypeDocument] | None = None
    ) -> "ProviderDocument":
        """What a message says."""
        return cls.model_construct(
            name=message.name,
            type=str(PROVIDER_TYPE.word(message.type)),
            well_known_uri=message.well_known_uri,
            tls_insecure_skip_verify=message.tls_insecure_skip_verify,
            client_types=client_types or [],
        )

    def message(self) -> Provider:
        """The message."""
        return Provider(
            name=self.name,
            type=PROVIDER_TYPE.number(self.type),
            well_known_uri=self.well_known_uri,
            tls_insecure_skip_verify=self.tls_insecure_skip_verify,
        )


class PortalDocument(_Document):
    """All of a portal."""

    providers: list[ProviderDocument]


# The fields of a document that a message has, too.
PROVIDER_FIELDS: Final = tuple(
    name for name in ProviderDocument.model_fields if name != "client_types"
)
CLIENT_TYPE_FIELDS: Final = tuple(ClientTypeDocument.model_fields)


# Where pydantic speaks of Python.
_OUR_WORDS: Final = {
    "model_type": "must be a mapping",
    "extra_forbidden": "there is no such key",
    "missing": "is required",
}


class _Loader(yaml.SafeLoader):
    """Refuses a key that comes twice; what stood there first would be lost in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001
        """The mapping. Raises: ConstructorError."""
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value!r} is given twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def load(text: str, name: str) -> PortalDocument:
    """Read a document.

    Raises:
        CommandError: it is no YAML, or not of this form; the text says where.
    """
    try:
        return PortalDocument.model_validate(yaml.load(text, _Loader))  # noqa: S506 - a safe one
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise CommandError(f"{name}: {line}{error.problem}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise CommandError(f"{name}: {error}") from None
    except ValidationError as error:
        raise CommandError(f"{name}: {described(error)}") from None


def described(error: ValidationError) -> str:
    """What is wrong where, in one line."""
    return "; ".join(
        f"{'.'.join(map(str, part['loc'])) or 'the document'}: {_plain(part)}"
        for part in error.errors(include_url=False)
    )


def _plain(error: ErrorDetails) -> str:
    return _OUR_WORDS.get(error["type"]) or error["msg"].removeprefix("Value error, ")


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
        raise CommandError(f"{file}: is not UTF-8") from None

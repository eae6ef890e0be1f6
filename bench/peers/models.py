"""The JSON of the peers as pydantic models: the fields and values of the REST API."""

from collections.abc import Callable, Iterable
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_pascal

from portal_server.domain.client_type import GrantType, ResponseType

AuthMethod = Literal["client_secret_basic", "client_secret_post", ""]
AppType = Literal["web", "native", "browser", "service", ""]


def _csv_of(vocabulary: Iterable[StrEnum]) -> Callable[[str], str]:
    words = {"it_token" if word == ResponseType.ID_TOKEN else str(word) for word in vocabulary}

    def check(text: str) -> str:
        parts = [part.strip() for part in text.split(",")]
        for part in parts:
            if part not in words:
                raise ValueError(f"{part!r} is not one of {', '.join(sorted(words))}")
        return ",".join(dict.fromkeys(parts))

    return check


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be blank")
    return text


def _join(value: Any) -> Any:
    return ",".join(value) if isinstance(value, list) else value


def _minute(value: Any) -> Any:
    return f"{value:%Y-%m-%d %H:%M}" if isinstance(value, datetime) else value


def _empty(value: Any) -> Any:
    return "" if value is None else value


class ClientTypeCreate(BaseModel):
    """The body of a create."""

    model_config = ConfigDict(alias_generator=to_pascal)

    name: Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_not_blank)]
    description: Annotated[str, Field(max_length=4096)] = ""
    response_types: Annotated[str, AfterValidator(_csv_of(ResponseType))]
    grant_types: Annotated[str, Field(alias="GrantType"), AfterValidator(_csv_of(GrantType))]
    token_endpoint_auth_method: AuthMethod = ""
    okta_app_type: AppType = ""


class ClientTypePublic(BaseModel):
    """A client type in a response, created from a row."""

    model_config = ConfigDict(
        alias_generator=to_pascal,
        from_attributes=True,
        validate_by_name=True,
        validate_by_alias=True,
    )

    name: str
    description: str
    response_types: Annotated[str, BeforeValidator(_join)]
    grant_types: Annotated[str, BeforeValidator(_join), Field(alias="GrantType")]
    token_endpoint_auth_method: Annotated[str, BeforeValidator(_empty)]
    okta_app_type: Annotated[str, BeforeValidator(_empty)]
    id: int = Field(alias="ID")
    create_time: Annotated[str, BeforeValidator(_minute), Field(alias="CreatedAt")]
    update_time: Annotated[str, BeforeValidator(_minute), Field(alias="UpdatedAt")]

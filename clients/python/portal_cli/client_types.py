"""`portal client-types …`."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from portal_cli import options
from portal_cli.errors import CommandError, Exit
from portal_cli.output import write_many, write_one
from portal_cli.providers import Etag, Yes, confirm
from portal_cli.words import (
    GRANT_TYPE,
    OKTA_APP_TYPE,
    RESPONSE_TYPE,
    TOKEN_ENDPOINT_AUTH_METHOD,
    Vocabulary,
)
from portal_client import ClientType

app = typer.Typer(
    help="Create, get, list, update and delete the client types of a provider.",
    no_args_is_help=True,
)


def _word(vocabulary: Vocabulary) -> Callable[[str | None], str | None]:
    def check(word: str | None) -> str | None:
        try:
            return vocabulary.checked(word) if word else word
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None

    return check


def _words(vocabulary: Vocabulary) -> Callable[[str | None], str | None]:
    check = _word(vocabulary)

    def check_all(text: str | None) -> str | None:
        for word in _split(text or ""):
            check(word)
        return text

    return check_all


def _split(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _words_option(vocabulary: Vocabulary, what: str) -> Any:
    return typer.Option(
        help=f"{what}, with commas: {', '.join(vocabulary.words)}.",
        callback=_words(vocabulary),
        autocompletion=lambda: list(vocabulary.words),
    )


def _word_option(vocabulary: Vocabulary, what: str) -> Any:
    return typer.Option(
        help=f"{what}: {', '.join(vocabulary.words)}.",
        callback=_word(vocabulary),
        autocompletion=lambda: list(vocabulary.words),
    )


ProviderId = Annotated[int, typer.Argument(help="The provider's id.", min=1, max=options.MAX_ID)]
Id = Annotated[int, typer.Argument(help="The client type's id.", min=1, max=options.MAX_ID)]
_RESPONSE_TYPES = _words_option(RESPONSE_TYPE, "What a client may ask for")
_GRANT_TYPES = _words_option(GRANT_TYPE, "How a client may obtain tokens")
Method = Annotated[
    str | None,
    _word_option(TOKEN_ENDPOINT_AUTH_METHOD, "How a client proves who it is"),
]
AppType = Annotated[str | None, _word_option(OKTA_APP_TYPE, "Okta's application type")]


def _message(
    name: str | None,
    description: str | None,
    response_types: str | None,
    grant_types: str | None,
    method: str | None,
    app_type: str | None,
) -> tuple[ClientType, list[str]]:
    """What the options say, and which fields they name."""
    given = {
        "name": name,
        "description": description,
        "response_types": _given(response_types, lambda text: RESPONSE_TYPE.numbers(_split(text))),
        "grant_types": _given(grant_types, lambda text: GRANT_TYPE.numbers(_split(text))),
        "token_endpoint_auth_method": _given(method, TOKEN_ENDPOINT_AUTH_METHOD.number),
        "okta_app_type": _given(app_type, OKTA_APP_TYPE.number),
    }
    fields = {field: value for field, value in given.items() if value is not None}
    return ClientType(**fields), list(fields)


def _given(text: str | None, make: Callable[[str], Any]) -> Any:
    return None if text is None else make(text)


@app.command()
def create(
    context: typer.Context,
    provider_id: ProviderId,
    name: Annotated[str, typer.Option(help="Shown to people.")],
    response_types: Annotated[str, _RESPONSE_TYPES],
    grant_types: Annotated[str, _GRANT_TYPES],
    description: Annotated[str, typer.Option(help="Shown to people.")] = "",
    token_endpoint_auth_method: Method = None,
    okta_app_type: AppType = None,
) -> None:
    """Create a client type."""
    message, _ = _message(
        name, description, response_types, grant_types, token_endpoint_auth_method, okta_app_type
    )
    given = options.of(context)
    with given.portal() as portal:
        write_one(portal.create_client_type(provider_id, message), given.output)


@app.command()
def get(context: typer.Context, provider_id: ProviderId, client_type_id: Id) -> None:
    """Show a client type."""
    given = options.of(context)
    with given.portal() as portal:
        write_one(portal.get_client_type(provider_id, client_type_id), given.output)


@app.command("list")
def list_(
    context: typer.Context,
    provider_id: ProviderId,
    filter_: Annotated[
        str, typer.Option("--filter", help="""As in: grant_types:GRANT_TYPE_PKCE""")
    ] = "",
) -> None:
    """List the client types of a provider."""
    given = options.of(context)
    with given.portal() as portal:
        found = portal.list_client_types(provider_id, filter=filter_)
        write_many(ClientType, found, given.output)


@app.command()
def update(
    context: typer.Context,
    provider_id: ProviderId,
    client_type_id: Id,
    name: Annotated[str | None, typer.Option(help="Shown to people.")] = None,
    description: Annotated[str | None, typer.Option(help="Shown to people.")] = None,
    response_types: Annotated[str | None, _RESPONSE_TYPES] = None,
    grant_types: Annotated[str | None, _GRANT_TYPES] = None,
    token_endpoint_auth_method: Method = None,
    okta_app_type: AppType = None,
    etag: Etag = "",
) -> None:
    """Change what the options name; everything else stays. "" clears what is optional."""
    message, fields = _message(
        name, description, response_types, grant_types, token_endpoint_auth_method, okta_app_type
    )
    if not fields:
        raise CommandError("name something to change", Exit.USAGE)
    message.provider_id, message.id, message.etag = provider_id, client_type_id, etag
    given = options.of(context)
    with given.portal() as portal:
        write_one(portal.update_client_type(message, fields=fields), given.output)


@app.command()
def delete(
    context: typer.Context,
    provider_id: ProviderId,
    client_type_id: Id,
    etag: Etag = "",
    yes: Yes = False,
) -> None:
    """Delete a client type."""
    given = options.of(context)
    with given.portal() as portal:
        found = portal.get_client_type(provider_id, client_type_id)
        confirm(f"Delete client type {found.name!r}?", yes=yes)
        portal.delete_client_type(provider_id, client_type_id, etag=etag)

"""`portal providers …`."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from portal_cli import documents, options
from portal_cli.errors import CommandError, Exit
from portal_cli.output import write_many, write_one
from portal_cli.words import PROVIDER_TYPE
from portal_client import Provider

app = typer.Typer(help="Create, get, list, update and delete providers.", no_args_is_help=True)

Id = Annotated[int, typer.Argument(help="The provider's id.", min=1, max=options.MAX_ID)]
Name = Annotated[str | None, typer.Option(help="Shown to people.")]
Type = Annotated[
    str | None,
    typer.Option(
        help=f"The software: {', '.join(PROVIDER_TYPE.words)}.",
        autocompletion=lambda: list(PROVIDER_TYPE.words),
    ),
]
WellKnownUri = Annotated[str | None, typer.Option(help="Where its metadata is: an http(s) URL.")]
SkipVerify = Annotated[bool | None, typer.Option(help="Do not check its certificate.")]
TokenFile = Annotated[
    Path | None,
    typer.Option(help="A file with the token for registering clients; - is standard input."),
]
Etag = Annotated[str, typer.Option(help="Only if this is still the stored one's etag.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def _message(
    name: str | None,
    type_: str | None,
    well_known_uri: str | None,
    skip_verify: bool | None,  # noqa: FBT001 - an option
    token_file: Path | None,
) -> tuple[Provider, list[str]]:
    """What the options say, and which fields they name."""
    if type_:
        try:
            PROVIDER_TYPE.checked(type_)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--type") from None
    given: dict[str, Any] = {
        "name": name,
        "type": PROVIDER_TYPE.number(type_) if type_ is not None else None,
        "well_known_uri": well_known_uri,
        "tls_insecure_skip_verify": skip_verify,
        "registration_access_token": documents.read(token_file).strip() if token_file else None,
    }
    fields = {field: value for field, value in given.items() if value is not None}
    return Provider(**fields), list(fields)


@app.command()
def create(
    context: typer.Context,
    name: Annotated[str, typer.Option(help="Shown to people.")],
    type_: Annotated[
        str,
        typer.Option(
            "--type",
            help=f"The software: {', '.join(PROVIDER_TYPE.words)}.",
            autocompletion=lambda: list(PROVIDER_TYPE.words),
        ),
    ],
    well_known_uri: Annotated[str, typer.Option(help="Where its metadata is: an http(s) URL.")],
    tls_insecure_skip_verify: SkipVerify = None,
    registration_access_token_file: TokenFile = None,
) -> None:
    """Create a provider."""
    message, _ = _message(
        name, type_, well_known_uri, tls_insecure_skip_verify, registration_access_token_file
    )
    given = options.of(context)
    with given.portal() as portal:
        write_one(portal.create_provider(message), given.output)


@app.command()
def get(context: typer.Context, provider_id: Id) -> None:
    """Show a provider."""
    given = options.of(context)
    with given.portal() as portal:
        write_one(portal.get_provider(provider_id), given.output)


@app.command("list")
def list_(
    context: typer.Context,
    filter_: Annotated[
        str, typer.Option("--filter", help="""As in: type = PROVIDER_TYPE_OKTA AND name:"Staff" """)
    ] = "",
) -> None:
    """List the providers."""
    given = options.of(context)
    with given.portal() as portal:
        write_many(Provider, portal.list_providers(filter=filter_), given.output)


@app.command()
def update(
    context: typer.Context,
    provider_id: Id,
    name: Name = None,
    type_: Annotated[
        str | None,
        typer.Option(
            "--type",
            help=f"The software: {', '.join(PROVIDER_TYPE.words)}.",
            autocompletion=lambda: list(PROVIDER_TYPE.words),
        ),
    ] = None,
    well_known_uri: WellKnownUri = None,
    tls_insecure_skip_verify: SkipVerify = None,
    registration_access_token_file: TokenFile = None,
    etag: Etag = "",
) -> None:
    """Change what the options name; everything else stays."""
    message, fields = _message(
        name, type_, well_known_uri, tls_insecure_skip_verify, registration_access_token_file
    )
    if not fields:
        raise CommandError("name something to change", Exit.USAGE)
    message.id, message.etag = provider_id, etag
    given = options.of(context)
    with given.portal() as portal:
        write_one(portal.update_provider(message, fields=fields), given.output)


@app.command()
def delete(context: typer.Context, provider_id: Id, etag: Etag = "", yes: Yes = False) -> None:
    """Delete a provider with all its client types."""
    given = options.of(context)
    with given.portal() as portal:
        found = portal.get_provider(provider_id)
        confirm(f"Delete provider {found.name!r} with its client types?", yes=yes)
        portal.delete_provider(provider_id, etag=etag)


def confirm(question: str, *, yes: bool) -> None:
    """Ask, unless that is settled.

    Raises:
        typer.Abort: the answer is no.
        CommandError: there is nobody to ask.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise CommandError("there is nobody to ask: give --yes", Exit.USAGE)
    typer.confirm(question, abort=True, err=True)

"""`portal client-types …`."""

from typing import Annotated, Any

import typer

from portal_cli import field_options, options
from portal_cli.options import Etag, Uid, Yes, confirm
from portal_cli.output import write_many, write_one
from portal_client import ClientType

app = typer.Typer(
    help="Create, get, list, update and delete the client types of a provider.",
    no_args_is_help=True,
)

ProviderId = Annotated[int, typer.Argument(help="ID of the provider.", min=1, max=options.MAX_ID)]
Id = Annotated[int, typer.Argument(help="ID of the client type.", min=1, max=options.MAX_ID)]


@app.command()
@field_options.for_create(ClientType.DESCRIPTOR)
def create(context: typer.Context, provider_id: ProviderId, uid: Uid = "", **given: Any) -> None:
    """Create a client type."""
    message, _ = field_options.message(ClientType, given)
    common = options.of(context)
    with common.portal() as portal:
        write_one(portal.create_client_type(provider_id, message, uid=uid), common.output)


@app.command()
def get(context: typer.Context, provider_id: ProviderId, client_type_id: Id) -> None:
    """Show a client type."""
    common = options.of(context)
    with common.portal() as portal:
        write_one(portal.get_client_type(provider_id, client_type_id), common.output)


@app.command("list")
def list_(
    context: typer.Context,
    provider_id: ProviderId,
    filter_: Annotated[
        str,
        typer.Option("--filter", help="AIP-160 filter, such as grant_types:GRANT_TYPE_PKCE."),
    ] = "",
) -> None:
    """List the client types of a provider."""
    common = options.of(context)
    with common.portal() as portal:
        found = portal.list_client_types(provider_id, filter=filter_)
        write_many(ClientType, found, common.output)


@app.command()
@field_options.for_update(ClientType.DESCRIPTOR)
def update(
    context: typer.Context,
    provider_id: ProviderId,
    client_type_id: Id,
    etag: Etag = "",
    **given: Any,
) -> None:
    """Change the given fields of a client type. An empty value clears an optional field."""
    message, names = field_options.message(ClientType, given)
    options.require_change(names)
    message.provider_id, message.id, message.etag = provider_id, client_type_id, etag
    common = options.of(context)
    with common.portal() as portal:
        write_one(portal.update_client_type(message, fields=names), common.output)


@app.command()
def delete(
    context: typer.Context,
    provider_id: ProviderId,
    client_type_id: Id,
    etag: Etag = "",
    yes: Yes = False,
) -> None:
    """Delete a client type."""
    common = options.of(context)
    with common.portal() as portal:
        found = portal.get_client_type(provider_id, client_type_id)
        confirm(f"Delete client type {found.name!r}?", yes=yes)
        portal.delete_client_type(provider_id, client_type_id, etag=etag)

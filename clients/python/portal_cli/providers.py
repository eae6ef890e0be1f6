"""`portal providers …`."""

from typing import Annotated, Any

import typer

from portal_cli import field_options, options
from portal_cli.options import Etag, Uid, Yes, confirm
from portal_cli.output import write_many, write_one
from portal_client import Provider

app = typer.Typer(help="Create, get, list, update and delete providers.", no_args_is_help=True)

Id = Annotated[int, typer.Argument(help="ID of the provider.", min=1, max=options.MAX_ID)]


@app.command()
@field_options.for_create(Provider.DESCRIPTOR)
def create(context: typer.Context, uid: Uid = "", **given: Any) -> None:
    """Create a provider."""
    message, _ = field_options.message(Provider, given)
    common = options.of(context)
    with common.portal() as portal:
        write_one(portal.create_provider(message, uid=uid), common.output)


@app.command()
def get(context: typer.Context, provider_id: Id) -> None:
    """Show a provider."""
    common = options.of(context)
    with common.portal() as portal:
        write_one(portal.get_provider(provider_id), common.output)


@app.command("list")
def list_(
    context: typer.Context,
    filter_: Annotated[
        str,
        typer.Option(
            "--filter", help='AIP-160 filter, such as type = PROVIDER_TYPE_OKTA AND name:"Staff".'
        ),
    ] = "",
) -> None:
    """List the providers."""
    common = options.of(context)
    with common.portal() as portal:
        write_many(Provider, portal.list_providers(filter=filter_), common.output)


@app.command()
@field_options.for_update(Provider.DESCRIPTOR)
def update(context: typer.Context, provider_id: Id, etag: Etag = "", **given: Any) -> None:
    """Change the given fields of a provider."""
    message, names = field_options.message(Provider, given)
    options.require_change(names)
    message.id, message.etag = provider_id, etag
    common = options.of(context)
    with common.portal() as portal:
        write_one(portal.update_provider(message, fields=names), common.output)


@app.command()
def delete(context: typer.Context, provider_id: Id, etag: Etag = "", yes: Yes = False) -> None:
    """Delete a provider and all its client types."""
    common = options.of(context)
    with common.portal() as portal:
        found = portal.get_provider(provider_id)
        confirm(f"Delete provider {found.name!r} and its client types?", yes=yes)
        portal.delete_provider(provider_id, etag=etag)

"""`portal providers …`."""

from typing import Annotated, Any

import typer

from portal_cli import field_options, options
from portal_cli.arguments import ProviderId
from portal_cli.commands import Commands
from portal_cli.errors import CommandError
from portal_cli.options import Etag, Force, Uid, Yes, confirm
from portal_cli.output import as_dict, write_many, write_one, write_rows
from portal_client import Provider

app = Commands(help="Create, get, list, update, delete, check and forget providers.")


@app.command(
    examples=(
        "portal providers create --name Staff --type keycloak \\",
        "    --well-known-uri https://id.example.com/.well-known/openid-configuration",
    )
)
@field_options.for_create(Provider.DESCRIPTOR)
def create(context: typer.Context, uid: Uid = "", **given: Any) -> None:
    """Create a provider."""
    message, _ = field_options.message(Provider, given)
    common = options.of(context)
    with common.portal() as portal:
        write_one(portal.create_provider(message, uid=uid), common.output)


@app.command(examples=("portal providers get 1 -o yaml",))
def get(context: typer.Context, provider_id: ProviderId) -> None:
    """Show a provider."""
    common = options.of(context)
    with common.portal() as portal:
        write_one(portal.get_provider(provider_id), common.output)


@app.command(
    "list",
    examples=(
        "portal providers list",
        "portal providers list --filter 'type = PROVIDER_TYPE_OKTA' -o json",
    ),
)
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


@app.command(
    examples=(
        "portal providers update 1 --name Employees",
        "portal providers update 1 --registration-access-token-file - <token",
    )
)
@field_options.for_update(Provider.DESCRIPTOR)
def update(context: typer.Context, provider_id: ProviderId, etag: Etag = "", **given: Any) -> None:
    """Change the given fields of a provider."""
    message, names = field_options.message(Provider, given)
    options.require_change(names)
    message.id, message.etag = provider_id, etag
    common = options.of(context)
    with common.portal() as portal:
        write_one(portal.update_provider(message, fields=names), common.output)


@app.command(examples=("portal providers delete 1",))
def delete(
    context: typer.Context,
    provider_id: ProviderId,
    force: Force = False,
    etag: Etag = "",
    yes: Yes = False,
) -> None:
    """Delete a provider and all its client types."""
    common = options.of(context)
    with common.portal() as portal:
        found = portal.get_provider(provider_id)
        what = "client types and clients" if force else "client types"
        confirm(f"Delete provider {found.name!r} and its {what}?", yes=yes)
        portal.delete_provider(provider_id, force=force, etag=etag)


@app.command(examples=("portal providers check 1",))
def check(context: typer.Context, provider_id: ProviderId) -> None:
    """Check whether clients can be registered at a provider."""
    common = options.of(context)
    with common.portal() as portal:
        result = portal.check_provider(provider_id)
    write_rows([as_dict(one) for one in result.checks], ("name", "outcome", "text"), common.output)
    if not result.ok:
        raise CommandError("a check has failed")


@app.command(examples=("portal providers forget 1 -o json >left-behind.json",))
def forget(
    context: typer.Context, provider_id: ProviderId, etag: Etag = "", yes: Yes = False
) -> None:
    """Delete a provider that no longer exists; list the clients that may still exist there."""
    common = options.of(context)
    with common.portal() as portal:
        found = portal.get_provider(provider_id)
        confirm(f"Delete provider {found.name!r} and its clients, but only here?", yes=yes)
        forgotten = portal.forget_provider(provider_id, etag=etag)
    columns = ("client_name", "client_id", "registration_client_uri")
    write_rows([as_dict(one) for one in forgotten], columns, common.output)

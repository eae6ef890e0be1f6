"""`portal client-types …`."""

from typing import Annotated, Any

import typer

from portal_cli import field_options, options
from portal_cli.arguments import ClientTypeId, ProviderId
from portal_cli.client_options import Labels, Name, RedirectUris, Scope, client_message
from portal_cli.commands import Commands
from portal_cli.errors import CommandError
from portal_cli.options import Etag, Force, Output, Uid, Yes, confirm
from portal_cli.output import (
    as_dict,
    report_findings,
    write_many,
    write_one,
    write_values,
)
from portal_client import FINDING_SEVERITY_ERROR, ClientType

app = Commands(
    help="Create, get, list, update, delete and preview the client types of a provider.",
)


@app.command(
    examples=(
        "portal client-types create 1 --name 'Single-page application' \\",
        "    --response-types code --grant-types pkce,refresh_token",
    )
)
@field_options.for_create(ClientType.DESCRIPTOR)
def create(context: typer.Context, provider_id: ProviderId, uid: Uid = "", **given: Any) -> None:
    """Create a client type."""
    message, _ = field_options.message(ClientType, given)
    common = options.of(context)
    with common.portal() as portal:
        write_one(portal.create_client_type(provider_id, message, uid=uid), common.output)


@app.command(examples=("portal client-types get 1 7",))
def get(context: typer.Context, provider_id: ProviderId, client_type_id: ClientTypeId) -> None:
    """Show a client type."""
    common = options.of(context)
    with common.portal() as portal:
        write_one(portal.get_client_type(provider_id, client_type_id), common.output)


@app.command(
    "list",
    examples=(
        "portal client-types list 1",
        "portal client-types list 1 --filter 'grant_types:GRANT_TYPE_PKCE' -o json",
    ),
)
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


@app.command(
    examples=(
        "portal client-types update 1 7 --grant-types pkce",
        "portal client-types update 1 7 --description ''",
    )
)
@field_options.for_update(ClientType.DESCRIPTOR)
def update(
    context: typer.Context,
    provider_id: ProviderId,
    client_type_id: ClientTypeId,
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


@app.command(examples=("portal client-types delete 1 7 --yes",))
def delete(
    context: typer.Context,
    provider_id: ProviderId,
    client_type_id: ClientTypeId,
    force: Force = False,
    etag: Etag = "",
    yes: Yes = False,
) -> None:
    """Delete a client type."""
    common = options.of(context)
    with common.portal() as portal:
        found = portal.get_client_type(provider_id, client_type_id)
        confirm(f"Delete client type {found.name!r}{' and its clients' if force else ''}?", yes=yes)
        portal.delete_client_type(provider_id, client_type_id, force=force, etag=etag)


@app.command(examples=("portal client-types preview 1 7 --name 'Web shop' -o json",))
def preview(
    context: typer.Context,
    provider_id: ProviderId,
    client_type_id: ClientTypeId,
    name: Name,
    redirect_uris: RedirectUris = "",
    scope: Scope = "",
    label: Labels = None,
) -> None:
    """Show what a registration would send to the provider, and what is wrong about it."""
    message, _ = client_message(name, redirect_uris, scope, label)
    common = options.of(context)
    with common.portal() as portal:
        found = portal.preview_registration(provider_id, client_type_id, message)
    values = as_dict(found)
    if common.output is Output.TABLE:
        values = {"uri": values["uri"], **values["metadata"]}
        report_findings(found.findings)
    write_values(values, common.output)
    if any(finding.severity == FINDING_SEVERITY_ERROR for finding in found.findings):
        raise CommandError("clients of this type cannot be registered")

"""`portal client-types …`."""

from typing import Annotated, Any

import typer

from portal_cli import field_options, options, references
from portal_cli.arguments import ClientTypeRef, ProviderRef
from portal_cli.client_options import Labels, Name, RedirectUris, Scope, client_message
from portal_cli.commands import Commands
from portal_cli.errors import CommandError
from portal_cli.options import Etag, Force, Output, Uid, Yes, confirm
from portal_cli.output import (
    as_dict,
    report,
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
def create(context: typer.Context, provider: ProviderRef, uid: Uid = "", **given: Any) -> None:
    """Create a client type."""
    message, _ = field_options.message(ClientType, given)
    common = options.of(context)
    with common.portal() as portal:
        provider_id = references.provider(portal, provider)
        write_one(portal.create_client_type(provider_id, message, uid=uid), common.output)


@app.command(examples=("portal client-types get 1 7", "portal client-types get Staff Service"))
def get(context: typer.Context, provider: ProviderRef, client_type: ClientTypeRef) -> None:
    """Show a client type."""
    common = options.of(context)
    with common.portal() as portal:
        ids = references.client_type(portal, provider, client_type)
        write_one(portal.get_client_type(*ids), common.output)


@app.command(
    "list",
    examples=(
        "portal client-types list 1",
        "portal client-types list 1 --filter 'grant_types:GRANT_TYPE_PKCE' -o json",
    ),
)
def list_(
    context: typer.Context,
    provider: ProviderRef,
    filter_: Annotated[
        str,
        typer.Option("--filter", help="AIP-160 filter, such as grant_types:GRANT_TYPE_PKCE."),
    ] = "",
) -> None:
    """List the client types of a provider."""
    common = options.of(context)
    with common.portal() as portal:
        provider_id = references.provider(portal, provider)
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
    provider: ProviderRef,
    client_type: ClientTypeRef,
    etag: Etag = "",
    **given: Any,
) -> None:
    """Change the given fields of a client type. An empty value clears an optional field."""
    message, names = field_options.message(ClientType, given)
    options.require_change(names)
    message.etag = etag
    common = options.of(context)
    with common.portal() as portal:
        message.provider_id, message.id = references.client_type(portal, provider, client_type)
        write_one(portal.update_client_type(message, fields=names), common.output)


@app.command(examples=("portal client-types delete 1 7 --yes",))
def delete(
    context: typer.Context,
    provider: ProviderRef,
    client_type: ClientTypeRef,
    force: Force = False,
    etag: Etag = "",
    yes: Yes = False,
) -> None:
    """Delete a client type."""
    common = options.of(context)
    with common.portal() as portal:
        ids = references.client_type(portal, provider, client_type)
        found = portal.get_client_type(*ids)
        what = f"client type {found.name!r}{' and its clients' if force else ''}"
        confirm(f"Delete {what}?", yes=yes)
        portal.delete_client_type(*ids, force=force, etag=etag)
    report(f"deleted {what}")


@app.command(examples=("portal client-types preview 1 7 --name 'Web shop' -o json",))
def preview(
    context: typer.Context,
    provider: ProviderRef,
    client_type: ClientTypeRef,
    name: Name,
    redirect_uris: RedirectUris = "",
    scope: Scope = "",
    label: Labels = None,
) -> None:
    """Show what a registration would send to the provider, and what is wrong about it."""
    message, _ = client_message(name, redirect_uris, scope, label)
    common = options.of(context)
    with common.portal() as portal:
        ids = references.client_type(portal, provider, client_type)
        found = portal.preview_registration(*ids, message)
    values = as_dict(found)
    if common.output is Output.TABLE:
        values = {"uri": values["uri"], **values["metadata"]}
        report_findings(found.findings)
    write_values(values, common.output)
    if any(finding.severity == FINDING_SEVERITY_ERROR for finding in found.findings):
        raise CommandError("clients of this type cannot be registered")

"""`portal providers …`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from portal_cli import field_options, files, options, references
from portal_cli.arguments import ProviderRef, provider_argument
from portal_cli.commands import Commands
from portal_cli.errors import CommandError, Exit
from portal_cli.options import Etag, Force, Uid, Yes, confirm
from portal_cli.output import as_dict, report, write_many, write_one, write_rows
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


@app.command(examples=("portal providers get 1 -o yaml", "portal providers get Staff"))
def get(context: typer.Context, provider: ProviderRef) -> None:
    """Show a provider."""
    common = options.of(context)
    with common.portal() as portal:
        write_one(portal.get_provider(references.provider(portal, provider)), common.output)


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
def update(context: typer.Context, provider: ProviderRef, etag: Etag = "", **given: Any) -> None:
    """Change the given fields of a provider."""
    message, names = field_options.message(Provider, given)
    options.require_change(names)
    message.etag = etag
    common = options.of(context)
    with common.portal() as portal:
        message.id = references.provider(portal, provider)
        write_one(portal.update_provider(message, fields=names), common.output)


@app.command(examples=("portal providers delete 1",))
def delete(
    context: typer.Context,
    provider: ProviderRef,
    force: Force = False,
    etag: Etag = "",
    yes: Yes = False,
) -> None:
    """Delete a provider and all its client types."""
    common = options.of(context)
    with common.portal() as portal:
        found = portal.get_provider(references.provider(portal, provider))
        what = "client types and clients" if force else "client types"
        confirm(f"Delete provider {found.name!r} and its {what}?", yes=yes)
        portal.delete_provider(found.id, force=force, etag=etag)
    report(f"deleted provider {found.name!r} ({found.id}) and its {what}")


@app.command(
    examples=(
        "portal providers check 1",
        "portal providers check --name Staff --type keycloak \\",
        "    --well-known-uri https://id.example.com/.well-known/openid-configuration",
        "portal providers check -f portal.yaml \\",
        "    --registration-access-token-file - <token",
    )
)
@field_options.for_update(Provider.DESCRIPTOR)
def check(
    context: typer.Context,
    provider: Annotated[str, provider_argument(", if it is stored")] = "",
    file: Annotated[
        list[Path] | None,
        typer.Option("--file", "-f", help="Check the providers of a file, as of `portal apply`."),
    ] = None,
    **given: Any,
) -> None:
    """Check whether clients can be registered at a provider.

    Without PROVIDER, one that is not stored is checked: that of the options, as of `providers
    create`, or those of files. A file has no secrets; options add them.
    """
    message, names = field_options.message(Provider, given)
    if bool(provider) == bool(names or file):
        raise CommandError("give either PROVIDER, or options or --file", Exit.USAGE)
    drafts = [message]
    if file:
        drafts = [document.provider for document in files.load(file)]
        for draft in drafts:
            draft.MergeFrom(message)
    common = options.of(context)
    with common.portal() as portal:
        checked: list[int | Provider] = [*drafts]
        if provider:
            checked = [references.provider(portal, provider)]
        results = [(one, portal.check_provider(one)) for one in checked]
    rows, columns = [], ["name", "outcome", "text"]
    if len(results) > 1:
        columns.insert(0, "provider")
    for one, result in results:
        which = {"provider": one.name} if isinstance(one, Provider) and len(results) > 1 else {}
        rows += [which | as_dict(each) for each in result.checks]
    write_rows(rows, columns, common.output, what="checks")
    if not all(result.ok for _, result in results):
        raise CommandError("a check has failed")


@app.command(examples=("portal providers forget 1 -o json >left-behind.json",))
def forget(
    context: typer.Context, provider: ProviderRef, etag: Etag = "", yes: Yes = False
) -> None:
    """Delete a provider that no longer exists; list the clients that may still exist there."""
    common = options.of(context)
    with common.portal() as portal:
        found = portal.get_provider(references.provider(portal, provider))
        confirm(f"Delete provider {found.name!r} and its clients, but only here?", yes=yes)
        forgotten = portal.forget_provider(found.id, etag=etag)
    columns = ("client_name", "client_id", "registration_client_uri")
    write_rows([as_dict(one) for one in forgotten], columns, common.output, what="clients")
    report(f"deleted provider {found.name!r} ({found.id}) and its clients, only here")

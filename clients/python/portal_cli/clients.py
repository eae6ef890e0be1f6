"""`portal clients …`."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from portal.oauth.v1.client_pb2 import ResolveClientRequest
from portal_cli import completing, documents, field_options, fields, options, references
from portal_cli.arguments import (
    ClientRef,
    ClientTypeRef,
    ProviderRef,
    client_argument,
    provider_argument,
)
from portal_cli.client_options import (
    Labels,
    Name,
    NewName,
    NewRedirectUris,
    NewScope,
    RedirectUris,
    Scope,
    client_message,
)
from portal_cli.commands import Commands
from portal_cli.errors import CommandError
from portal_cli.options import Etag, Yes, confirm
from portal_cli.output import as_dict, report, report_findings, write_many, write_one, write_rows
from portal_client import Client, NotFound, Portal, PortalError

app = Commands(help="Register clients at identity providers, and manage them there.")

SecretFile = Annotated[
    Path | None,
    typer.Option(help="New file, readable only by you, for the secret; default: standard output."),
]

_CHECKED: Final = ("provider_id", "id", "name", "state", "differences", "message")
_RESOLUTION: Final = fields.named(ResolveClientRequest.DESCRIPTOR, "resolution")


@app.command(
    examples=(
        "portal clients register 1 7 --name 'Web shop' \\",
        "    --redirect-uris https://shop.example.com/cb --secret-file shop.secret",
    )
)
def register(
    context: typer.Context,
    provider: ProviderRef,
    client_type: ClientTypeRef,
    name: Name,
    redirect_uris: RedirectUris = "",
    scope: Scope = "",
    label: Labels = None,
    secret_file: SecretFile = None,
) -> None:
    """Register a client at the provider. The secret is shown once.

    Exit code 1 if it is not known whether the client was registered.
    """
    message, _ = client_message(name, redirect_uris, scope, label)
    common = options.of(context)
    with common.portal() as portal, _secret(secret_file) as secret:
        ids = references.client_type(portal, provider, client_type)
        registered = portal.register_client(*ids, message)
        report_findings(registered.findings)
        more = secret.taken(registered.client_secret)
        write_one(registered.client, common.output, **more)
    found = as_dict(registered.client)
    if found["state"] != "active":
        raise CommandError(f"client {found['id']} is {found['state']}: {found['message']}")


@app.command(examples=("portal clients get 1 12", "portal clients get Staff 'Web shop'"))
def get(context: typer.Context, provider: ProviderRef, client: ClientRef) -> None:
    """Show a client, without its secret."""
    common = options.of(context)
    with common.portal() as portal:
        write_one(portal.get_client(*references.client(portal, provider, client)), common.output)


@app.command(
    "list",
    examples=(
        "portal clients list 1",
        "portal clients list 1 --filter 'state = CLIENT_STATE_ACTIVE' -o json",
    ),
)
def list_(
    context: typer.Context,
    provider: ProviderRef,
    client_type: Annotated[
        str, typer.Option(help="Only clients of this client type: its ID, uid or exact name.")
    ] = "",
    filter_: Annotated[
        str,
        typer.Option("--filter", help="AIP-160 filter, such as state = CLIENT_STATE_ACTIVE."),
    ] = "",
) -> None:
    """List the clients of a provider."""
    common = options.of(context)
    with common.portal() as portal:
        provider_id, client_type_id = (
            references.client_type(portal, provider, client_type)
            if client_type
            else (references.provider(portal, provider), 0)
        )
        found = portal.list_clients(provider_id, client_type_id=client_type_id, filter=filter_)
        write_many(Client, found, common.output)


@app.command(examples=("portal clients update 1 12 --name Shop --label team=web",))
def update(
    context: typer.Context,
    provider: ProviderRef,
    client: ClientRef,
    name: NewName = None,
    redirect_uris: NewRedirectUris = None,
    scope: NewScope = None,
    label: Labels = None,
    etag: Etag = "",
    secret_file: SecretFile = None,
) -> None:
    """Change the given fields of a client. Labels are replaced as a whole; '' clears them.

    If the provider replaces the secret, the new one is shown once.
    """
    message, names = client_message(name, redirect_uris, scope, label)
    options.require_change(names)
    message.etag = etag
    common = options.of(context)
    with common.portal() as portal, _secret(secret_file) as secret:
        message.provider_id, message.id = references.client(portal, provider, client)
        updated = portal.update_client(message, fields=names)
        write_one(updated, common.output, **secret.taken(updated.new_client_secret))


@app.command(examples=("portal clients rotate 1 12 --secret-file shop.secret.new",))
def rotate(
    context: typer.Context,
    provider: ProviderRef,
    client: ClientRef,
    etag: Etag = "",
    secret_file: SecretFile = None,
) -> None:
    """Replace the secret of a client. The new secret is shown once."""
    common = options.of(context)
    with common.portal() as portal, _secret(secret_file) as secret:
        ids = references.client(portal, provider, client)
        rotated = portal.rotate_client_secret(*ids, etag=etag)
        write_one(rotated.client, common.output, **secret.taken(rotated.client_secret))


@app.command(examples=("portal clients delete 1 12",))
def delete(
    context: typer.Context,
    provider: ProviderRef,
    client: ClientRef,
    force: Annotated[
        bool, typer.Option("--force", help="Delete it here even if the provider rejects that.")
    ] = False,
    etag: Etag = "",
    yes: Yes = False,
) -> None:
    """Delete a client at the provider, then here."""
    common = options.of(context)
    with common.portal() as portal:
        ids = references.client(portal, provider, client)
        found = portal.get_client(*ids)
        confirm(f"Delete client {found.name!r}?", yes=yes)
        portal.delete_client(*ids, force=force, etag=etag)
    report(f"deleted client {found.name!r} ({found.id})")


@app.command(
    examples=(
        "portal clients check       # all providers",
        "portal clients check 1 12",
    )
)
def check(
    context: typer.Context,
    provider: Annotated[str, provider_argument("; default: all")] = "",
    client: Annotated[str, client_argument("; default: all")] = "",
) -> None:
    """Compare clients with their providers, and show where they differ.

    Exit code 1 if a client is not active, could not be read, or differs.
    """
    common = options.of(context)
    with common.portal() as portal:
        if client:
            checked = [_checked(portal, *references.client(portal, provider, client))]
        else:
            ids = (
                [references.provider(portal, provider)]
                if provider
                else [one.id for one in portal.list_providers()]
            )
            checked = [
                _checked(portal, id_, one.id) for id_ in ids for one in portal.list_clients(id_)
            ]
    write_rows(checked, _CHECKED, common.output, what="clients")
    drifted = sum(row["state"] != "active" or bool(row["differences"]) for row in checked)
    if drifted:
        raise CommandError(f"{drifted} of {len(checked)} clients need attention")


def _checked(portal: Portal, provider_id: int, client_id: int) -> dict[str, Any]:
    """The result of the check of one client; an error is its message."""
    try:
        row = as_dict(portal.check_client(provider_id, client_id))
    except NotFound:
        raise
    except PortalError as error:
        row = as_dict(portal.get_client(provider_id, client_id)) | {"message": str(error)}
        row["state"] = "not checked" if row["state"] == "active" else row["state"]
    return row


@app.command(
    examples=(
        "portal clients resolve 1 12 gone",
        "portal clients resolve 1 12 adopt --client-id s6BhdRkqt3 \\",
        "    --registration-access-token-file - <token",
    )
)
def resolve(
    context: typer.Context,
    provider: ProviderRef,
    client: ClientRef,
    resolution: Annotated[
        str,
        typer.Argument(
            metavar="RESOLUTION",
            help=f"What you found at the provider: {', '.join(_RESOLUTION.numbers)}.",
            autocompletion=completing.words(_RESOLUTION.numbers),
        ),
    ],
    oauth_client_id: Annotated[
        str, typer.Option("--client-id", help="For adopt: the client_id at the provider.")
    ] = "",
    registration_client_uri: Annotated[
        str, typer.Option(help="For adopt: where the provider manages the client.")
    ] = "",
    registration_access_token_file: Annotated[
        Path | None,
        typer.Option(
            help="For adopt: file with a token that the provider accepts; - is standard input."
        ),
    ] = None,
    etag: Etag = "",
) -> None:
    """End the state detached or orphaned: report what is true at the provider."""
    number = field_options.number(_RESOLUTION, resolution, "RESOLUTION")
    file = registration_access_token_file
    token = documents.read(file).strip() if file else ""
    common = options.of(context)
    with common.portal() as portal:
        resolved = portal.resolve_client(
            *references.client(portal, provider, client),
            number,
            client_id=oauth_client_id,
            registration_client_uri=registration_client_uri,
            registration_access_token=token,
            etag=etag,
        )
        write_one(resolved, common.output)


class _Secret:
    """Where the secret of a client goes: a file, or the result of the command."""

    def __init__(self, file: Path | None, descriptor: int | None) -> None:
        self._file = file
        self._descriptor = descriptor
        self.written = False

    def taken(self, secret: str) -> dict[str, Any]:
        """Store or return the secret, with a warning that this happens once."""
        if not secret:
            return {}
        if self._descriptor is None:
            report("the secret is shown only once: store it now")
            return {"client_secret": secret}
        os.write(self._descriptor, f"{secret}\n".encode())
        self.written = True
        report(f"the secret is in {self._file}, and it is not shown again")
        return {}


@contextmanager
def _secret(file: Path | None) -> Iterator[_Secret]:
    """Create the file before anything is sent; delete it if there is no secret.

    Raises:
        CommandError: the file exists or cannot be created.
    """
    if file is None:
        yield _Secret(None, None)
        return
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}") from None
    secret = _Secret(file, descriptor)
    try:
        yield secret
    finally:
        os.close(descriptor)
        if not secret.written:
            with suppress(OSError):
                file.unlink()

"""The options of `register`, `update` and `preview`: the fields of a client."""

from collections.abc import Sequence
from typing import Annotated

import typer

from portal_client import Client

_NAME = "Display name at the provider; a mark follows it there."
_URIS = "Where the provider may send users back to (comma-separated, with %2C for a comma in one)."
_SCOPE = "Scope values, separated by spaces."
_LABEL = "Label, as NAME=VALUE; repeat the option for more."

Name = Annotated[str, typer.Option(help=_NAME)]
RedirectUris = Annotated[str, typer.Option(help=_URIS)]
Scope = Annotated[str, typer.Option(help=_SCOPE)]
Labels = Annotated[list[str] | None, typer.Option(help=_LABEL)]
NewName = Annotated[str | None, typer.Option(help=_NAME)]
NewRedirectUris = Annotated[str | None, typer.Option(help=_URIS)]
NewScope = Annotated[str | None, typer.Option(help=_SCOPE)]


def client_message(
    name: str | None,
    redirect_uris: str | None,
    scope: str | None,
    labels: Sequence[str] | None,
) -> tuple[Client, list[str]]:
    """The client that the options describe, and the names of the fields that they set.

    One empty label clears all.

    Raises:
        typer.BadParameter: a label is not NAME=VALUE.
    """
    message, names = Client(), []
    if name is not None:
        message.name = name
        names.append("name")
    if redirect_uris is not None:
        parts = (uri.strip() for uri in redirect_uris.split(","))
        message.redirect_uris.extend(uri for uri in parts if uri)
        names.append("redirect_uris")
    if scope is not None:
        message.scope = scope
        names.append("scope")
    if labels:
        for label in filter(None, labels):
            key, equals, value = label.partition("=")
            if not key or not equals:
                raise typer.BadParameter("must be NAME=VALUE", param_hint="--label")
            message.labels[key] = value
        names.append("labels")
    return message, names

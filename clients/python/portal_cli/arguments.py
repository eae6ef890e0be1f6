"""The arguments that commands share. `references` finds the resources that they mean."""

from typing import Annotated, Any

import typer

from portal_cli import completing


def provider_argument(note: str = "") -> Any:
    """The argument PROVIDER; `note` ends its help."""
    return typer.Argument(
        metavar="PROVIDER",
        help=f"ID, uid or exact name of the provider{note}.",
        autocompletion=completing.providers,
    )


def client_argument(note: str = "") -> Any:
    """The argument CLIENT; `note` ends its help."""
    return typer.Argument(
        metavar="CLIENT",
        help=f"ID, uid or exact name of the client{note}.",
        autocompletion=completing.clients,
    )


ProviderRef = Annotated[str, provider_argument()]
ClientTypeRef = Annotated[
    str,
    typer.Argument(
        metavar="CLIENT_TYPE",
        help="ID, uid or exact name of the client type.",
        autocompletion=completing.client_types,
    ),
]
ClientRef = Annotated[str, client_argument()]

"""The arguments that commands share. `references` finds the resources that they mean."""

from typing import Annotated

import typer

from portal_cli import completing

ProviderRef = Annotated[
    str,
    typer.Argument(
        metavar="PROVIDER",
        help="ID, uid or exact name of the provider.",
        autocompletion=completing.providers,
    ),
]
ClientTypeRef = Annotated[
    str,
    typer.Argument(
        metavar="CLIENT_TYPE",
        help="ID, uid or exact name of the client type.",
        autocompletion=completing.client_types,
    ),
]
ClientRef = Annotated[
    str,
    typer.Argument(
        metavar="CLIENT",
        help="ID, uid or exact name of the client.",
        autocompletion=completing.clients,
    ),
]

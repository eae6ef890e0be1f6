"""The arguments that commands share: IDs, which a shell completes."""

from typing import Annotated

import typer

from portal_cli import completing
from portal_cli.options import MAX_ID

ProviderId = Annotated[
    int,
    typer.Argument(
        help="ID of the provider.", autocompletion=completing.providers, min=1, max=MAX_ID
    ),
]
ClientTypeId = Annotated[
    int,
    typer.Argument(
        help="ID of the client type.", autocompletion=completing.client_types, min=1, max=MAX_ID
    ),
]
ClientId = Annotated[
    int,
    typer.Argument(help="ID of the client.", autocompletion=completing.clients, min=1, max=MAX_ID),
]

"""`portal tls …`."""

from pathlib import Path
from typing import Annotated

import typer

from portal_cli.commands import Commands, LocalCommand, LocalGroup
from portal_server.run.commands import one_line_errors

app = Commands(help="Create certificates for development.", cls=LocalGroup)


@app.command(
    "dev-certificate",
    cls=LocalCommand,
    examples=(
        "portal tls dev-certificate",
        "portal tls dev-certificate --name portal.test --folder certificates",
    ),
)
@one_line_errors
def dev_certificate(
    folder: Annotated[Path, typer.Option(help="Folder to create the files in.")] = Path("data/tls"),
    name: Annotated[
        list[str] | None,
        typer.Option(help="Name or address of the server, in addition to those of this machine."),
    ] = None,
) -> None:
    """Create a CA, a certificate for localhost, 127.0.0.1 and ::1, and one for a client.

    They are for development. The key of the CA is not kept, so it cannot issue anything else.
    """
    from portal_server.run import dev_certificate as files

    files.create(folder, (*files.NAMES, *(name or ())))
    at = folder.absolute()
    typer.echo(f"""The portal uses the certificate with these settings:

export PORTAL_TLS_CERT={at / files.SERVER_FILE}
export PORTAL_TLS_KEY={at / files.SERVER_KEY_FILE}

Clients trust it with this CA:

export PORTAL_CA={at / files.CA_FILE}
curl --cacert {at / files.CA_FILE} https://localhost:3001/livez

If every caller must have a certificate of this CA (mutual TLS), set for the portal and for clients:

export PORTAL_TLS_CLIENT_CA={at / files.CA_FILE}
export PORTAL_CERT={at / files.CLIENT_FILE} PORTAL_CERT_KEY={at / files.CLIENT_KEY_FILE}""")

"""`portal status`."""

import sys
from importlib.metadata import version

import typer

from portal_cli import options
from portal_cli.options import Output
from portal_cli.output import as_dict, write_values


def status(context: typer.Context) -> None:
    """Show the connection, the server, and what the API key may do.

    Exit code 69 if the portal cannot be reached, 77 if the API key is not valid.
    """
    common = options.of(context)
    with common.portal() as portal:
        server = portal.get_server_info()
    own, key = version("oauth-portal"), as_dict(server.caller)
    if server.version != own:
        text = f"portal: the server has version {server.version}, this command line {own}"
        print(text, file=sys.stderr)
    values = {
        "target": common.target,
        "tls": common.credentials() is not None,
        "reachable": True,
        "client_version": own,
        "server_version": server.version,
        "schema_revision": server.schema_revision,
        "key_name": key["key_id"],
        "key_note": key["note"],
        "key_role": key["role"],
        "key_expire_time": key["expire_time"],
    }
    if common.output is Output.TABLE and not values["key_expire_time"]:
        values["key_expire_time"] = "never"
    write_values(values, common.output)

"""`python -m portal_server` is `portal` with the commands of the server only."""

import sys

from portal_cli.errors import CommandError
from portal_server.run.cli import app

try:
    app()
except CommandError as error:
    sys.exit(f"portal: {error}")

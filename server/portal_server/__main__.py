"""`python -m portal_server` is `portal` with the commands of the server only."""

import sys

from portal_cli.errors import CommandError
from portal_server.run.cli import app

try:
    app()
except CommandError as error:
    print(f"portal: {error}", file=sys.stderr)  # noqa: T201 - as sys.exit does for a text
    sys.exit(error.code)

"""`python -m portal_server` is `portal` with the commands of the server only."""

import os
import sys

# gRPC, which reads this when it is imported, logs handshakes that fail, some with what the peer
# sent: anyone could fill the log, and write lines of it.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

from portal_cli.errors import CommandError
from portal_server.run.cli import app

try:
    app()
except CommandError as error:
    print(f"portal: {error}", file=sys.stderr)  # noqa: T201 - as sys.exit does for a text
    sys.exit(error.code)

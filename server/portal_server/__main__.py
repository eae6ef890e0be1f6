"""`python -m portal_server` is `portal`."""

from portal_server.cli import app

app()

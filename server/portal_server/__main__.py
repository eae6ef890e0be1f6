"""`python -m portal_server` is `portal`."""

from portal_server.run.cli import app

app()

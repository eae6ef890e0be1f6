"""`python -m portal_cli` is the command `portal`."""

from portal_cli.main import run

run()

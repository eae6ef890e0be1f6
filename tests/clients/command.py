"""Runs the command `portal` in a subprocess."""

import json
import subprocess
from typing import Any

from tests.support import commands
from tests.support.stack import ENVIRONMENT

KEY = "the-commands-key"
CREATE_PROVIDER = (
    "providers",
    "create",
    "--name=Staff",
    "--type=keycloak",
    "--well-known-uri=https://idp.test/.well-known",
)


class Command:
    """Runs `portal …` with an API key against a server."""

    def __init__(self, target: str, **variables: str) -> None:
        self.variables = {"PORTAL_TARGET": target, "PORTAL_KEY": KEY, "COLUMNS": "120"} | variables

    def __call__(
        self, *arguments: str, stdin: str = "", code: int = 0
    ) -> "subprocess.CompletedProcess[str]":
        done = commands.run("portal_cli", arguments, ENVIRONMENT | self.variables, stdin)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        assert KEY not in done.stdout + done.stderr
        return done

    def json(self, *arguments: str) -> Any:
        return json.loads(self("-o", "json", *arguments).stdout)

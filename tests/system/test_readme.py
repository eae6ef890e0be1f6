"""The examples of the README and the help of the Makefile."""

import re
import shlex
import subprocess
import sys

import httpx

from tests.support.stack import ADMIN_KEY, ENVIRONMENT, ROOT, TLS, Stack

README = (ROOT / "README.md").read_text()
EXAMPLE = ROOT / "clients/python/create_client_type.py"


def block(language: str, containing: str) -> str:
    """The code block of the README in this language that contains this text."""
    blocks: list[str] = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    [found] = [text for text in blocks if containing in text]
    return found


def test_the_python_example_is_the_tested_program_and_runs(stack: Stack) -> None:
    shown = block("python", "create_client_type")
    environment = {"PORTAL_KEY": ADMIN_KEY, "PORTAL_TARGET": f"localhost:{stack.grpc_port}"}
    done = subprocess.run(
        [sys.executable, str(EXAMPLE)],
        env=ENVIRONMENT | environment,
        text=True,
        capture_output=True,
        check=False,
        timeout=30,
    )

    assert EXAMPLE.read_text().endswith(shown)
    assert "Single-page application (new)" in done.stdout, done.stderr


def test_the_curl_example_creates_a_client_type(stack: Stack) -> None:
    arguments = shlex.split(block("sh", "--request POST").replace("$PORTAL_KEY", ADMIN_KEY))
    url = arguments[arguments.index("--url") + 1].replace("3001", str(stack.http_port))
    headers = dict(
        arguments[n + 1].split(": ")
        for n, argument in enumerate(arguments)
        if argument == "--header"
    )
    response = httpx.post(
        url, content=arguments[arguments.index("--data") + 1], headers=headers, verify=TLS
    )

    assert response.status_code == 200
    assert response.json()["Name"] == "Server-side application"


def test_make_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    [phony] = re.findall(r"^\.PHONY: ((?:.*\\\n)*.*)", makefile, re.MULTILINE)
    # The parts of `generate` are not for people.
    named = re.findall(r"(?<!\S)[a-z-]+(?!\S)", phony)
    targets = {name for name in named if not name.startswith("generate-")}
    shown = subprocess.run(
        ["make", "--no-print-directory", "help"],
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=True,
    )
    described = dict(re.findall(r"^  (\S+) +(.+)$", shown.stdout, re.MULTILINE))

    assert set(described) == targets
    assert all(described.values())

"""What the README and the Makefile say is so."""

import re
import shlex
import subprocess
import sys

import httpx

from portal_server.run.settings import Settings
from tests.support.stack import ADMIN_KEY, ENVIRONMENT, ROOT, Stack

README = (ROOT / "README.md").read_text()
EXAMPLE = ROOT / "clients/python/create_client_type.py"


def block(language: str, containing: str) -> str:
    """The README's block of code in this language that contains this."""
    blocks: list[str] = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    [found] = [text for text in blocks if containing in text]
    return found


def test_every_setting_is_in_the_table_with_its_default() -> None:
    table = dict(re.findall(r"^\| `PORTAL_(\w+)` \| (.*?) \|", README, re.MULTILINE))
    defaults = {name.upper(): field.default for name, field in Settings.model_fields.items()}

    assert list(table) and set(table) == set(defaults)  # noqa: PT018
    for name in ("HTTP_PORT", "GRPC_PORT", "HOST", "THREADS", "LOG_LEVEL"):
        assert table[name] == str(defaults[name])


def test_the_python_client_is_the_one_in_the_folder_of_clients_and_runs(stack: Stack) -> None:
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


def test_the_seed_call_works_as_it_is_shown(stack: Stack) -> None:
    words = shlex.split(block("sh", "--request POST").replace("$PORTAL_KEY", ADMIN_KEY))
    url = words[words.index("--url") + 1].replace("3001", str(stack.http_port))
    headers = dict(words[n + 1].split(": ") for n, word in enumerate(words) if word == "--header")
    answer = httpx.post(url, content=words[words.index("--data") + 1], headers=headers)

    assert answer.status_code == 200
    assert answer.json()["Name"] == "Server-side application"


def test_make_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(makefile.partition(".PHONY: ")[2].partition("\n")[0].split())
    shown = subprocess.run(
        ["make", "--no-print-directory", "help"],
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=True,
    )
    described = dict(re.findall(r"^(\S+) +(.+)$", shown.stdout, re.MULTILINE))

    assert set(described) == targets
    assert all(described.values())

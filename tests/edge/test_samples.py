"""The samples of the OpenAPI document, run as they are, against the system."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.stack import ADMIN_KEY, ENVIRONMENT, ROOT, Stack
from tools.openapi.samples import SERVER

PATHS: dict[str, Any] = json.loads((ROOT / "edge/openapi.json").read_text())["paths"]
TYPES = "/oauth-providers/{provider_id}/client-types"
# The file that a sample is, and the command that runs it.
PROGRAMS = {
    "curl": ("sample.sh", "sh"),
    "Python": ("sample.py", sys.executable),
    "Go": ("sample.go", "go run"),
    "JavaScript": ("sample.mjs", "node"),
}

pytestmark = [pytest.mark.needs("curl", "go", "node"), pytest.mark.slow]


def run(path: str, verb: str, label: str, stack: Stack, folder: Path) -> str:
    """What the sample of an operation in a language prints."""
    [source] = [
        sample["source"]
        for sample in PATHS[path][verb]["x-codeSamples"]
        if sample["label"] == label
    ]
    name, command = PROGRAMS[label]
    (folder / name).write_text(source.replace(SERVER, f"http://127.0.0.1:{stack.http_port}"))
    done = subprocess.run(
        [*command.split(), name],
        env=ENVIRONMENT | {"PORTAL_KEY": ADMIN_KEY, "HOME": str(Path.home())},
        cwd=folder,
        text=True,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("label", PROGRAMS)
def test_a_sample_creates_a_client_type_and_another_one_lists_it(
    label: str, stack: Stack, tmp_path: Path
) -> None:
    made = run(TYPES, "post", label, stack, tmp_path)
    listed = run(TYPES, "get", label, stack, tmp_path)

    assert "Server-side application" in made
    assert "Server-side application" in listed


def test_every_operation_with_a_key_has_a_sample_in_each_language() -> None:
    for item in PATHS.values():
        for verb, operation in item.items():
            if verb != "servers" and operation.get("security") != []:
                labels = [sample["label"] for sample in operation["x-codeSamples"]]
                assert labels == list(PROGRAMS), operation["operationId"]

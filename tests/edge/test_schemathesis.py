"""schemathesis compares the service with its OpenAPI document, through the real Envoy."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.stack import ADMIN_KEY, ENVIRONMENT, TLS, Stack

HERE = Path(__file__).parent


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[Stack]:
    """A system of the test's own: schemathesis deletes whatever it finds."""
    running = Stack(tmp_path).start()
    yield running
    running.stop()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_service_conforms_to_its_document(own_stack: Stack, tmp_path: Path) -> None:
    address = f"http://127.0.0.1:{own_stack.http_port}"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli"),
            *("--config-file", str(HERE / "schemathesis.toml"), "--no-color"),
            *("run", f"{address}/openapi.json", "--max-examples", "30"),
        ],
        env=ENVIRONMENT | {"PORTAL_KEY": ADMIN_KEY, "PYTHONPATH": str(HERE)},
        cwd=tmp_path,
        text=True,
        capture_output=True,
        check=False,
        timeout=240,
    )
    with own_stack.client() as rest:
        still_there = rest.get("/oauth-providers")

    assert done.returncode == 0, done.stdout + done.stderr
    # It did not find the document empty, or everything not found.
    assert int(re.findall(r"(\d+) generated", done.stdout)[0]) > 1000
    assert still_there.status_code == 200
    assert "Traceback" not in own_stack.err.read_text()


def test_without_a_key_every_operation_but_health_is_rejected(stack: Stack) -> None:
    address = f"http://127.0.0.1:{stack.http_port}"
    document = httpx.get(f"{address}/openapi.json", verify=TLS).json()
    base = address + document["servers"][0]["url"]
    operations = [
        (verb, base + path.format(provider_id=1, client_type_id=1, client_id=1), operation)
        for path, item in document["paths"].items()
        for verb, operation in item.items()
        if verb != "servers" and operation.get("security") != []
    ]

    assert len(operations) == 18
    for verb, url, operation in operations:
        response = httpx.request(verb, url, verify=TLS)
        assert response.status_code == 401, operation["operationId"]
        assert response.headers["www-authenticate"] == "Bearer"
        assert response.json()["errors"]

"""How the edge serves the OpenAPI document and the API explorer."""

import hashlib
import time
from pathlib import Path

import httpx
import pytest

from tests.support.stack import ROOT, TLS, Stack

FILES = {
    "/openapi.json": ("edge/openapi.json", "application/json"),
    "/docs": ("edge/api-explorer/index.html", "text/html; charset=utf-8"),
    "/docs/": ("edge/api-explorer/index.html", "text/html; charset=utf-8"),
    "/docs/page.js": ("edge/api-explorer/page.js", "text/javascript; charset=utf-8"),
    "/docs/page.css": ("edge/api-explorer/page.css", "text/css; charset=utf-8"),
    "/docs/grpc": ("edge/api-explorer/grpc.html", "text/html; charset=utf-8"),
    "/docs/grpc.css": ("edge/api-explorer/grpc.css", "text/css; charset=utf-8"),
    "/docs/swagger-ui-bundle.js": (
        "third_party/swagger-ui/swagger-ui-bundle.js",
        "text/javascript; charset=utf-8",
    ),
    "/docs/swagger-ui.css": ("third_party/swagger-ui/swagger-ui.css", "text/css; charset=utf-8"),
    "/docs/favicon-32x32.png": ("third_party/swagger-ui/favicon-32x32.png", "image/png"),
}


@pytest.fixture
def edge(stack: Stack) -> str:
    return f"http://127.0.0.1:{stack.http_port}"


@pytest.mark.parametrize(("path", "file", "type_"), [(p, *f) for p, f in FILES.items()])
def test_a_file_is_served_unchanged_and_without_an_api_key(
    edge: str, path: str, file: Path, type_: str
) -> None:
    got, head = httpx.get(edge + path, verify=TLS), httpx.head(edge + path, verify=TLS)

    assert (got.status_code, head.status_code) == (200, 200)
    assert got.content == (ROOT / file).read_bytes()
    assert head.content == b""
    assert got.headers["content-type"] == type_
    assert got.headers["x-content-type-options"] == "nosniff"
    assert got.headers["cache-control"] in ("no-cache", "public, max-age=3600")


def test_swagger_ui_is_unchanged() -> None:
    folder = ROOT / "third_party/swagger-ui"
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    sums = {name: checksum for checksum, name in (line.split("  ") for line in lines)}
    ours = {"README.md", "SHA256SUMS"}

    assert {file.name for file in folder.iterdir()} == {*sums, *ours}
    for name, checksum in sums.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == checksum, name


@pytest.mark.parametrize("path", ["/docs", "/docs/", "/docs/grpc"])
def test_the_page_loads_and_runs_only_files_of_the_portal(edge: str, path: str) -> None:
    # Each file has a limit of requests a second, which other tests use up.
    while (response := httpx.get(edge + path, verify=TLS)).status_code == 429:
        time.sleep(0.2)
    policy = response.headers["content-security-policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))

    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
    assert rules["frame-ancestors"] == "'none'"


@pytest.mark.parametrize("path", [*FILES, "/healthz"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
def test_only_get_and_head_are_allowed(edge: str, path: str, method: str) -> None:
    response = httpx.request(method, edge + path, verify=TLS)

    assert response.status_code == 405
    assert response.headers["allow"] == "GET, HEAD"
    assert response.json() == {"errors": ["method not allowed; allowed: GET, HEAD"]}


@pytest.mark.parametrize("path", ["/docs/nope", "/docs/swagger-ui/LICENSE", "/docs//page", "/doc"])
def test_no_other_file_is_served(edge: str, path: str) -> None:
    assert httpx.get(edge + path, verify=TLS).json() == {"errors": ["no such path"]}

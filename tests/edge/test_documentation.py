"""How the edge serves the OpenAPI document and the page that shows it."""

from pathlib import Path

import httpx
import pytest

from tests.support.stack import ROOT, Stack

FILES = {
    "/openapi.json": ("edge/openapi.json", "application/json"),
    "/docs": ("edge/docs/index.html", "text/html; charset=utf-8"),
    "/docs/": ("edge/docs/index.html", "text/html; charset=utf-8"),
    "/docs/page.js": ("edge/docs/page.js", "text/javascript; charset=utf-8"),
    "/docs/page.css": ("edge/docs/page.css", "text/css; charset=utf-8"),
    "/docs/swagger-ui-bundle.js": (
        "edge/docs/swagger-ui/swagger-ui-bundle.js",
        "text/javascript; charset=utf-8",
    ),
    "/docs/swagger-ui.css": ("edge/docs/swagger-ui/swagger-ui.css", "text/css; charset=utf-8"),
    "/docs/favicon-32x32.png": ("edge/docs/swagger-ui/favicon-32x32.png", "image/png"),
}


@pytest.fixture
def edge(stack: Stack) -> str:
    return f"http://127.0.0.1:{stack.http_port}"


@pytest.mark.parametrize(("path", "file", "type_"), [(p, *f) for p, f in FILES.items()])
def test_a_file_is_served_as_it_is_and_without_a_key(
    edge: str, path: str, file: Path, type_: str
) -> None:
    got, head = httpx.get(edge + path), httpx.head(edge + path)

    assert (got.status_code, head.status_code) == (200, 200)
    assert got.content == (ROOT / file).read_bytes()
    assert head.content == b""
    assert got.headers["content-type"] == type_
    assert got.headers["x-content-type-options"] == "nosniff"
    assert got.headers["cache-control"] in ("no-cache", "public, max-age=3600")


@pytest.mark.parametrize("path", ["/docs", "/docs/"])
def test_the_page_may_run_and_load_nothing_but_our_files(edge: str, path: str) -> None:
    policy = httpx.get(edge + path).headers["content-security-policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))

    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
    assert rules["frame-ancestors"] == "'none'"


@pytest.mark.parametrize("path", [*FILES, "/healthz"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
def test_there_is_nothing_but_reading(edge: str, path: str, method: str) -> None:
    answer = httpx.request(method, edge + path)

    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"
    assert answer.json() == {"errors": ["method not allowed; allowed: GET, HEAD"]}


@pytest.mark.parametrize("path", ["/docs/nope", "/docs/swagger-ui/LICENSE", "/docs//page", "/doc"])
def test_there_is_nothing_else(edge: str, path: str) -> None:
    assert httpx.get(edge + path).json() == {"errors": ["no such path"]}

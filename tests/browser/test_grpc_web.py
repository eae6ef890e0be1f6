"""The page in clients/typescript/web, served from a separate origin, in a real Chromium."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.clients import programs
from tests.support.postgres import free_port
from tests.support.stack import ADMIN_KEY, Stack

FOLDER = programs.CLIENTS / "typescript" / "web"

pytestmark = [
    pytest.mark.needs("chromium", "npm"),
    pytest.mark.slow,
    pytest.mark.timeout(300),
]


class _Files(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def folder() -> Path:
    """The page's folder, with the tools that it needs."""
    programs.build("npm ci --no-audit --no-fund", FOLDER.parent)
    return FOLDER


@pytest.fixture(scope="module")
def origin(folder: Path) -> Iterator[str]:
    """The built page, on another port than the portal's: to a browser that is another origin."""
    programs.build("npm run build", folder)
    files = partial(_Files, directory=str(folder / "dist"))
    with ThreadingHTTPServer(("127.0.0.1", 0), files) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def open_stack(origin: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A system that the page may call."""
    running = Stack(tmp_path_factory.mktemp("open"), PORTAL_CORS_ORIGINS=origin).start()
    yield running
    running.stop()


@contextmanager
def visit(browser: Browser, origin: str, portal: int, key: str = ADMIN_KEY) -> Iterator[Page]:
    """The page, reported where the portal is, and the key."""
    with browser.new_context() as context:
        context.set_default_timeout(15_000)
        page = context.new_page()
        page.goto(origin)
        page.get_by_label("Portal").fill(f"http://127.0.0.1:{portal}")
        page.get_by_label("Key").fill(key)
        yield page


def test_the_page_creates_a_client_type_and_lists_all(
    browser: Browser, origin: str, open_stack: Stack
) -> None:
    with visit(browser, origin, open_stack.http_port) as page:
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        for name in ("First", "Zweiter, größer"):
            page.get_by_label("Name").fill(name)
            page.get_by_role("button", name="Create").click()
            expect(page.locator("tbody tr").last).to_contain_text(name)

        expect(page.locator("tbody td:last-child")).to_have_text(["First", "Zweiter, größer"])
        expect(page.get_by_role("alert")).to_be_empty()
        assert complaints == []
    with open_stack.client() as rest:
        stored = rest.get("/oauth-providers/1/client-types").json()
    assert [(row["Name"], row["GrantType"]) for row in stored] == [
        ("First", "pkce,refresh_token"),
        ("Zweiter, größer", "pkce,refresh_token"),
    ]


def test_the_page_shows_what_is_wrong_with_which_field(
    browser: Browser, origin: str, open_stack: Stack
) -> None:
    with visit(browser, origin, open_stack.http_port) as page:
        page.get_by_label("Name").fill(" ")
        page.get_by_role("button", name="Create").click()

        expect(page.get_by_role("alert")).to_have_text(
            "InvalidArgument\nclient_type.name: must not be blank"
        )


def test_the_page_shows_that_its_key_is_wrong(
    browser: Browser, origin: str, open_stack: Stack
) -> None:
    with visit(browser, origin, open_stack.http_port, key="wrong") as page:
        page.get_by_role("button", name="List").click()

        expect(page.get_by_role("alert")).to_contain_text("a valid API key is required")


def test_the_browser_rejects_where_the_setting_does_not_name_the_origin(
    browser: Browser, origin: str, stack: Stack
) -> None:
    with visit(browser, origin, stack.http_port) as page:
        expected: list[str] = []
        page.on("console", lambda message: expected.append(message.text))
        page.get_by_role("button", name="List").click()

        expect(page.get_by_role("alert")).to_contain_text("Failed to fetch")
        expect(page.locator("tbody tr")).to_have_count(0)
        assert any("blocked by CORS policy" in text for text in expected)


def test_the_page_reports_that_there_is_no_response(browser: Browser, origin: str) -> None:
    with visit(browser, origin, free_port()) as page:
        page.get_by_role("button", name="List").click()

        expect(page.get_by_role("alert")).to_contain_text("Failed to fetch")

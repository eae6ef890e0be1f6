"""The browser: Debian's Chromium, driven by Playwright."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright


def pytest_addoption(parser: pytest.Parser) -> None:
    """`pytest -m slow tests/browser/test_docs.py --pictures docs/images` renews the pictures."""
    parser.addoption("--pictures", help="the folder where test_docs.py keeps pictures")


# Of this package, not of the session: while it runs there is an event loop in
# this thread, and no other test could start its own.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """A running Chromium; each test opens its own context or page and closes it."""
    with sync_playwright() as playwright:
        # Its sandbox needs what root and most containers do not have; it opens our pages only.
        running = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        yield running
        running.close()

"""The documentation page in a real Chromium, as a person tries it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, ViewportSize, expect

from tests.support.stack import ADMIN_KEY, Stack

DESKTOP = ViewportSize(width=1280, height=900)
PHONE = ViewportSize(width=390, height=844)
PROVIDER = {"Name": "Tried", "Type": "Other", "WellKnownURL": "https://idp.test/tried"}

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.slow]


@dataclass
class Visit:
    """The page at a size, with what the browser asked for and complained of."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def operation(self, name: str) -> Locator:
        """An operation, unfolded."""
        block = self.page.locator(f"[id$='-{name}']")
        if not block.locator(".opblock-body").count():
            block.locator(".opblock-summary-control").click()
        return block

    def authorize(self, key: str) -> None:
        """Give the key as a person does."""
        self.page.get_by_role("button", name="Authorize").click()
        dialog = self.page.locator(".dialog-ux")
        dialog.get_by_role("textbox").fill(key)
        dialog.get_by_role("button", name="Apply credentials").click()
        dialog.get_by_role("button", name="Close", exact=True).click()

    def execute(self, name: str, **parameters: str) -> Locator:
        """Try an operation out; its response."""
        operation = self.operation(name)
        operation.get_by_role("button", name="Try it out").click()
        for parameter, value in parameters.items():
            operation.locator(f"tr[data-param-name='{parameter}'] input").fill(value)
        operation.get_by_role("button", name="Execute").click()
        return operation.locator(".live-responses-table tr.response")


@pytest.fixture(params=[DESKTOP, PHONE], ids=["desktop", "phone"])
def visit(request: pytest.FixtureRequest, browser: Browser, stack: Stack) -> Iterator[Visit]:
    context = browser.new_context(viewport=request.param)
    context.set_default_timeout(15_000)
    visit = Visit(context.new_page())
    visit.page.on("request", lambda sent: visit.requests.append(sent.url))
    visit.page.on("pageerror", lambda error: visit.complaints.append(str(error)))
    visit.page.on(
        "console",
        lambda expected: (
            visit.complaints.append(expected.text)
            if expected.type in ("error", "warning")
            else None
        ),
    )
    visit.page.goto(f"http://127.0.0.1:{stack.http_port}/docs")
    expect(visit.page.locator(".opblock").first).to_be_visible()
    yield visit
    context.close()


def overflowing(page: Page) -> list[str]:
    """What sticks out to the right of its operation or of the page, and cannot be scrolled to."""
    found: list[str] = page.evaluate(
        """() => {
          const right = (e) => e.getBoundingClientRect().right;
          const end = (e) => Math.min(document.documentElement.clientWidth,
            right(e.closest(".opblock") ?? document.documentElement));
          const scrolls = (e) => e && (/auto|scroll|hidden/.test(getComputedStyle(e).overflowX)
            || scrolls(e.parentElement));
          return [...document.querySelectorAll("#page *")]
            .filter((e) => right(e) > end(e) + 1 && !scrolls(e.parentElement))
            .map((e) => `${e.tagName}.${e.getAttribute("class")}: ${e.textContent.slice(0, 60)}`);
        }"""
    )
    return found


def keep_picture(page: Page, last: Locator, path: str) -> None:
    """Keep a picture of the page down to an element."""
    page.evaluate("scrollTo(0, 0)")
    box = last.bounding_box()
    assert box
    end = box["y"] + box["height"]
    page.screenshot(
        path=path, full_page=True, clip={"x": 0, "y": 0, "width": DESKTOP["width"], "height": end}
    )


def test_a_person_authorizes_tries_an_operation_and_sees_the_rows(
    visit: Visit, rest: httpx.Client, request: pytest.FixtureRequest
) -> None:
    made = rest.post("/oauth-providers", json=PROVIDER).json()
    row = {"Name": "Tried out", "ResponseTypes": "code,token", "GrantType": "pkce,refresh_token"}
    rest.post(f"/oauth-providers/{made['ID']}/client-types", json=row)

    visit.authorize(ADMIN_KEY)
    response = visit.execute("ListClientTypes", provider_id=str(made["ID"]))

    expect(response.locator(".response-col_status")).to_have_text(re.compile("^200"))
    expect(response.locator(".response-col_description")).to_contain_text('"Name": "Tried out"')
    assert overflowing(visit.page) == []
    assert visit.complaints == []
    # No other host is contacted.
    assert {urlsplit(url).netloc for url in visit.requests} == {rest.base_url.netloc.decode()}

    # The option is there when pytest gets an error of this folder.
    picture = request.config.getoption("--picture", default=None)
    if picture and visit.page.viewport_size == DESKTOP:
        keep_picture(visit.page, response, picture)


def test_a_row_is_created_from_the_example_of_the_document(
    visit: Visit, rest: httpx.Client
) -> None:
    made = rest.post("/oauth-providers", json=PROVIDER).json()

    visit.authorize(ADMIN_KEY)
    response = visit.execute("CreateClientType", provider_id=str(made["ID"]))
    expect(response.locator(".response-col_status")).to_have_text(re.compile("^200"))
    [stored] = rest.get(f"/oauth-providers/{made['ID']}/client-types").json()

    assert stored["Name"] == "Server-side application"
    assert visit.complaints == []


def test_without_a_key_the_page_shows_the_error(visit: Visit) -> None:
    response = visit.execute("ListProviders")

    expect(response.locator(".response-col_status")).to_have_text(re.compile("^401"))
    expect(response.locator(".response-col_description")).to_contain_text("a valid API key")


def test_no_element_overflows_when_everything_is_expanded(visit: Visit) -> None:
    for name in ("CreateProvider", "UpdateClientType", "DeleteProvider"):
        visit.operation(name)
    visit.page.locator(".models button").first.click()
    for model in visit.page.locator(".models .model-container").all():
        model.locator("button").first.click()

    assert overflowing(visit.page) == []
    wide, inner = visit.page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert wide == inner

"""The documentation page in a real Chromium, as a person tries it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urljoin, urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, ViewportSize, expect

from tests.support.stack import ADMIN_KEY, Stack

DESKTOP = ViewportSize(width=1280, height=800)
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
        field = dialog.locator("input")
        expect(field).to_have_attribute("type", "password")
        field.fill(key)
        dialog.get_by_role("button", name="Apply credentials").click()
        dialog.get_by_role("button", name="Close", exact=True).click()

    def execute(self, name: str, **parameters: str) -> Locator:
        """Try an operation out; its response."""
        operation = self.operation(name)
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


def test_a_person_authorizes_tries_an_operation_and_sees_the_rows(
    visit: Visit, rest: httpx.Client
) -> None:
    made = rest.post("/oauth-providers", json=PROVIDER).json()
    row = {"Name": "Tried out", "ResponseTypes": "code,token", "GrantType": "pkce,refresh_token"}
    rest.post(f"/oauth-providers/{made['ID']}/client-types", json=row)

    visit.authorize(ADMIN_KEY)
    response = visit.execute("ListClientTypes", provider_id=str(made["ID"]))

    expect(response.locator(".response-col_status")).to_have_text(re.compile("^200"))
    expect(response.locator(".response-col_description")).to_contain_text('"Name": "Tried out"')
    expect(visit.page.locator(".curl-command")).to_contain_text("API-KEY")
    expect(visit.page.locator("body")).not_to_contain_text(ADMIN_KEY)
    assert overflowing(visit.page) == []
    assert visit.complaints == []
    # No other host is contacted.
    assert {urlsplit(url).netloc for url in visit.requests} == {rest.base_url.netloc.decode()}


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


def test_the_ids_are_those_of_the_example_provider(visit: Visit) -> None:
    operation = visit.operation("GetClientType")

    for name in ("provider_id", "client_type_id"):
        expect(operation.locator(f"tr[data-param-name='{name}'] input")).to_have_value("1")


def test_each_operation_has_samples_in_four_languages(visit: Visit, rest: httpx.Client) -> None:
    samples = visit.operation("CreateClientType").locator(".samples")
    shown = {}
    for language in ("curl", "Python", "Go", "JavaScript"):
        samples.get_by_role("button", name=language).click()
        shown[language] = samples.locator("pre").inner_text()

    assert len(set(shown.values())) == 4
    assert all(f"http://{rest.base_url.netloc.decode()}/" in text for text in shown.values())
    # The next operation shows the language that was chosen.
    expect(visit.operation("GetProvider").locator(".samples pre")).to_contain_text("await fetch")


@pytest.mark.parametrize("path", ["/docs", "/docs/grpc"])
def test_the_colors_are_those_of_the_system(visit: Visit, path: str) -> None:
    visit.page.goto(urljoin(visit.page.url, path))
    colors = []
    for scheme in ("light", "dark"):
        visit.page.emulate_media(color_scheme=scheme)
        colors.append(
            visit.page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        )

    assert colors[0] in ("rgba(0, 0, 0, 0)", "rgb(255, 255, 255)")
    assert colors[1] == "rgb(28, 32, 34)"


def test_the_reference_of_the_native_api_is_one_link_away(visit: Visit) -> None:
    visit.page.get_by_role("link", name="gRPC API").click()
    visit.page.get_by_role("link", name="CreateClientType", exact=True).first.click()
    method = visit.page.locator("article:target")

    expect(method).to_contain_text("CreateClientTypeRequest → ClientType")
    assert visit.complaints == []
    wide, inner = visit.page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert wide == inner
    assert {urlsplit(url).netloc for url in visit.requests} == {urlsplit(visit.page.url).netloc}


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


PICTURES: tuple[tuple[str, str, ViewportSize, Literal["light", "dark"]], ...] = (
    ("docs", "/docs#/Client%20types/CreateClientType", DESKTOP, "light"),
    ("docs-phone-dark", "/docs#/Client%20types/CreateClientType", PHONE, "dark"),
    ("grpc", "/docs/grpc#ClientTypeService", DESKTOP, "light"),
    ("grpc-phone-dark", "/docs/grpc#ClientType", PHONE, "dark"),
)


def test_the_pictures_are_small(
    browser: Browser, stack: Stack, request: pytest.FixtureRequest
) -> None:
    # Without the option if pytest did not load the conftest of this folder first.
    folder = request.config.getoption("--pictures", default=None)
    for name, path, size, colors in PICTURES:
        with browser.new_context(viewport=size, color_scheme=colors) as context:
            page = context.new_page()
            page.goto(f"http://127.0.0.1:{stack.http_port}{path}")
            if path.startswith("/docs#"):
                samples = page.locator(".samples")
                samples.get_by_role("button", name="Python").click()
                samples.evaluate("element => element.scrollIntoView()")
            picture = page.screenshot(type="jpeg", quality=75)
        if folder:
            (Path(folder) / f"{name}.jpg").write_bytes(picture)

        assert len(picture) < 150_000, name

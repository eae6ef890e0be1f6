"""The reference of the native API at /docs/grpc: current, and complete."""

import re
from html.parser import HTMLParser

from tests.support.stack import ROOT
from tools.native_reference.__main__ import DESCRIPTORS, PAGE, current
from tools.native_reference.protos import read_package

TEXT = (ROOT / PAGE).read_text()
PACKAGE = read_package(ROOT / DESCRIPTORS, "portal.oauth.v1")


class Elements(HTMLParser):
    """The ids, the links and the elements that load something."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        assert "style" not in values, "the policy of the page forbids it"
        if "id" in values:
            self.ids.append(values["id"])
        if tag == "a":
            self.links.append(values["href"])
        elif "href" in values or "src" in values:
            self.loaded.append(values.get("href", values.get("src", "")))


def elements() -> Elements:
    found = Elements()
    found.feed(TEXT)
    return found


def test_the_page_is_current() -> None:
    assert current() == TEXT


def test_every_part_of_the_package_is_there_once() -> None:
    services = [service.name for service in PACKAGE.services]
    methods = [f"{one.name}.{method.name}" for one in PACKAGE.services for method in one.methods]
    types = [one.name for one in (*PACKAGE.messages, *PACKAGE.enums)]
    values = [entry.name for one in PACKAGE.enums for entry in one.entries]
    ids = elements().ids

    assert len(ids) == len(set(ids))
    assert {*services, *methods, *types} <= set(ids)
    assert all(f"<b>{value}</b>" in TEXT for value in values)


def test_every_link_leads_somewhere_in_the_portal() -> None:
    found = elements()
    inner = {link.removeprefix("#") for link in found.links if link.startswith("#")}

    assert inner <= set(found.ids)
    assert {link for link in found.links if not link.startswith("#")} == {"/docs"}
    assert set(found.loaded) == {"/docs/favicon-32x32.png", "/docs/grpc.css"}
    assert "<script" not in TEXT


def test_examples_in_comments_keep_their_lines() -> None:
    assert re.search(r'<pre tabindex="0">name = "exact name"\nname : "part', TEXT)

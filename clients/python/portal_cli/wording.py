"""Errors of the server in the words of documents and options: `web`, not OKTA_APP_TYPE_WEB."""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Final

from portal_cli import fields
from portal_client import PortalError
from portal_client.api import FILES

_CONSTANT: Final = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b")
_PREFIX: Final = re.compile(r"(?:provider|client_type|client|api_key)\.")


def violations(error: PortalError) -> Iterator[tuple[str, str]]:
    """The fields of a resource that are invalid, each with what is wrong with it."""
    for violation in error.violations:
        yield _PREFIX.sub("", violation.field, count=1), plain(violation.description)


def text(error: PortalError) -> str:
    """The whole error in one line."""
    return "; ".join(f"{field}: {what}" for field, what in violations(error)) or plain(str(error))


def plain(given: str) -> str:
    """A text in which the names of enum values are replaced with their words."""
    return _CONSTANT.sub(lambda match: _words().get(match[0], match[0]), given)


@cache
def _words() -> Mapping[str, str]:
    words: dict[str, str] = {}
    for file in FILES:
        for enum in file.enum_types_by_name.values():
            names = {value.number: value.name for value in enum.values}
            words |= {names[number]: word for word, number in fields.numbers(enum).items()}
    return words

"""Errors of the server in the words of documents and options: `web`, not OKTA_APP_TYPE_WEB."""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Final

from google.protobuf.descriptor import FileDescriptor

from portal.oauth.v1 import client_pb2, client_type_pb2, provider_pb2
from portal_client import PortalError

_FILES: Final[list[FileDescriptor]] = [
    client_pb2.DESCRIPTOR,
    client_type_pb2.DESCRIPTOR,
    provider_pb2.DESCRIPTOR,
]
_CONSTANT: Final = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b")
_PREFIX: Final = re.compile(r"(?:provider|client_type|client)\.")


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
    for file in _FILES:
        for enum in file.enum_types_by_name.values():
            unspecified, *values = enum.values
            prefix = unspecified.name.removesuffix("UNSPECIFIED")
            words |= {one.name: one.name.removeprefix(prefix).lower() for one in values}
    return words

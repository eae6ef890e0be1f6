"""Absolute http and https URLs."""

import re

from pydantic import AnyHttpUrl, TypeAdapter, ValidationError

# An absolute-URI (RFC 3986, section 4.3): no fragment. No user information either: it
# would be a secret in every response. No flags of the pattern: JSON Schema has none.
URL = re.compile(
    r"[hH][tT][tT][pP][sS]?://"
    r"(?:\w(?:[\w-]*\w)?(?:\.\w(?:[\w-]*\w)?)*\.?|\[[0-9a-fA-F:.]+\])"  # name or address
    r"(?::0*[1-9][0-9]{0,4})?"
    r"(?:[/?][^\s\x00-\x1f\x7f\\#]*)?"
)
"""The form of an absolute http or https URL without user information and fragment."""
_HTTP_URL = TypeAdapter(AnyHttpUrl)


def is_http_url(text: str) -> bool:
    """Whether a text is an absolute http or https URL whose host can exist."""
    return parse_http_url(text) is not None


def parse_http_url(text: str) -> AnyHttpUrl | None:
    """The parts of an absolute http or https URL whose host can exist; None if it is not one."""
    try:
        return _HTTP_URL.validate_python(text) if URL.fullmatch(text) else None
    except ValidationError:
        return None

"""Which redirect URIs a client may have.

A provider sends users to a redirect URI, together with codes and tokens. Providers check
little: some accept wildcards or `javascript:`. So the rules are checked here.
"""

import re
from collections.abc import Callable

from portal_server.domain.urls import is_http_url

# RFC 3986, appendix A: the characters of a URI, with the "#" of a fragment.
_URI = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]*:(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+"
)
_AUTHORITY = re.compile(r"[^:]*://([^/?]*)")
_LOOPBACK_URL = re.compile(
    r"http://(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]+)?(?:[/?].*)?", re.IGNORECASE
)
# A scheme with a period, such as the reversed domain name of the app's owner.
_APP_SCHEME = re.compile(r"[^:.]+(?:\.[^:.]+)+:", re.IGNORECASE)


def _is_web(uri: str) -> bool:
    return uri.lower().startswith(("http:", "https:"))


def _has_user_information(uri: str) -> bool:
    authority = _AUTHORITY.match(uri)
    return authority is not None and "@" in authority[1]


def _is_plain_http(uri: str) -> bool:
    return uri.lower().startswith("http:") and not _LOOPBACK_URL.fullmatch(uri)


_RULES: tuple[tuple[Callable[[str], object], str], ...] = (
    (
        lambda uri: not _URI.fullmatch(uri),
        "must be an absolute URI in ASCII (RFC 3986, section 4.3)",
    ),
    (
        lambda uri: "#" in uri,
        "must not have a fragment (RFC 6749, section 3.1.2)",
    ),
    (
        lambda uri: "*" in uri,
        "must not have a wildcard (RFC 9700, section 4.1.3)",
    ),
    (
        _has_user_information,
        "must not have user information (RFC 9110, section 4.2.4)",
    ),
    (
        lambda uri: _is_web(uri) and not is_http_url(uri),
        "must have a valid host and port (RFC 9110, section 4.2)",
    ),
    (
        _is_plain_http,
        "must use https; http is for loopback hosts only (RFC 8252, section 7.3)",
    ),
    (
        lambda uri: not _is_web(uri) and not _APP_SCHEME.match(uri),
        "must use https, or a scheme of a native app with a period in it (RFC 8252, section 7.1)",
    ),
)
"""Each rule: what breaks it, and the message. Only the first broken rule is reported."""


def redirect_uri_problem(uri: str, max_length: int) -> str:
    """What is wrong with a redirect URI, as it follows the URI in a sentence; "" if nothing."""
    if len(uri) > max_length:
        return f"is {len(uri)} characters long; at most {max_length} are allowed"
    return next((message for breaks, message in _RULES if breaks(uri)), "")


def is_of_native_app(uri: str) -> bool:
    """Whether only a native app can receive what is sent to a valid redirect URI.

    That is a scheme of an app, or http on a loopback host (OpenID Connect Registration,
    section 2, `application_type`).
    """
    return not uri.lower().startswith("https:")

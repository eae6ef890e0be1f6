"""URLs of providers: one parser decides where a request goes and what its origin is."""

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote

from portal_server.domain.urls import parse_http_url

_AUTHORITY = re.compile(r"[a-z]+://[^/?]*", re.IGNORECASE)
# RFC 3986, section 2, and "%": what is already encoded stays encoded.
_SAFE = "%!#$&'()*+,/:;=?@[]~"
_DEFAULT_PORTS = {"http": 80, "https": 443}
MAX_LENGTH = 2048


@dataclass(frozen=True, slots=True)
class Url:
    """An absolute http or https URL. `host` is ASCII, an address has no brackets.

    `target` is path and query exactly as they were given (RFC 9112, section 3.2.1).
    """

    text: str
    scheme: str
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """Host and port, as the Host header has them (RFC 9110, section 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """Scheme, host and port (RFC 6454, section 4)."""
        return f"{self.scheme}://{self.authority}"

    @property
    def path(self) -> str:
        """The path, without the query."""
        return self.target.partition("?")[0]


# A registration parses those of its provider ten times.
@lru_cache(1024)
def parse(text: str) -> Url | None:
    """Parse a URL; None if it is not an absolute http or https URL."""
    url = parse_http_url(text) if len(text) <= MAX_LENGTH else None
    authority = _AUTHORITY.match(text)
    if not url or not authority or not url.host or not url.port:
        return None
    target = quote(text[authority.end() :], safe=_SAFE)
    if not target.startswith("/"):
        target = f"/{target}"
    return Url(text, url.scheme, url.host.strip("[]"), url.port, target)

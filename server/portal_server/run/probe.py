"""A probe for containers, which have no curl: `python -m portal_server.run.probe /livez`.

The exit status is 0 if the portal with the settings of the environment serves the path. It uses
only the standard library, because it runs every few seconds.

With mutual TLS it uses the client certificate of PORTAL_CERT and PORTAL_CERT_KEY. Without one,
Envoy rejects it, which shows that Envoy is alive, not that it is ready.
"""

import os
import ssl
import sys
import urllib.request
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Final
from urllib.error import URLError

_SECONDS: Final = 4.0
_ALIVE: Final = "/livez"


def main(path: str, settings: Mapping[str, str] = os.environ) -> int:
    """Probe the path; the exit status."""
    url = f"{'https' if settings.get('PORTAL_TLS_CERT') else 'http'}://{_place(settings)}{path}"
    try:
        with urllib.request.urlopen(url, timeout=_SECONDS, context=_context(settings)):  # noqa: S310
            return 0
    except OSError as error:
        cause = error.reason if isinstance(error, URLError) else error
        if isinstance(cause, ssl.SSLError) and "CERTIFICATE_REQUIRED" in str(cause.reason):
            if path == _ALIVE:
                return 0
            cause = "the portal requires a client certificate: set PORTAL_CERT and PORTAL_CERT_KEY"
        print(f"{url}: {cause}", file=sys.stderr)  # noqa: T201
        return 1


def _place(settings: Mapping[str, str]) -> str:
    host = ip_address(settings.get("PORTAL_HOST") or "127.0.0.1")
    if host.is_unspecified:
        host = ip_address("127.0.0.1" if host.version == 4 else "::1")  # noqa: PLR2004
    port = settings.get("PORTAL_HTTP_PORT") or "3001"
    return f"{host}:{port}" if host.version == 4 else f"[{host}]:{port}"  # noqa: PLR2004


def _context(settings: Mapping[str, str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Nothing is sent that an impostor could use, and the certificate has other names.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if certificate := settings.get("PORTAL_CERT"):
        context.load_cert_chain(certificate, settings.get("PORTAL_CERT_KEY"))
    return context


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

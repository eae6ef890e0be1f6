"""A probe for containers, which have no curl: `python -m portal_server.run.probe /livez`.

The exit status is 0 if the portal with the settings of the environment serves the path. It uses
only the standard library, because it runs every few seconds.

With mutual TLS it uses the client certificate of PORTAL_CERT and PORTAL_CERT_KEY. Without one, a
TLS handshake shows that Envoy is alive; nothing shows that it is ready.
"""

import os
import socket
import ssl
import sys
import urllib.request
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

_SECONDS: Final = 4.0
_ALIVE: Final = "/livez"


def main(path: str, settings: Mapping[str, str] = os.environ) -> int:
    """Probe the path; the exit status."""
    host, port = _place(settings)
    needs_certificate = settings.get("PORTAL_TLS_CLIENT_CA") and not settings.get("PORTAL_CERT")
    try:
        if needs_certificate and path == _ALIVE:
            _shake_hands(host, port, _context(settings))
        else:
            _get(host, port, path, settings)
    except OSError as error:
        hint = "; set PORTAL_CERT and PORTAL_CERT_KEY" if needs_certificate else ""
        print(f"{path} on port {port}: {error}{hint}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _shake_hands(host: str, port: int, context: ssl.SSLContext) -> None:
    with socket.create_connection((host, port), _SECONDS) as plain:
        context.wrap_socket(plain).close()


def _get(host: str, port: int, path: str, settings: Mapping[str, str]) -> None:
    scheme = "https" if settings.get("PORTAL_TLS_CERT") else "http"
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    url = f"{scheme}://{place}{path}"
    urllib.request.urlopen(url, timeout=_SECONDS, context=_context(settings)).close()  # noqa: S310


def _place(settings: Mapping[str, str]) -> tuple[str, int]:
    host = ip_address(settings.get("PORTAL_HOST") or "127.0.0.1")
    if host.is_unspecified:
        host = IPv4Address("127.0.0.1") if isinstance(host, IPv4Address) else IPv6Address("::1")
    return str(host), int(settings.get("PORTAL_HTTP_PORT") or 3001)


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

"""Why a server cannot be reached over HTTP, if a retry cannot change that."""

import errno
import socket
import ssl
from collections.abc import Iterator
from typing import Final

import httpx

_PROBE_S: Final = 2.0
_NO_ROUTE: Final = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
# What OpenSSL reports if the other side does not respond with TLS.
_PLAINTEXT: Final = {"HTTP_REQUEST", "WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG"}
# How the HTTP parser begins the description of bytes that are not HTTP/1.1.
_NOT_HTTP: Final = "illegal "


def reason(error: httpx.RequestError, url: httpx.URL, *, reached: bool) -> str:
    """Why no request to this URL can succeed; "" if one may succeed later.

    `reached` is whether the server has responded before: its name is then known, and it may be
    restarting.
    """
    for cause in _causes(error):
        if isinstance(cause, ConnectionRefusedError) and not reached:
            return "connection refused; is the portal running there?"
        if found := _of_system(cause, url, reached=reached):
            return found
    if isinstance(error, httpx.RemoteProtocolError | httpx.ReadError):
        # The bytes of a TLS alert are not HTTP either. Some servers close the connection instead.
        if url.scheme == "http" and not reached and _speaks_tls(url):
            return "the port expects TLS; use https"
        if str(error).startswith(_NOT_HTTP):
            return "the port does not speak HTTP/1.1; is it a gRPC port?"
    permanent = httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.DecodingError
    return str(error) if isinstance(error, permanent) else ""


def _of_system(cause: BaseException, url: httpx.URL, *, reached: bool) -> str:
    match cause:
        case socket.gaierror() if not (reached and cause.errno == socket.EAI_AGAIN):
            return f"unknown host {url.host} ({cause.strerror})"
        case ssl.SSLCertVerificationError():
            return f"TLS: {cause.verify_message}"
        case ssl.SSLError() if cause.reason in _PLAINTEXT:
            return "the port does not use TLS; use http, or another port"
        case ssl.SSLError() if not isinstance(cause, ssl.SSLEOFError):
            return f"TLS: {cause.reason or cause.strerror}"
        case OSError() if cause.errno in _NO_ROUTE:
            return str(cause.strerror)
    return ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _speaks_tls(url: httpx.URL) -> bool:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((url.host, url.port or 80), _PROBE_S) as connection,
            context.wrap_socket(connection, server_hostname=url.host),
        ):
            return True
    except OSError:
        return False

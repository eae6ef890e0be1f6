"""Why a portal cannot be reached, in one sentence.

gRPC reports the error of the address that it tried last, often one at which no server is expected.
So after a failed call the command connects itself, and reports what it finds.
"""

import errno
import re
import socket
import ssl
from contextlib import closing
from importlib.metadata import version
from typing import Final

from portal_cli.errors import CommandError, Exit
from portal_client import (
    DeadlineExceeded,
    Portal,
    PortalError,
    Tls,
    Unavailable,
    Unimplemented,
)
from portal_client.connection import TARGET

_SECONDS: Final = 3.0
_HOST_AND_PORT: Final = re.compile(
    r"(?:\[(?P<ipv6>[^\[\]]+)\]|(?P<host>[^\[\]:/\s]+)):(?P<port>\d{1,5})"
)
_GRPC_SCHEME: Final = re.compile(r"(dns|ipv4|ipv6|unix|unix-abstract|vsock|xds):(?!\d+$).+")
# X509_V_ERR_*: self-signed, self-signed in the chain, issuer not found, first not verified.
_NOT_TRUSTED: Final = {18, 19, 20, 21}
# What OpenSSL reports if the other side does not respond with TLS.
_PLAINTEXT: Final = {
    "HTTP_REQUEST",
    "PACKET_LENGTH_TOO_LONG",
    "RECORD_LAYER_FAILURE",
    "UNEXPECTED_EOF_WHILE_READING",
    "WRONG_VERSION_NUMBER",
}
_NO_TLS: Final = (
    "the server does not use TLS; remove --tls and --ca, or unset PORTAL_TLS and PORTAL_CA"
)
_SET_CERT: Final = "pass --cert and --cert-key, or set PORTAL_CERT and PORTAL_CERT_KEY"
_NEEDS_CERT: Final = f"if it requires a client certificate, {_SET_CERT}"
# With TLS 1.3 a handshake is complete before the server has checked the client's certificate.
_REJECTION_SECONDS: Final = 1.0
_SET_TARGET: Final = "set PORTAL_TARGET or pass --target"
# What a client of HTTP/2 sends first (RFC 9113, section 3.4): the preface and empty SETTINGS.
_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_HEADER_BYTES: Final = 9
_SETTINGS: Final = 4
# They say least about a host: its other address may be the one that counts.
_NOT_HERE: Final = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.ENETUNREACH}


class _NotReached(Exception):
    """The cause and a hint."""


def check_target(target: str) -> None:
    """Reject a target in which a mistake is likely.

    Raises:
        CommandError: it is a URL, or has no port.
    """
    if _GRPC_SCHEME.fullmatch(target) and "://" not in target.partition(":///")[0]:
        return
    match = _HOST_AND_PORT.fullmatch(target)
    if match is None or not 0 < int(match["port"]) < 1 << 16:
        what = "is a URL" if "://" in target else "has no valid port"
        raise CommandError(
            f"the target {target!r} {what}: it must be host:port, such as {TARGET}; {_SET_TARGET}",
            Exit.USAGE,
        )


def other_version(portal: Portal, error: PortalError) -> str | None:
    """What to say if a portal of another version does not have a method; None if that is not so."""
    # An error of the server has a reason (AIP-193): the provider cannot do it.
    if not isinstance(error, Unimplemented) or error.reason_name:
        return None
    try:
        server = portal.get_server_info().version
    except PortalError:
        return None
    own = version("oauth-portal")
    return f"the server has version {server} and does not support this; this command line is {own}"


def cause(error: PortalError, target: str, tls: Tls | None) -> str | None:
    """Why the portal was not reached; None if it was, and the error is its own."""
    # An error of the server has a reason (AIP-193).
    if error.reason_name or not isinstance(error, Unavailable | DeadlineExceeded | Unimplemented):
        return None
    if isinstance(error, Unimplemented):
        return f"{target} does not have this method: it is not a portal, or an older one"
    match = _HOST_AND_PORT.fullmatch(target)
    if match is None:
        return None
    host, port = match["ipv6"] or match["host"], int(match["port"])
    try:
        with closing(_connected(host, port)) as connection:
            _check_tls(connection, host, tls) if tls else _check_plaintext(connection)
        if not tls:
            with closing(_connected(host, port)) as connection:
                _check_http2(connection)
    except _NotReached as found:
        return f"cannot connect to {target}: {found}"
    except TimeoutError:
        pass
    if isinstance(error, DeadlineExceeded):
        return f"{target} accepts connections but did not respond in time"
    return f"{target} accepts connections, but the call failed: {error}"


def _connected(host: str, port: int) -> socket.socket:
    """A connection to the first address that accepts one."""
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        text = error.strerror if isinstance(error, OSError) else "not a host name"
        raise _NotReached(f"unknown host ({text}); {_SET_TARGET}") from None
    failures = []
    for family, kind, protocol, _, address in addresses:
        connection = socket.socket(family, kind, protocol)
        connection.settimeout(_SECONDS)
        try:
            connection.connect(address)
        except OSError as error:
            connection.close()
            failures.append(error)
        else:
            return connection
    failures.sort(key=lambda one: one.errno in _NOT_HERE)
    raise _NotReached(_text(failures[0]))


def _text(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return f"connection refused; is the portal running there? If it is elsewhere, {_SET_TARGET}"
    if isinstance(error, TimeoutError):
        return f"no response in {_SECONDS:g} seconds; {_SET_TARGET}"
    return f"{error.strerror}; {_SET_TARGET}"


def _check_tls(connection: socket.socket, host: str, tls: Tls) -> None:
    try:
        with _context(tls).wrap_socket(connection, server_hostname=host) as protected:
            _await_rejection(protected, tls)
    except ssl.SSLCertVerificationError as error:
        raise _NotReached(_certificate(error, tls)) from None
    except ssl.SSLError as error:
        raise _NotReached(_rejected(error, tls)) from None
    except TimeoutError:
        raise _NotReached(f"no response to TLS in {_SECONDS:g} seconds; {_SET_TARGET}") from None
    except OSError:  # it closed the connection
        raise _NotReached(_NO_TLS) from None


def _await_rejection(protected: ssl.SSLSocket, tls: Tls) -> None:
    """Raises SSLError or _NotReached if the server ends the connection."""
    protected.settimeout(_REJECTION_SECONDS)
    try:
        if protected.recv(1):
            return
    except TimeoutError:
        return
    except ConnectionError:
        pass
    hint = "it may not accept the client certificate" if tls.certificate else _NEEDS_CERT
    raise _NotReached(f"the server closed the connection after the TLS handshake; {hint}")


def _context(tls: Tls) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=tls.ca)
    except ssl.SSLError:
        raise _NotReached(f"{tls.ca} has no valid certificate (PEM)") from None
    if tls.certificate:
        try:
            context.load_cert_chain(tls.certificate, tls.private_key, password="")
        except ssl.SSLError:
            text = "are not a certificate and its private key (PEM, without a passphrase)"
            raise _NotReached(f"{tls.certificate} and {tls.private_key} {text}") from None
    context.set_alpn_protocols(["h2"])
    return context


def _rejected(error: ssl.SSLError, tls: Tls) -> str:
    """Why the handshake failed."""
    reason = error.reason or ""
    if reason in _PLAINTEXT:
        return _NO_TLS
    if "CERTIFICATE_REQUIRED" in reason or ("HANDSHAKE_FAILURE" in reason and not tls.certificate):
        return f"the server requires a client certificate; {_SET_CERT}"
    if ("ALERT" in reason and "CERTIFICATE" in reason) or "UNKNOWN_CA" in reason:
        # The names of RFC 8446, section 6: OpenSSL's have the version that introduced them.
        alert = reason.rpartition("ALERT_")[2].lower()
        return f"the server does not accept the client certificate {tls.certificate} ({alert})"
    return f"TLS: {reason or error.strerror}"


def _certificate(error: ssl.SSLCertVerificationError, tls: Tls) -> str:
    text = f"the certificate of the server is invalid: {error.verify_message.rstrip('.')}"
    if error.verify_code not in _NOT_TRUSTED:
        return text
    hint = "pass the file of its CA with --ca or PORTAL_CA"
    return f"{text}; {f'{tls.ca} does not have its CA' if tls.ca else hint}"


def _check_plaintext(connection: socket.socket) -> None:
    """Raises _NotReached if the server uses TLS, TimeoutError if it sends nothing."""
    context = ssl.create_default_context()
    context.check_hostname = False
    # Only whether the server uses TLS. Nothing is sent over this connection.
    context.verify_mode = ssl.CERT_NONE
    try:
        context.wrap_socket(connection).close()
    except TimeoutError:
        raise
    except OSError:
        return
    raise _NotReached("the server uses TLS: pass --tls or set PORTAL_TLS=true")


def _check_http2(connection: socket.socket) -> None:
    """Raises _NotReached if the server does not send the SETTINGS of HTTP/2, and TimeoutError."""
    received = b""
    try:
        connection.sendall(_PREFACE)
        while len(received) < _HEADER_BYTES:
            part = connection.recv(_HEADER_BYTES - len(received))
            if not part:
                break
            received += part
    except TimeoutError:
        raise
    except OSError:
        pass
    if len(received) == _HEADER_BYTES and received[3] == _SETTINGS:
        return
    found = "it closed the connection" if not received else "it does not use HTTP/2"
    raise _NotReached(f"it is not a gRPC server ({found}); {_SET_TARGET}")

"""Connects to a provider: one deadline, and only to allowed addresses."""

import socket
import ssl
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import BoundedSemaphore, Thread
from typing import Any

from portal_server.domain.errors import NotSent, Reason
from portal_server.idp.addresses import address_problem
from portal_server.idp.urls import Url

CONNECT_S = 3.0
"""How long resolving the name and connecting may take together; TLS may take as long again."""
# Resolving cannot be interrupted: a dead resolver must not use up threads.
_RESOLUTIONS = BoundedSemaphore(64)

_Address = tuple[socket.AddressFamily, tuple[Any, ...]]


class Deadline:
    """The time by which everything must end."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def left_s(self) -> float:
        """The time that is left, in seconds; negative after the deadline."""
        return self._end - time.monotonic()

    def timeout(self, most: float = float("inf")) -> float:
        """The timeout of the next step, at most `most` seconds.

        Raises:
            TimeoutError: no time is left.
        """
        left = min(self.left_s, most)
        if left <= 0:
            raise TimeoutError
        return left


@dataclass(frozen=True, slots=True)
class Connected:
    """A connected socket, and when the server's certificate expires, if it was verified."""

    socket: socket.socket
    certificate_expire_time: datetime | None = None


def connect(
    url: Url, context: ssl.SSLContext | None, deadline: Deadline, *, allow_private: bool
) -> Connected:
    """Connect to the host of a URL, with TLS if there is a context. No proxy is used.

    Raises:
        NotSent: there is no connection.
    """
    if context is None and url.scheme == "https":
        raise ValueError("https needs a context")
    sock = _connect(url.host, url.port, deadline, allow_private=allow_private)
    if context is None:
        return Connected(sock)
    try:
        sock.settimeout(deadline.timeout(CONNECT_S))
        tls = context.wrap_socket(sock, server_hostname=url.host)
    except (OSError, ValueError) as error:
        sock.close()
        raise _tls_error(url.host, error) from None
    verified = context.verify_mode is ssl.CERT_REQUIRED
    return Connected(tls, _expire_time(tls) if verified else None)


def _connect(host: str, port: int, deadline: Deadline, *, allow_private: bool) -> socket.socket:
    end = Deadline(min(CONNECT_S, deadline.left_s))
    addresses = _allowed(host, _resolve(host, port, end), allow_private=allow_private)
    cause = "it took too long"
    for tried, (family, address) in enumerate(addresses):
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            # Each address gets a share of the time, so that the last one is tried too.
            sock.settimeout(end.timeout(end.left_s / (len(addresses) - tried)))
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            sock.close()
            cause = "it took too long" if isinstance(error, TimeoutError) else _words(error)
        else:
            return sock
    raise _unreachable(f"no connection to {host} port {port}: {cause}")


def _allowed(host: str, addresses: list[_Address], *, allow_private: bool) -> list[_Address]:
    problems = {
        address[0]: address_problem(str(address[0]), allow_private=allow_private)
        for _, address in addresses
    }
    allowed = [each for each in addresses if not problems[each[1][0]]]
    if not allowed:
        address, problem = next(iter(problems.items()))
        name = host if host == address else f"{host} ({address})"
        text = f"{name} is {problem}: this portal does not connect to it"
        if not address_problem(str(address), allow_private=True):
            text += ", unless its operator allows private addresses"
        raise NotSent(Reason.PROVIDER_ADDRESS_NOT_ALLOWED, text)
    return allowed


def _resolve(host: str, port: int, end: Deadline) -> list[_Address]:
    """The addresses of a name; it is resolved once, so the checked addresses are used."""
    if not _RESOLUTIONS.acquire(timeout=max(end.left_s, 0)):
        raise _unreachable(f"{host} cannot be resolved: too many resolutions are in progress")
    found: list[_Address] = []
    errors: list[OSError | UnicodeError] = []

    def resolve() -> None:
        try:
            for family, _, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
                found.append((family, address))
        except (OSError, UnicodeError) as error:
            errors.append(error)
        finally:
            _RESOLUTIONS.release()

    if _is_address(host):
        resolve()
    else:
        thread = Thread(target=resolve, name="resolve", daemon=True)
        thread.start()
        thread.join(max(end.left_s, 0))
        if thread.is_alive():
            raise _unreachable(f"{host} cannot be resolved: it took too long")
    if errors or not found:
        cause = _words(errors[0]) if errors else "it has no address"
        raise _unreachable(f"{host} cannot be resolved: {cause}")
    return found


def _is_address(host: str) -> bool:
    try:
        address_problem(host, allow_private=True)
    except ValueError:
        return False
    return True


def _words(error: OSError | UnicodeError) -> str:
    return (error.strerror if isinstance(error, OSError) else "") or "it is not a valid name"


def _unreachable(text: str) -> NotSent:
    return NotSent(Reason.PROVIDER_UNREACHABLE, text)


def _tls_error(host: str, error: Exception) -> NotSent:
    if isinstance(error, TimeoutError):
        return _unreachable(f"{host} did not complete the TLS handshake in time")
    if isinstance(error, ssl.SSLCertVerificationError):
        text = f"the TLS certificate of {host} is not trusted: {error.verify_message.rstrip('.')}"
        return NotSent(Reason.PROVIDER_TLS_NOT_TRUSTED, text)
    if isinstance(error, ssl.SSLError) and error.reason == "WRONG_VERSION_NUMBER":
        return _unreachable(f"{host} does not use TLS on this port; the URL may have to be http")
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or "").replace("_", " ").lower()
        text = f"the TLS handshake with {host} failed: {reason or 'the connection ended'}"
        return NotSent(Reason.PROVIDER_TLS_NOT_TRUSTED, text)
    return _unreachable(f"{host} ended the connection during the TLS handshake")


def _expire_time(tls: ssl.SSLSocket) -> datetime | None:
    text = (tls.getpeercert() or {}).get("notAfter")
    if not isinstance(text, str):
        return None
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(text), UTC)

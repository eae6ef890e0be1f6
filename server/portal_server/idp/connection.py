"""One HTTP request to a provider, on a new connection.

Nothing is retried, no redirect is followed, and no proxy of the environment is used. One
deadline covers everything from resolving the name to the last byte of the body.
"""

import json
import socket
import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import BoundedSemaphore, Thread
from typing import Any

import httpcore

from portal_server.domain.errors import NotSent, OutcomeUnknown, ProviderError, Reason
from portal_server.idp.addresses import address_problem
from portal_server.idp.urls import Url

CONNECT_S = 3.0
"""How long resolving the name and connecting may take together; TLS may take as long again."""
MAX_BYTES = 1 << 20
"""How long a response may be, headers included."""
# Resolving cannot be interrupted: a dead resolver must not use up threads.
_RESOLUTIONS = BoundedSemaphore(64)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request; `headers` and `body` may have secrets."""

    method: str
    url: Url
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A response whose status and headers are complete.

    The names of `headers` are lowercase. `problem` is why the body cannot be used; it
    completes a sentence that begins with "the response". `certificate_expire_time` is when
    the server's certificate expires, if it was verified.
    """

    url: Url
    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    problem: str = ""
    timed_out: bool = False
    certificate_expire_time: datetime | None = None

    def json(self) -> Any:
        """The body as JSON; None if it is not JSON (RFC 8259)."""
        if self.problem:
            return None
        try:
            return json.loads(self.body, parse_constant=_reject_constant)
        except (ValueError, RecursionError):
            return None


def exchange(
    request: Request, *, context: ssl.SSLContext | None, allow_private: bool, deadline: Deadline
) -> Response:
    """Send a request and receive its response; https needs a context.

    Raises:
        NotSent: nothing reached the provider.
        OutcomeUnknown: the request was sent, and no status came back.
    """
    url = request.url
    network = _Network(deadline, allow_private=allow_private)
    scheme, host = url.scheme.encode(), url.host.encode()
    connection = httpcore.HTTPConnection(
        httpcore.Origin(scheme, host, url.port), ssl_context=context, network_backend=network
    )
    target = httpcore.URL(scheme=scheme, host=host, port=url.port, target=url.target)
    try:
        response = connection.handle_request(
            httpcore.Request(
                request.method, target, headers=_headers(request), content=request.body
            )
        )
        return _receive(url, response, network.certificate_expire_time)
    except httpcore.TimeoutException:
        text = f"the request was sent to {url.authority}, and no response came in time"
        raise OutcomeUnknown(Reason.PROVIDER_TIMEOUT, text) from None
    except (httpcore.NetworkError, httpcore.ProtocolError) as error:
        text = f"the request was sent to {url.authority}, but {_cause(error)}"
        raise OutcomeUnknown(Reason.PROVIDER_OUTCOME_UNKNOWN, text) from None
    finally:
        connection.close()


def _headers(request: Request) -> list[tuple[str, str]]:
    headers = {
        "Host": request.url.authority,
        "User-Agent": "oauth-portal",
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "Connection": "close",
        **request.headers,
    }
    if request.body is not None:
        headers["Content-Length"] = str(len(request.body))
    return list(headers.items())


def _receive(url: Url, response: httpcore.Response, expire_time: datetime | None) -> Response:
    headers: dict[str, str] = {}
    for raw_name, raw_value in response.headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    problem, timed_out, parts = "", False, []
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"", "identity"}:
        problem = "is compressed, which was not requested"
    else:
        try:
            # httpcore gives the synchronous stream the type of both kinds.
            parts = list(response.iter_stream())
        except httpcore.TimeoutException:
            problem, timed_out = "did not end in time", True
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            problem = f"was truncated: {_cause(error)}"
    return Response(
        url=url,
        status=response.status,
        headers=headers,
        body=b"".join(parts),
        problem=problem,
        timed_out=timed_out,
        certificate_expire_time=expire_time,
    )


def _cause(error: Exception) -> str:
    if isinstance(error, _TooLargeError):
        return f"its response has more than {MAX_BYTES} bytes"
    if isinstance(error, httpcore.ProtocolError):
        return "its response is not HTTP, or is not complete"
    return "the connection ended before the response"


def _reject_constant(name: str) -> None:
    raise ValueError(name)


class _TooLargeError(httpcore.ReadError):
    pass


class _Stream(httpcore.NetworkStream):
    """A socket with a deadline for all its operations and a limit of bytes to read."""

    def __init__(self, network: "_Network", sock: socket.socket) -> None:
        self._network = network
        self._deadline = network.deadline
        self._socket = sock
        self._left = MAX_BYTES

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        try:
            self._socket.settimeout(self._deadline.timeout())
            data = self._socket.recv(max_bytes)
        except TimeoutError as error:
            raise httpcore.ReadTimeout from error
        except OSError as error:
            raise httpcore.ReadError from error
        self._left -= len(data)
        if self._left < 0:
            raise _TooLargeError
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        try:
            self._socket.settimeout(self._deadline.timeout())
            self._socket.sendall(buffer)
        except TimeoutError as error:
            raise httpcore.WriteTimeout from error
        except OSError as error:
            raise httpcore.WriteError from error

    def close(self) -> None:
        self._socket.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        host = server_hostname or ""
        try:
            self._socket.settimeout(self._deadline.timeout(CONNECT_S))
            tls = ssl_context.wrap_socket(self._socket, server_hostname=host)
        except (OSError, ValueError) as error:
            self._socket.close()
            raise _tls_error(host, error) from None
        if ssl_context.verify_mode is ssl.CERT_REQUIRED:
            self._network.certificate_expire_time = _expire_time(tls)
        return _Stream(self._network, tls)


class _Network(httpcore.NetworkBackend):
    """Connects only to allowed addresses."""

    def __init__(self, deadline: Deadline, *, allow_private: bool) -> None:
        self.deadline = deadline
        self.certificate_expire_time: datetime | None = None
        self._allow_private = allow_private

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002
        local_address: str | None = None,  # noqa: ARG002
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        end = Deadline(min(CONNECT_S, self.deadline.left_s))
        addresses = self._allowed(host, _resolve(host, port, end))
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
                return _Stream(self, sock)
        raise _unreachable(f"no connection to {host} port {port}: {cause}")

    def _allowed(self, host: str, addresses: list["_Address"]) -> list["_Address"]:
        problems = {
            address[0]: address_problem(str(address[0]), allow_private=self._allow_private)
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


_Address = tuple[socket.AddressFamily, tuple[Any, ...]]


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


def _tls_error(host: str, error: Exception) -> ProviderError:
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

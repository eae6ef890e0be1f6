"""A connection to a provider, and the HTTP requests on it, one after the other (RFC 9112).

Nothing is retried, and no redirect is followed. A request has a deadline for everything
until the last byte of the body, and a limit of bytes for its response.
"""

import json
import select
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import h11

from portal_server.domain.errors import OutcomeUnknown, Reason
from portal_server.idp.network import Connected, Deadline
from portal_server.idp.urls import Url

MAX_BYTES = 1 << 20
"""How long a response may be, headers included."""
_MAX_HEADERS = 100 << 10
_READ_BYTES = 64 << 10


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


class Connection:
    """A connection; one thread at a time uses it."""

    def __init__(self, connected: Connected) -> None:
        self._connected = connected
        self._socket = connected.socket
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEADERS)
        self._left = 0
        self.opened = time.monotonic()
        """When it was opened, on the clock `time.monotonic`."""
        self.reusable = False
        """Whether it can be used for another request: the provider keeps it open.

        It must say so. Many servers close a connection after each response without a word,
        and the outcome of a request that is sent at that moment would be unknown.
        """

    def exchange(self, request: Request, deadline: Deadline) -> Response:
        """Send a request and receive its response.

        Raises:
            OutcomeUnknown: the request was sent, and no status came back.
        """
        self.reusable = False
        self._left = MAX_BYTES
        authority = request.url.authority
        try:
            self._send(request, deadline)
            head = self._head(deadline)
        except TimeoutError:
            text = f"the request was sent to {authority}, and no response came in time"
            raise OutcomeUnknown(Reason.PROVIDER_TIMEOUT, text) from None
        except (OSError, h11.ProtocolError) as error:
            text = f"the request was sent to {authority}, but {_cause(error)}"
            raise OutcomeUnknown(Reason.PROVIDER_OUTCOME_UNKNOWN, text) from None
        return self._received(request.url, head, deadline)

    def is_open(self) -> bool:
        """Whether the provider has neither closed it nor sent anything without a request."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return not poll.poll(0)

    def close(self) -> None:
        """Close it."""
        self._socket.close()

    def _send(self, request: Request, deadline: Deadline) -> None:
        parts: list[h11.Event] = [
            h11.Request(method=request.method, target=request.url.target, headers=_headers(request))
        ]
        if request.body:
            parts.append(h11.Data(data=request.body))
        parts.append(h11.EndOfMessage())
        data = b"".join(self._http.send(part) or b"" for part in parts)
        self._socket.settimeout(deadline.timeout())
        try:
            self._socket.sendall(data)
        except TimeoutError:
            raise
        except OSError:
            # It may have responded before the end of the request; else reading fails too.
            pass

    def _head(self, deadline: Deadline) -> h11.Response:
        """The status and the headers; interim responses (1xx) are ignored."""
        while True:
            event = self._event(deadline)
            if isinstance(event, h11.Response):
                return event

    def _received(self, url: Url, head: h11.Response, deadline: Deadline) -> Response:
        headers: dict[str, str] = {}
        for raw_name, raw_value in head.headers:
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        problem, timed_out, body = "", False, b""
        encoding = headers.get("content-encoding", "identity").strip().lower()
        if encoding not in {"", "identity"}:
            problem = "is compressed, which was not requested"
        else:
            try:
                body = self._body(deadline)
                self._end(headers)
            except TimeoutError:
                problem, timed_out = "did not end in time", True
            except (OSError, h11.ProtocolError) as error:
                problem = f"was truncated: {_cause(error)}"
        return Response(
            url=url,
            status=head.status_code,
            headers=headers,
            body=body,
            problem=problem,
            timed_out=timed_out,
            certificate_expire_time=self._connected.certificate_expire_time,
        )

    def _body(self, deadline: Deadline) -> bytes:
        parts = []
        while isinstance(event := self._event(deadline), h11.Data):
            parts.append(event.data)
        return b"".join(parts)

    def _end(self, headers: Mapping[str, str]) -> None:
        """Prepare the connection for another request, if the provider keeps it open."""
        options = headers.get("connection", "").lower().split(",")
        keeps = "keep-alive" in (option.strip() for option in options)
        both = (self._http.our_state, self._http.their_state)
        # Bytes after the response would be taken for the next one.
        if keeps and both == (h11.DONE, h11.DONE) and self._http.trailing_data == (b"", False):
            self._http.start_next_cycle()
            self.reusable = True

    def _event(self, deadline: Deadline) -> Any:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._socket.settimeout(deadline.timeout())
            data = self._socket.recv(_READ_BYTES)
            self._left -= len(data)
            if self._left < 0:
                raise _TooLargeError
            self._http.receive_data(data)
        return event


def _headers(request: Request) -> list[tuple[str, str]]:
    headers = {
        "Host": request.url.authority,
        "User-Agent": "oauth-portal",
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "Connection": "keep-alive",
        **request.headers,
    }
    if request.body is not None:
        headers["Content-Length"] = str(len(request.body))
    return list(headers.items())


def _cause(error: Exception) -> str:
    if isinstance(error, _TooLargeError):
        return f"its response has more than {MAX_BYTES} bytes"
    if isinstance(error, h11.ProtocolError):
        return "its response is not HTTP, or is not complete"
    return "the connection ended before the response"


def _reject_constant(name: str) -> None:
    raise ValueError(name)


class _TooLargeError(OSError):
    pass

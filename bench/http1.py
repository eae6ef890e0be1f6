"""A caller of HTTP/1.1 with keep-alive: raw bytes and as little work as possible."""

import asyncio
import re

from bench.connection import Caller, Measurement
from bench.workloads import Request

_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)")
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:\s*chunked")
_ID = re.compile(rb'"ID":\s*[1-9]')
_STATUS = slice(9, 12)


class HttpCaller(Caller):
    """Reads responses with a Content-Length or with chunks (RFC 9112)."""

    def __init__(self, measurement: Measurement) -> None:
        super().__init__(measurement)
        self._reset()

    def _reset(self) -> None:
        self._response = b""
        self._head_read = False
        # End of the body, or None and the start of the next chunk for a chunked body.
        self._end: int | None = None
        self._chunk = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Reset the state of the connection."""
        super().connection_made(transport)
        self._reset()

    def send(self, request: Request) -> None:
        """Write a request."""
        self._transport.write(request.data)

    def data_received(self, data: bytes) -> None:
        """Read more data; count the response when it is complete."""
        self._response = self._response + data if self._response else data
        if not self._head_read:
            self._read_head()
        if self._head_read and self._is_complete():
            response = self._response
            self._reset()
            self.on_response(_error(response, self.requests[self._next]))

    def _read_head(self) -> None:
        end = self._response.find(b"\r\n\r\n")
        if end < 0:
            return
        self._head_read = True
        head = self._response[:end].lower()
        body = end + 4
        if length := _LENGTH.search(head):
            self._end = body + int(length[1])
        elif _CHUNKED.search(head):
            self._chunk = body
        else:
            self._end = body

    def _is_complete(self) -> bool:
        while self._end is None and (line := self._response.find(b"\r\n", self._chunk)) >= 0:
            size = int(self._response[self._chunk : line].partition(b";")[0], 16)
            self._chunk = line + 2 + size + 2
            if size == 0:
                self._end = self._chunk
            elif self._chunk > len(self._response):
                break
        return self._end is not None and len(self._response) >= self._end


def _error(response: bytes, request: Request) -> str | None:
    """The error of a response, if any."""
    status = response[_STATUS]
    if status not in (b"200", b"201"):
        return status.decode()
    if request.has_id and not _ID.search(response):
        return "no id"
    return None

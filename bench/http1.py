"""A caller of HTTP/1.1 with keep-alive: bytes out, bytes in, as little work as possible."""

import asyncio
import re

from bench.connection import Caller, Measurement
from bench.workloads import Request

_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)")
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:\s*chunked")
_ID = re.compile(rb'"ID":\s*[1-9]')
_STATUS = slice(9, 12)


class HttpCaller(Caller):
    """Reads answers that have a Content-Length or come in chunks (RFC 9112)."""

    def __init__(self, measurement: Measurement) -> None:
        super().__init__(measurement)
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin afresh."""
        super().connection_made(transport)
        self._answer = b""

    def send(self, request: Request) -> None:
        """Write a request."""
        self._transport.write(request.data)

    def data_received(self, data: bytes) -> None:
        """Read on; answer when the answer is whole."""
        answer = self._answer = self._answer + data if self._answer else data
        end = answer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = answer[:end].lower()
        body = end + 4
        if length := _LENGTH.search(head):
            whole = len(answer) - body >= int(length[1])
        elif _CHUNKED.search(head):
            whole = _has_last_chunk(answer, body)
        else:
            whole = True
        if whole:
            self._answer = b""
            self.answered(_error(answer, self.requests[self._next]))


def _has_last_chunk(answer: bytes, position: int) -> bool:
    """Whether the chunks that begin at `position` are all there."""
    while (end := answer.find(b"\r\n", position)) >= 0:
        size = int(answer[position:end].partition(b";")[0], 16)
        position = end + 2 + size + 2
        if size == 0:
            return len(answer) >= position
    return False


def _error(answer: bytes, request: Request) -> str | None:
    """What is wrong with an answer."""
    status = answer[_STATUS]
    if status not in (b"200", b"201"):
        return status.decode()
    if request.has_id and not _ID.search(answer):
        return "no id"
    return None

"""A gRPC caller with its own HTTP/2 frames (RFC 9113), one stream at a time.

It has only what a caller of unary methods needs: it sends a request as soon as the server's window
allows it, and reads the whole response. A successful one ends in trailers with `grpc-status: 0`.
"""

import asyncio
import struct

from hpack import Decoder

from bench.connection import Caller, Measurement
from bench.workloads import Request

_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE, _CONTINUATION = (
    0, 1, 3, 4, 6, 7, 8, 9,
)  # fmt: skip
_END_STREAM = _ACK = 1
_END_HEADERS = 4
_PADDED = 8
_PRIORITY = 32
_FIRST_WINDOW = 65_535
_WINDOW = (1 << 31) - 1
_INITIAL_WINDOW_SIZE = 4
_FRAME_HEADER = 9
# In the first frame of a response, after gRPC's five bytes: field 1, the ID.
_ID_AT = 5
_ID_TAG = 0x08


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One frame."""
    return struct.pack("!IBI", len(payload) << 8 | kind, flags, stream) + payload


_OPENING = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    + frame(_SETTINGS, 0, 0, struct.pack("!HI", _INITIAL_WINDOW_SIZE, _WINDOW))
    + frame(_WINDOW_UPDATE, 0, 0, struct.pack("!I", _WINDOW - _FIRST_WINDOW))
)


class GrpcCaller(Caller):
    """Calls unary methods. Streams are numbered 1, 3, 5 and so on."""

    def __init__(self, measurement: Measurement) -> None:
        super().__init__(measurement)
        self._reset()

    def _reset(self) -> None:
        self._unread = b""
        self._stream = -1
        self._send_window = _FIRST_WINDOW
        self._received = 0
        self._held_back: bytes | None = None
        self._decoder = Decoder()
        self._known: dict[bytes, dict[str, str]] = {}
        self._headers: dict[str, str] = {}
        self._block = b""
        self._has_id = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Reset the state of the connection."""
        super().connection_made(transport)
        self._reset()
        self._transport.write(_OPENING)

    def send(self, request: Request) -> None:
        """Write a request: a header block and one DATA frame."""
        first = self._stream < 0
        self._stream += 2
        self._headers = {}
        self._has_id = False
        block = request.first_block if first else request.block
        head = frame(_HEADERS, _END_HEADERS, self._stream, block)
        data = frame(_DATA, _END_STREAM, self._stream, request.data)
        if len(request.data) > self._send_window:
            self._transport.write(head)
            self._held_back = data
            return
        self._send_window -= len(request.data)
        self._transport.write(head + data)

    def data_received(self, data: bytes) -> None:
        """Read all complete frames."""
        if self._unread:
            data = self._unread + data
        position, end = 0, len(data)
        while end - position >= _FRAME_HEADER:
            length_kind, flags, stream = struct.unpack_from("!IBI", data, position)
            following = position + _FRAME_HEADER + (length_kind >> 8)
            if following > end:
                break
            payload = data[position + _FRAME_HEADER : following]
            position = following
            self._on_frame(length_kind & 0xFF, flags, stream, payload)
        self._unread = data[position:]

    def _on_frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _DATA:
            self._on_data(payload)
        elif kind in (_HEADERS, _CONTINUATION):
            self._on_headers(kind, flags, payload)
        elif kind == _SETTINGS and not flags & _ACK:
            self._transport.write(frame(_SETTINGS, _ACK, 0, b""))
        elif kind == _PING and not flags & _ACK:
            self._transport.write(frame(_PING, _ACK, 0, payload))
        elif kind == _WINDOW_UPDATE and stream == 0:
            self._send_window += int.from_bytes(payload)
            self._send_held_back()
        elif kind == _RST_STREAM and stream == self._stream and self.busy:
            self.on_response(f"reset {int.from_bytes(payload)}")
        elif kind == _GOAWAY:
            self._transport.close()
        if kind in (_DATA, _HEADERS) and flags & _END_STREAM and stream == self._stream:
            self.on_response(self._error(self.requests[self._next]))

    def _on_data(self, payload: bytes) -> None:
        if len(payload) > _ID_AT and payload[_ID_AT] == _ID_TAG:
            self._has_id = True
        self._received += len(payload)
        if self._received > _WINDOW // 2:
            update = struct.pack("!I", self._received)
            self._transport.write(frame(_WINDOW_UPDATE, 0, 0, update))
            self._received = 0

    def _on_headers(self, kind: int, flags: int, payload: bytes) -> None:
        if kind == _HEADERS and flags & (_PADDED | _PRIORITY):
            padding = payload[0] if flags & _PADDED else 0
            skip = (1 if flags & _PADDED else 0) + (5 if flags & _PRIORITY else 0)
            payload = payload[skip : len(payload) - padding]
        self._block += payload
        if flags & _END_HEADERS:
            block, self._block = self._block, b""
            self._headers |= self._decoded(block)

    def _decoded(self, block: bytes) -> dict[str, str]:
        """The headers of a block. They are cached until the dynamic table changes."""
        headers = self._known.get(block)
        if headers is None:
            before = list(self._decoder.header_table.dynamic_entries)
            headers = {str(name): str(value) for name, value in self._decoder.decode(block)}
            if before == list(self._decoder.header_table.dynamic_entries):
                self._known[block] = headers
            else:
                self._known.clear()
        return headers

    def _send_held_back(self) -> None:
        data = self._held_back
        if data is not None and len(data) - _FRAME_HEADER <= self._send_window:
            self._held_back = None
            self._send_window -= len(data) - _FRAME_HEADER
            self._transport.write(data)

    def _error(self, request: Request) -> str | None:
        """The error of the response, if any."""
        status = self._headers.get("grpc-status")
        if status != "0":
            return f"grpc-status {status}"
        if request.has_id and not self._has_id:
            return "no id"
        return None

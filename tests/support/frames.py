"""HTTP/2 by hand: streams that no gRPC library would open."""

import socket
import struct
from contextlib import suppress
from typing import Self

from portal_server.wire import health

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
INITIAL_WINDOW_SIZE = 4

CHECK = f"/{health.NAME}/Check"
WATCH = f"/{health.NAME}/Watch"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack("!IBI", len(payload) << 8 | kind, flags, stream) + payload


def headers(path: str, **more: str) -> bytes:
    """A header block without compression (RFC 7541, section 6.2.2)."""
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": "localhost",
        "te": "trailers",
        "content-type": "application/grpc",
        **more,
    }
    return b"".join(
        b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
        for name, value in fields.items()
    )


class Connection:
    """A connection; with a window of 0, the other side can send no response."""

    def __init__(self, port: int, window: int = 65535) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._stream = -1
        settings = struct.pack("!HI", INITIAL_WINDOW_SIZE, window)
        self._socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0, settings))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def open(self, path: str, message: bytes | None = None, key: str | None = None) -> int:
        """Open a stream; without a message it is left waiting for one."""
        self._stream += 2
        block = headers(path) if key is None else headers(path, authorization=key)
        self._socket.sendall(frame(HEADERS, END_HEADERS, self._stream, block))
        if message is not None:
            prefixed = b"\0" + struct.pack("!I", len(message)) + message
            self._socket.sendall(frame(DATA, END_STREAM, self._stream, prefixed))
        return self._stream

    def close(self) -> None:
        with suppress(OSError):
            self._socket.close()

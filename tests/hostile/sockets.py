"""Sockets of attackers, for requests that no client library sends."""

import socket
from types import TracebackType
from typing import Self

# Attackers call from other addresses than the victims: these tests must neither pass nor fail
# because of a limit for each address.
ADDRESSES = tuple(f"127.0.0.{last}" for last in range(2, 18))


class Socket:
    """A TCP connection; `closed` when it could not be opened, or has ended."""

    def __init__(self, port: int, source: str, seconds: float) -> None:
        self.closed = False
        self._socket = socket.socket()
        self._socket.settimeout(seconds)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self._socket.bind((source, 0))
            self._socket.connect(("127.0.0.1", port))
        except OSError:
            self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self.closed = True
        self._socket.close()

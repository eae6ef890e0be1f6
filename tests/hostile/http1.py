"""Raw bytes over TCP, for requests that no HTTP client would make."""

import time

from tests.hostile.sockets import ADDRESSES, Socket


class Tcp(Socket):
    """A connection that never waits to send: what the peer does not take now is dropped."""

    def __init__(self, port: int, source: str = ADDRESSES[0]) -> None:
        self.ended = False  # by the peer
        self.received = b""
        super().__init__(port, source, seconds=2)

    def send(self, data: bytes) -> int:
        """Send what the peer takes at once; returns how much that was."""
        if self.closed:
            return 0
        self._socket.settimeout(0)
        sent = 0
        try:
            while sent < len(data):
                sent += self._socket.send(data[sent:])
        except BlockingIOError:
            pass
        except OSError:
            self.close()
        return sent

    def read(self, seconds: float = 2, until: bytes | None = None) -> bytes:
        """All that has come, after so long, at its end, or once it holds `until`."""
        deadline = time.monotonic() + seconds
        while not self.closed and (left := deadline - time.monotonic()) > 0:
            if until is not None and until in self.received:
                break
            self._socket.settimeout(left)
            try:
                data = self._socket.recv(1 << 20)
            except TimeoutError:
                break
            except OSError:
                data = b""
            if not data:
                self.ended = True
                self.close()
            self.received += data
        return self.received

    @property
    def status(self) -> int:
        """The status of the first response, 0 without one."""
        line = self.received.split(b"\r\n", 1)[0].split()
        return int(line[1]) if len(line) > 1 and line[1].isdigit() else 0


def exchange(port: int, data: bytes, seconds: float = 2) -> Tcp:
    """Send these bytes and read the head of the response, if there is one."""
    with Tcp(port) as connection:
        connection.send(data)
        connection.read(seconds, until=b"\r\n\r\n")
    return connection

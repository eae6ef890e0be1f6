"""A provider whose bytes a test chooses: a real socket, and nothing in between."""

import json
import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True)
class Seen:
    """A request that a provider received."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


Bytes = bytes | Iterable[bytes]
Respond = Callable[[Seen], Bytes]


def http(
    status: int,
    body: object = None,
    headers: Mapping[str, str] | None = None,
    *,
    content_type: str = "application/json",
) -> bytes:
    """A complete response."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Type: {content_type}"]
    lines += (f"{name}: {value}" for name, value in (headers or {}).items())
    lines.append(f"Content-Length: {len(content)}")
    return "\r\n".join([*lines, "", ""]).encode() + content


@dataclass
class Scripted:
    """Responds by path; a path without an entry has 404. `seen` are all requests.

    It closes each connection after a response, unless `keeps_open`.
    """

    responses: dict[str, Respond | Bytes] = field(default_factory=dict)
    context: ssl.SSLContext | None = None
    host: str = "127.0.0.1"
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    keeps_open: bool = False

    def __enter__(self) -> Self:
        provider = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                provider.serve(self.request)

        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        server = type("Server", (socketserver.ThreadingTCPServer,), {"address_family": family})
        self._server = server((self.host, 0), Handler)
        self._server.daemon_threads = True
        self._server.request_queue_size = 128
        self._server.socket.listen(128)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def port(self) -> int:
        port: int = self._server.server_address[1]
        return port

    @property
    def url(self) -> str:
        scheme = "https" if self.context else "http"
        host = "localhost" if self.context else self.host
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def well_known(self) -> str:
        return f"{self.url}/.well-known/openid-configuration"

    def discovers(self, **more: object) -> None:
        """Serve a discovery document with a registration endpoint."""
        document = {
            "issuer": self.url,
            "registration_endpoint": f"{self.url}/register",
            "token_endpoint": f"{self.url}/token",
            **more,
        }
        self.responses["/.well-known/openid-configuration"] = http(200, document)

    def requests(self, method: str) -> list[Seen]:
        return [each for each in self.seen if each.method == method]

    def serve(self, sock: socket.socket) -> None:
        self.connections += 1
        try:
            if self.context:
                sock = self.context.wrap_socket(sock, server_side=True)
            elif sock.recv(1, socket.MSG_PEEK) == b"\x16":  # a TLS handshake
                sock.sendall(http(400, {}))
                return
            with sock, sock.makefile("rb") as stream:
                while (seen := _read(stream)) is not None:
                    self.seen.append(seen)
                    found = self.responses.get(seen.target.partition("?")[0], http(404, {}))
                    parts = found(seen) if callable(found) else found
                    for part in [parts] if isinstance(parts, bytes) else parts:
                        sock.sendall(part)
                    if not self.keeps_open:
                        return
        except OSError:
            pass  # a client that ends the connection is what many tests want to see


def _read(stream: Any) -> Seen | None:
    line = stream.readline().decode("latin-1").split()
    if len(line) < 2:
        return None
    headers = {}
    while text := stream.readline().decode("latin-1").strip():
        name, _, value = text.partition(":")
        headers[name.lower()] = value.strip()
    body = stream.read(int(headers.get("content-length", "0")))
    return Seen(line[0], line[1], headers, body)


def dripping(data: bytes, pause_s: float) -> Iterator[bytes]:
    """A byte at a time."""
    for index in range(len(data)):
        yield data[index : index + 1]
        time.sleep(pause_s)


def cut(data: bytes, missing: int) -> bytes:
    """A response without its last bytes."""
    return data[:-missing]


@contextmanager
def silent_port() -> Iterator[int]:
    """A port that accepts connections and never reads."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def closed_port() -> int:
    """A port at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port

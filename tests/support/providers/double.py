"""What doubles of providers share: a plain HTTP server with JSON, and clients in memory."""

import json
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

Client = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """A request to a double. `path` is decoded and has no query."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def authorization(self) -> str:
        return self.headers.get("Authorization", "")

    def document(self) -> Any:
        """The body as JSON; None if it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


@dataclass(frozen=True)
class Reply:
    """A status with a JSON document; None is an empty body."""

    status: int
    document: object = None
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    indent: int | None = None


class Double:
    """A server on a free port of the loopback interface; `with` starts and stops it."""

    def __init__(self) -> None:
        self.clients: dict[str, Client] = {}
        self.requests: list[Request] = []
        self.lock = threading.Lock()
        double = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                parts = urlsplit(self.path)
                request = Request(
                    self.command,
                    unquote(parts.path),
                    {name: each[0] for name, each in parse_qs(parts.query).items()},
                    dict(self.headers.items()),
                    self.rfile.read(length),
                )
                with double.lock:
                    double.requests.append(request)
                    reply = double.handle(request)
                body = b""
                if reply.document is not None:
                    body = json.dumps(reply.document, indent=reply.indent).encode()
                self.send_response(reply.status)
                self.send_header("Content-Type", reply.content_type)
                self.send_header("Content-Length", str(len(body)))
                for name, value in reply.headers.items():
                    for each in value.split("\n"):
                        self.send_header(name, each)
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815 - http.server's names

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def well_known(self) -> str:
        return f"{self.url}/.well-known/openid-configuration"

    def handle(self, request: Request) -> Reply:
        raise NotImplementedError


def new_secret() -> str:
    return secrets.token_urlsafe(30)

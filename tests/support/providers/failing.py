"""An identity provider by RFC 7591 and 7592 whose failures a test chooses.

It registers clients in memory, rotates the registration access token at each update as
oidc-provider and Keycloak do, and returns 401 for whatever it does not accept.
"""

import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "initial-access-token"  # noqa: S105 - of the tests


class Failure(Enum):
    """What happens to a request."""

    NONE = "none"
    REJECT = "reject: 400"
    BUSY = "too many requests: 429"
    FORBID = "the client may not do this: 403 (RFC 7592, section 2.3)"
    REDIRECT = "a redirect to a login page, as Spring Authorization Server for an unknown route"
    ERROR = "500 before it is done"
    ERROR_AFTER = "500 after it is done"
    DROP = "the connection is closed after it is done"
    DROP_BEFORE = "the connection is closed before it is done"
    HANG = "no response, and it is not done"
    HANG_AFTER = "no response, but it is done"
    GARBAGE = "200 with a text that is not JSON, after it is done"


@dataclass
class Registered:
    """A client of this provider."""

    client_id: str
    token: str
    metadata: dict[str, Any]
    secret: str


@dataclass
class Provider:
    """The state of the provider: its clients, and what its next requests do."""

    clients: dict[str, Registered] = field(default_factory=dict)
    failures: dict[str, list[Failure]] = field(default_factory=dict)
    """By method: the next requests take these, one each; then there are none."""
    requests: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    """Method, path and body of each request for a client."""
    delay_s: float = 0.0
    manages: bool = True
    """Whether it returns what clients are managed with: RFC 7592 is optional."""
    replaces_secrets: bool = False
    """Whether each update replaces the secret (RFC 7592, section 2.2)."""
    extra: dict[str, Any] = field(default_factory=dict)
    """What each response about a client has in addition."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    url: str = ""
    released: threading.Event = field(default_factory=threading.Event)

    @property
    def well_known_uri(self) -> str:
        """The location of the discovery document."""
        return f"{self.url}/.well-known/openid-configuration"

    def fail(self, method: str, *failures: Failure) -> None:
        """Choose what happens to the next requests with this method."""
        with self.lock:
            self.failures.setdefault(method, []).extend(failures)

    def names(self) -> list[str]:
        """The client_name of each client."""
        with self.lock:
            return sorted(one.metadata["client_name"] for one in self.clients.values())

    def next_failure(self, method: str) -> Failure:
        """What happens to this request."""
        with self.lock:
            left = self.failures.get(method)
            return left.pop(0) if left else Failure.NONE


class _Handler(BaseHTTPRequestHandler):
    provider: Provider
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def do_GET(self) -> None:
        if self.path.startswith("/.well-known/"):
            self._send(200, _discovery(self.provider.url))
            return
        self._serve("GET", lambda: self._managed(self._read))

    def do_POST(self) -> None:
        self._serve("POST", self._register)

    def do_PUT(self) -> None:
        self._serve("PUT", lambda: self._managed(self._update))

    def do_DELETE(self) -> None:
        self._serve("DELETE", lambda: self._managed(self._delete))

    def _serve(self, method: str, work: Any) -> None:
        length = int(self.headers.get("content-length") or 0)
        self.body = json.loads(self.rfile.read(length) or b"{}")
        with self.provider.lock:
            self.provider.requests.append((method, self.path, self.body))
        failure = self.provider.next_failure(method)
        if failure in _NOT_DONE:
            self._send(*_NOT_DONE[failure])
            return
        if failure is Failure.DROP_BEFORE:
            self.close_connection = True
            return
        if failure is Failure.HANG:
            self.provider.released.wait(60)
            self.close_connection = True
            return
        time.sleep(self.provider.delay_s)
        with self.provider.lock:
            status, body = work()
        match failure:
            case Failure.NONE:
                self._send(status, body)
            case Failure.ERROR_AFTER:
                self._send(500, _error("server_error", "the provider is broken"))
            case Failure.GARBAGE:
                self._send_bytes(200, b"<html>welcome</html>", "text/html")
            case Failure.HANG_AFTER:
                self.provider.released.wait(60)
                self.close_connection = True
            case _:
                self.close_connection = True

    def _register(self) -> tuple[int, dict[str, Any] | None]:
        if self.headers.get("authorization") != f"Bearer {TOKEN}":
            return 401, _error("invalid_token", "invalid token provided")
        client_id, token = secrets.token_hex(8), secrets.token_hex(16)
        public = self.body.get("token_endpoint_auth_method") == "none"
        secret = "" if public else secrets.token_hex(16)
        one = Registered(client_id, token, self.body, secret)
        self.provider.clients[client_id] = one
        return 201, _information(self.provider, one)

    def _managed(self, work: Any) -> tuple[int, dict[str, Any] | None]:
        one = self.provider.clients.get(self.path.rpartition("/")[2])
        if not one or self.headers.get("authorization") != f"Bearer {one.token}":
            return 401, _error("invalid_token", "invalid token provided")
        response: tuple[int, dict[str, Any] | None] = work(one)
        return response

    def _read(self, one: Registered) -> tuple[int, dict[str, Any] | None]:
        return 200, _information(self.provider, one)

    def _update(self, one: Registered) -> tuple[int, dict[str, Any] | None]:
        if self.body.pop("client_id", one.client_id) != one.client_id:
            return 400, _error("invalid_request", "another client_id")
        self.body.pop("client_secret", None)
        one.metadata, one.token = self.body, secrets.token_hex(16)
        if self.provider.replaces_secrets:
            one.secret = secrets.token_hex(16)
        return 200, _information(self.provider, one)

    def _delete(self, one: Registered) -> tuple[int, dict[str, Any] | None]:
        del self.provider.clients[one.client_id]
        return 204, None

    def _send(self, status: int, body: dict[str, Any] | None) -> None:
        self._send_bytes(status, b"" if body is None else json.dumps(body).encode())

    def _send_bytes(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        if body:
            self.send_header("content-type", kind)
        if status != 204:
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _discovery(url: str) -> dict[str, Any]:
    return {
        "issuer": url,
        "authorization_endpoint": f"{url}/auth",
        "token_endpoint": f"{url}/token",
        "registration_endpoint": f"{url}/reg",
        "response_types_supported": ["code", "token", "id_token", "id_token token"],
        "grant_types_supported": [
            "authorization_code",
            "client_credentials",
            "implicit",
            "password",
            "refresh_token",
        ],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "none"],
        "jwks_uri": f"{url}/jwks",
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    }


def _information(provider: Provider, one: Registered) -> dict[str, Any]:
    secret = {"client_secret": one.secret, "client_secret_expires_at": 0} if one.secret else {}
    managed = {
        "registration_access_token": one.token,
        "registration_client_uri": f"{provider.url}/reg/{one.client_id}",
    }
    return {
        **one.metadata,
        **provider.extra,
        **secret,
        "client_id": one.client_id,
        "client_id_issued_at": int(time.time()),
        **(managed if provider.manages else {}),
    }


def _error(error: str, description: str) -> dict[str, Any]:
    return {"error": error, "error_description": description}


# The responses to requests that are not done.
_NOT_DONE: dict[Failure, tuple[int, dict[str, Any] | None]] = {
    Failure.REJECT: (400, _error("invalid_client_metadata", "the provider says no")),
    Failure.BUSY: (429, _error("too_many_requests", "the provider limits calls")),
    Failure.FORBID: (403, _error("access_denied", "not permitted")),
    Failure.REDIRECT: (302, None),
    Failure.ERROR: (500, _error("server_error", "the provider is broken")),
}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_: object) -> None:
        """A caller that hangs up is normal here."""


@contextmanager
def running(port: int = 0, provider: Provider | None = None) -> Iterator[Provider]:
    """Run a provider on a loopback port, a new one or one that ran before."""
    provider = provider or Provider()
    provider.released.clear()
    server = _Server(("127.0.0.1", port), type("Handler", (_Handler,), {"provider": provider}))
    provider.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        provider.released.set()
        server.shutdown()
        server.server_close()

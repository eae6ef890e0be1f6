"""The line that counts what Envoy rejects."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from portal_server.run import rejections
from portal_server.run.envoy_admin import Admin

NAMES = {"listener.rest.cx": "connections", "listener.grpc.cx": "connections", "rq": "streams"}


@contextmanager
def counting(path: Path, counters: dict[str, int]) -> Iterator[Admin]:
    """An admin interface with these counters."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = "".join(f"{name}: {value}\n" for name, value in counters.items()).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with socketserver.UnixStreamServer(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield Admin(path)
        server.shutdown()
        thread.join()


def test_a_line_counts_rejections_since_the_last_one_even_after_envoy_restarts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(rejections, "SECONDS", 0)
    counters = dict.fromkeys(NAMES, 0)
    with counting(tmp_path / "admin.sock", counters) as admin:
        counted = rejections.Rejections(admin, NAMES)
        counted.look()
        counters |= {"listener.rest.cx": 5, "listener.grpc.cx": 2}
        counted.look()
        counted.look()
        counters |= {"listener.rest.cx": 1, "listener.grpc.cx": 0, "rq": 3}
        counted.look()

    assert caplog.messages == [
        "Envoy rejected: 7 connections",
        "Envoy rejected: 1 connections, 3 streams",
    ]


def test_there_are_10_seconds_between_two_lines(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with counting(tmp_path / "admin.sock", {"rq": 7}) as admin:
        counted = rejections.Rejections(admin, NAMES)
        counted.look()

    assert rejections.SECONDS == 10
    assert caplog.messages == []

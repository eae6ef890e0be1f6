"""What Envoy's admin interface is understood to say."""

import json
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from portal_server.run.envoy_admin import Admin

STATS = """cluster.portal.membership_healthy: 2
http.portal.downstream_rq_active: 0
overload.refresh_interval_delay: P0(nan,250) P25(nan,252)
"""


def host(path: str, **status: Any) -> dict[str, Any]:
    return {"address": {"pipe": {"path": path}}, "health_status": status}


CLUSTERS = {
    "cluster_statuses": [
        {"name": "empty"},
        {
            "name": "portal",
            "host_statuses": [
                host("/run/0-0.sock", eds_health_status="HEALTHY"),
                host("/run/1-0.sock", failed_active_health_check=True),
                host("/run/1-1.sock", failed_active_health_check=True, pending_active_hc=True),
            ],
        },
    ]
}


class _Fake(BaseHTTPRequestHandler):
    posted: list[str] = []  # noqa: RUF012

    def do_GET(self) -> None:
        expected = {"/stats": STATS, "/clusters?format=json": json.dumps(CLUSTERS)}
        self._say(200, expected[self.path])

    def do_POST(self) -> None:
        self.posted.append(self.path)
        self._say(404 if "nope" in self.path else 200, "OK\n")

    def _say(self, status: int, text: str) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def address_string(self) -> str:
        return "a socket"

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def admin(tmp_path: Path) -> Iterator[Admin]:
    path = tmp_path / "admin.sock"
    with socketserver.UnixStreamServer(str(path), _Fake) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield Admin(path)
        server.shutdown()
        thread.join()


def test_a_number_is_found_by_its_name(admin: Admin) -> None:
    assert admin.stat("cluster.portal.membership_healthy") == 2
    assert admin.stat("http.portal.downstream_rq_active") == 0


def test_what_is_not_counted_is_unknown(admin: Admin) -> None:
    names = ["cluster.portal.membership_healthy", "nope", "overload.refresh_interval_delay"]

    assert admin.stat("nope") is None
    assert admin.stats(names) == {"cluster.portal.membership_healthy": 2}


def test_an_order_is_taken_or_not(admin: Admin) -> None:
    assert admin.post("/drain_listeners?graceful&skip_exit")
    assert not admin.post("/nope")
    assert _Fake.posted == ["/drain_listeners?graceful&skip_exit", "/nope"]


def test_an_endpoint_is_healthy_once_its_first_check_has_passed(admin: Admin) -> None:
    assert admin.endpoints("portal") == {
        Path("/run/0-0.sock"): True,
        Path("/run/1-0.sock"): False,
        Path("/run/1-1.sock"): False,
    }
    assert admin.endpoints("empty") == {}
    assert admin.endpoints("nope") == {}


def test_an_envoy_that_does_not_respond_is_not_an_error(tmp_path: Path) -> None:
    away = Admin(tmp_path / "admin.sock")

    assert away.stat("x") is None
    assert away.stats(["x"]) == {}
    assert away.endpoints("portal") == {}
    assert not away.post("/x")

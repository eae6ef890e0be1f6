"""`portal import` from a portal that is slow, drops connections and has invalid rows."""

import json
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest
import trustme
from pydantic import SecretStr

from portal_cli.errors import Exit
from tests.clients.command import KEY, Command
from tests.support.databases import new_sqlite
from tests.support.own_server import started
from tests.support.postgres import free_port
from tests.support.stack import ADMIN_KEY, ENVIRONMENT, ROOT, Stack
from tests.support.stack import portal as run_portal

OLD_KEY = "the-old-portals-key"

Row = dict[str, Any]


def client_type(number: int, **other: Any) -> Row:
    return {
        "Name": f"type {number}",
        "Description": "",
        "ResponseTypes": "code,it_token",
        "GrantType": "authorization_code, pkce",
        "TokenEndpointAuthMethod": "",
        "OktaAppType": "",
        "ID": number,
        "CreatedAt": "2024-01-01 10:00",
        "UpdatedAt": "2024-01-01 10:00",
    } | other


def provider(number: int, *client_types: Row, **other: Any) -> Row:
    return {
        "Name": f"provider {number}",
        "Type": "Keycloak",
        "WellKnownURL": f"https://idp{number}.test/.well-known",
        "SSLInsecureSkipVerify": False,
        "ID": number,
        "CreatedAt": "2024-01-01 10:00",
        "UpdatedAt": "2024-01-01 10:00",
        "client_types": client_types,
    } | other


class OldPortal(ThreadingHTTPServer):
    """The lists of a portal, in pages of at most `cap` rows. `misbehave` can replace a response."""

    daemon_threads = True

    def __init__(self, *providers: Row, cap: int = 3) -> None:
        super().__init__(("127.0.0.1", 0), _Call)
        self.providers = list(providers)
        self.cap = cap
        self.calls: list[str] = []
        self.misbehave: Callable[[int, BaseHTTPRequestHandler], bool] = lambda _number, _call: False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @contextmanager
    def running(self) -> Iterator["OldPortal"]:
        thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield self
        finally:
            self.shutdown()
            thread.join()
            self.server_close()


class _Call(BaseHTTPRequestHandler):
    server: OldPortal
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.calls.append(self.path)
        if self.server.misbehave(len(self.server.calls), self):
            return None
        if self.headers["Authorization"] != OLD_KEY:
            return self.respond(401, {"errors": ["Key not authorized"]})
        url = urlsplit(self.path)
        rows = self.rows(url.path.removeprefix("/portal-api/oauth-providers").strip("/"))
        query = {name: int(value) for name, [value] in parse_qs(url.query).items()}
        size = min(self.server.cap, query["per_page"])
        start = size * (query["page"] - 1)
        return self.respond(200, rows[start : start + size])

    def rows(self, path: str) -> list[Row]:
        if not path:
            shown = [dict(one) for one in self.server.providers]
            for one in shown:
                del one["client_types"]
            return shown
        number = path.split("/", maxsplit=1)[0]
        found = next(one for one in self.server.providers if str(one["ID"]) == number)
        return list(found["client_types"])

    def respond(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        pass


def drop(call: BaseHTTPRequestHandler) -> bool:
    """Close the connection in the middle of the response."""
    call.send_response(200)
    call.send_header("content-length", "1000")
    call.end_headers()
    call.wfile.write(b'[{"ID": 1')
    call.wfile.flush()
    call.close_connection = True
    return True


@pytest.fixture
def portal(tmp_path: Path) -> Iterator[Command]:
    with started(new_sqlite(tmp_path / "p.db"), admin_key=SecretStr(KEY)) as server:
        yield Command(f"127.0.0.1:{server.port}", PORTAL_IMPORT_KEY=OLD_KEY)


def names(portal: Command, provider_id: int) -> list[str]:
    return [one["name"] for one in portal.json("client-types", "list", str(provider_id))]


def test_an_import_is_complete_and_idempotent(portal: Command) -> None:
    rows = [provider(n, *(client_type(m) for m in range(1, 8))) for n in range(1, 6)]
    with OldPortal(*rows).running() as old:
        first = portal("import", "--from", old.url)
        again = portal("import", "--from", f"{old.url}/portal-api/")

    assert "40 created, 0 changed, 0 unchanged, 0 not imported." in first.stderr
    assert "0 created, 0 changed, 40 unchanged, 0 not imported." in again.stderr
    assert OLD_KEY not in first.stdout + first.stderr
    assert [one["name"] for one in portal.json("providers", "list")] == [r["Name"] for r in rows]
    assert names(portal, 5) == [f"type {n}" for n in range(1, 8)]
    [one] = portal.json("client-types", "list", "1", "--filter", 'name = "type 3"')
    assert one["response_types"] == ["code", "id_token"]
    assert one["grant_types"] == ["authorization_code", "pkce"]


def cid(number: int) -> str:
    return f"{number:08}-4d0f-4e1b-9a51-0f4a2b6c7d8e"


def test_cids_are_kept_and_find_renamed_resources_again(portal: Command) -> None:
    rows = [
        provider(n, client_type(n, CID=cid(10 + n)), client_type(9), CID=cid(n).upper())
        for n in (1, 2)
    ]
    with OldPortal(*rows).running() as old:
        assert "6 created" in portal("import", "--from", old.url).stderr
        old.providers[0]["Name"] = "renamed"
        old.providers[1]["client_types"][0]["Name"] = "also renamed"
        again = portal("import", "--from", old.url)

    assert "0 created, 2 changed, 4 unchanged, 0 not imported." in again.stderr
    assert [one["uid"] for one in portal.json("providers", "list")] == [cid(1), cid(2)]
    assert [one["name"] for one in portal.json("providers", "list")] == ["renamed", "provider 2"]
    kept, generated = portal.json("client-types", "list", "2")
    assert (kept["uid"], kept["name"]) == (cid(12), "also renamed")
    assert str(UUID(generated["uid"])) not in (cid(12), cid(2))


def test_a_cid_that_is_not_a_uuid_is_not_kept_and_counted(portal: Command) -> None:
    rows = [provider(1, client_type(1, CID=7), CID="cid-1"), provider(2, CID=None)]
    with OldPortal(*rows).running() as old:
        done = portal("import", "--from", old.url)

    assert "3 created, 0 changed, 0 unchanged, 0 not imported. 2 CIDs are not UUIDs" in done.stderr


def test_a_cid_that_repeats_is_reported_and_the_other_rows_are_imported(portal: Command) -> None:
    rows = [
        provider(1, client_type(1, CID=cid(5)), client_type(2, CID=cid(5)), client_type(3)),
        provider(2, client_type(4, CID=cid(5))),
    ]
    with OldPortal(*rows).running() as old:
        first = portal("import", "--from", old.url, code=Exit.INCOMPLETE)
        again = portal("import", "--from", old.url, code=Exit.INCOMPLETE)

    assert "not imported: client type 'type 2' of provider 'provider 1': " in first.stderr
    assert "4 created, 0 changed, 0 unchanged, 2 not imported." in first.stderr
    assert "0 created, 0 changed, 4 unchanged, 2 not imported." in again.stderr
    assert names(portal, 1) == ["type 1", "type 3"]


def test_resources_with_the_same_name_stay_separate(portal: Command) -> None:
    twins = [client_type(1, Name="twin"), client_type(2, Name="twin", GrantType="implicit")]
    with OldPortal(provider(1, *twins, Name="p"), provider(2, Name="p")).running() as old:
        portal("import", "--from", old.url)
        portal("import", "--from", old.url)

    assert len(portal.json("providers", "list")) == 2
    assert names(portal, 1) == ["twin", "twin"]


@pytest.mark.timeout(180)
def test_dropped_connections_and_overload_are_retried(portal: Command) -> None:
    def misbehave(number: int, call: BaseHTTPRequestHandler) -> bool:
        match number % 4:
            case 1:
                return drop(call)
            case 2:
                assert isinstance(call, _Call)
                call.respond(503, {"errors": ["busy"]})
                return True
        return False

    with OldPortal(*(provider(n, client_type(1)) for n in (1, 2)), cap=1).running() as old:
        old.misbehave = misbehave
        done = portal("import", "--from", old.url)

    assert "4 created" in done.stderr
    assert names(portal, 2) == ["type 1"]


def test_slow_responses_are_waited_for(portal: Command) -> None:
    def misbehave(_number: int, _call: BaseHTTPRequestHandler) -> bool:
        time.sleep(0.5)
        return False

    with OldPortal(provider(1, client_type(1))).running() as old:
        old.misbehave = misbehave
        assert "2 created" in portal("import", "--from", old.url, "--timeout=5").stderr


def test_invalid_rows_are_reported_and_the_others_are_imported(portal: Command) -> None:
    rows = [
        provider(1, client_type(1, GrantType="magic"), client_type(2), client_type(3, Name=None)),
        provider(2, client_type(4), WellKnownURL="nowhere"),
        provider(3, client_type(5), Type="Oktagon"),
        provider(4, client_type(6)),
    ]
    with OldPortal(*rows).running() as old:
        done = portal("import", "--from", old.url, code=Exit.INCOMPLETE)

    assert "client type 'type 1' (1) of provider 'provider 1' (1): grant_types.0: 'magic'" in (
        done.stderr
    )
    assert "client type None (3) of provider 'provider 1' (1): name: " in done.stderr
    assert "provider 'provider 2' (keycloak): well_known_uri: must be" in done.stderr
    assert "client type 'type 4' of provider 'provider 2': its provider was not imported" in (
        done.stderr
    )
    assert "provider 'provider 3' (3): type: 'oktagon' is not one of: keycloak" in done.stderr
    assert "4 created, 0 changed, 0 unchanged, 5 not imported." in done.stderr
    assert [one["name"] for one in portal.json("providers", "list")] == ["provider 1", "provider 4"]


def test_a_wrong_key_and_a_url_that_is_not_a_portal_are_errors(portal: Command) -> None:
    with OldPortal(provider(1)).running() as old:
        wrong = portal(
            "import", "--from", old.url, "--from-key", "nope-nope", code=Exit.NO_PERMISSION
        )
        assert "status 401 for GET /oauth-providers: Key not authorized" in wrong.stderr
        assert "nope-nope" not in wrong.stderr

        def misbehave(_number: int, call: BaseHTTPRequestHandler) -> bool:
            assert isinstance(call, _Call)
            call.respond(200, {"hello": "world"})
            return True

        old.misbehave = misbehave
        other = portal("import", "--from", old.url, code=Exit.FAILED)
        assert "the response to GET /oauth-providers is not a JSON array" in other.stderr


def test_a_killed_import_can_be_run_again_without_duplicates(portal: Command) -> None:
    rows = [provider(n, *(client_type(m) for m in range(1, 4))) for n in range(1, 9)]
    reached = threading.Event()

    def misbehave(number: int, _call: BaseHTTPRequestHandler) -> bool:
        if number > 12:
            reached.set()
            time.sleep(0.2)
        return False

    with OldPortal(*rows).running() as old:
        old.misbehave = misbehave
        with subprocess.Popen(
            [sys.executable, "-m", "portal_cli", "import", "--from", old.url],
            env=ENVIRONMENT | portal.variables,
            cwd=ROOT,
            stderr=subprocess.DEVNULL,
        ) as running:
            assert reached.wait(30)
            running.send_signal(signal.SIGKILL)
        before = len(portal.json("providers", "list"))
        assert 0 < before < 8
        old.misbehave = lambda _number, _call: False
        done = portal("import", "--from", old.url)

    assert ", 0 not imported." in done.stderr
    assert [one["name"] for one in portal.json("providers", "list")] == [r["Name"] for r in rows]
    for provider_id in range(1, 9):
        assert names(portal, provider_id) == ["type 1", "type 2", "type 3"]


def test_an_import_from_this_server_over_rest(portal: Command, stack: Stack) -> None:
    with stack.client() as rest:
        made = rest.post(
            "/oauth-providers",
            json={"Name": "to move", "Type": "Okta", "WellKnownURL": "https://okta.test/x"},
        ).json()
        body = {"ResponseTypes": "it_token", "GrantType": "implicit", "OktaAppType": "web"}
        path = f"/oauth-providers/{made['ID']}/client-types"
        for number in range(25):
            assert rest.post(path, json=body | {"Name": f"n{number}"}).status_code == 200
    portal("import", "--from", f"http://127.0.0.1:{stack.http_port}", "--from-key", ADMIN_KEY)

    [moved] = [one for one in portal.json("providers", "list") if one["name"] == "to move"]
    assert names(portal, moved["id"]) == [f"n{number}" for number in range(25)]


def test_rows_that_are_not_objects_are_reported_and_the_others_are_imported(
    portal: Command,
) -> None:
    odd: list[Any] = [None, 7, "x", [1], {}, provider(1, ID="../../secrets"), provider(2, ID=[1])]
    rows: list[Any] = [client_type(4), None, client_type(5)]
    good = provider(3, *rows)
    with OldPortal(good, cap=20).running() as old:

        def misbehave(_number: int, call: BaseHTTPRequestHandler) -> bool:
            if "/oauth-providers?page=1&" not in call.path:
                return False
            assert isinstance(call, _Call)
            call.respond(200, [*odd, call.rows("")[0]])
            return True

        old.misbehave = misbehave
        done = portal("import", "--from", old.url, code=Exit.INCOMPLETE)

    assert "provider row: not a JSON object: null" in done.stderr
    assert "provider 'provider 1' (../../secrets): ID: must be an integer" in done.stderr
    assert "client type row of provider 'provider 3' (3): not a JSON object" in done.stderr
    assert "3 created, 0 changed, 0 unchanged, 8 not imported." in done.stderr
    assert names(portal, 1) == ["type 4", "type 5"]


def test_a_row_that_repeats_is_imported_once(portal: Command) -> None:
    one, other = client_type(1), client_type(2)
    row = provider(1, one, other, one, other, one)
    with OldPortal(row, row, row, cap=2).running() as old:
        done = portal("import", "--from", old.url)

    assert "3 created" in done.stderr
    assert names(portal, 1) == ["type 1", "type 2"]


def test_a_portal_that_ignores_page_is_read_once(portal: Command) -> None:
    rows = [provider(n, client_type(n)) for n in range(1, 4)]
    with OldPortal(*rows).running() as old:

        def misbehave(_number: int, call: BaseHTTPRequestHandler) -> bool:
            assert isinstance(call, _Call)
            path = urlsplit(call.path).path.removeprefix("/portal-api/oauth-providers").strip("/")
            call.respond(200, call.rows(path))
            return True

        old.misbehave = misbehave
        done = portal("import", "--from", old.url)

    assert "6 created, 0 changed, 0 unchanged, 0 not imported." in done.stderr
    assert len(old.calls) == 8


@pytest.mark.timeout(180)
@pytest.mark.parametrize("status", [404, 500, 200])
def test_a_provider_whose_client_types_fail_does_not_stop_the_import(
    portal: Command, status: int
) -> None:
    with OldPortal(*(provider(n, client_type(n)) for n in range(1, 4))).running() as old:

        def misbehave(_number: int, call: BaseHTTPRequestHandler) -> bool:
            if "/oauth-providers/2/" not in call.path:
                return False
            assert isinstance(call, _Call)
            call.respond(status, {"errors": ["gone"]})
            return True

        old.misbehave = misbehave
        done = portal("import", "--from", old.url, code=Exit.INCOMPLETE)

    assert "not imported: provider 'provider 2' (2): " in done.stderr
    listed = [one["name"] for one in portal.json("providers", "list")]
    assert listed == ["provider 1", "provider 3"]


def test_a_portal_with_a_small_page_limit_is_read_in_small_pages(portal: Command) -> None:
    with OldPortal(*(provider(n) for n in range(1, 45)), cap=20).running() as old:

        def misbehave(_number: int, call: BaseHTTPRequestHandler) -> bool:
            if "per_page=20" in call.path:
                return False
            assert isinstance(call, _Call)
            call.respond(400, {"errors": ["per_page: must be between 1 and 20"]})
            return True

        old.misbehave = misbehave
        assert "44 created" in portal("import", "--from", old.url).stderr


def test_retry_after_is_honored(portal: Command) -> None:
    times: list[float] = []

    def misbehave(number: int, call: BaseHTTPRequestHandler) -> bool:
        times.append(time.monotonic())
        if number > 1:
            return False
        call.send_response(429)
        call.send_header("retry-after", "2")
        call.send_header("content-length", "0")
        call.end_headers()
        return True

    with OldPortal(provider(1)).running() as old:
        old.misbehave = misbehave
        done = portal("import", "--from", old.url)

    assert times[1] - times[0] >= 2
    assert "status 429 for GET /oauth-providers; retrying" in done.stderr


def test_the_api_key_is_neither_shown_nor_sent_to_a_redirect(portal: Command) -> None:
    def misbehave(number: int, call: BaseHTTPRequestHandler) -> bool:
        assert isinstance(call, _Call)
        if "elsewhere" in call.path:
            call.respond(200, [])
        elif number > 1:
            call.respond(401, {"errors": [f"bad key {OLD_KEY}\x1b[31m\nsorry"]})
        else:
            call.send_response(301)
            call.send_header("location", "/elsewhere")
            call.send_header("content-length", "0")
            call.end_headers()
        return True

    with OldPortal(provider(1)).running() as old:
        old.misbehave = misbehave
        moved = portal("import", "--from", old.url, code=Exit.FAILED)
        echoed = portal("import", "--from", old.url, code=Exit.NO_PERMISSION)

    assert moved.stderr.endswith("status 301 for GET /oauth-providers, a redirect to /elsewhere\n")
    assert echoed.stderr.endswith(": bad key <API key>\\x1b[31m sorry\n")
    assert len(old.calls) == 2


@pytest.mark.parametrize("url", ["old-portal", "ftp://old", "http://", "https://me:pass@old", ""])
def test_an_invalid_url_is_rejected_immediately(portal: Command, url: str) -> None:
    done = portal("import", "--from", url, code=Exit.USAGE)

    assert done.stderr == "portal: --from: must be a URL such as https://old-portal\n"


def test_an_api_key_without_write_access_stops_the_import(tmp_path: Path) -> None:
    url = new_sqlite(tmp_path / "p.db")
    with started(url, admin_key=SecretStr(KEY)) as server:
        viewer = run_portal("keys", "create", "--role=viewer", PORTAL_DATABASE_URL=url)
        command = Command(
            f"127.0.0.1:{server.port}",
            PORTAL_IMPORT_KEY=OLD_KEY,
            PORTAL_KEY=viewer.stdout.strip(),
        )
        with OldPortal(*(provider(n) for n in range(1, 4))).running() as old:
            done = command("import", "--from", old.url, code=Exit.NO_PERMISSION)

    assert "portal: provider 'provider 1' (keycloak): this needs the role editor" in done.stderr
    assert "provider 2" not in done.stderr


def test_a_dry_run_writes_nothing_and_shows_what_an_import_would_write(portal: Command) -> None:
    rows = [
        provider(1, client_type(1, CID=cid(1)), client_type(2, CID=cid(1))),
        provider(2, client_type(3), WellKnownURL="nowhere"),
        provider(3, client_type(4), client_type(5), Type="Okta"),
        provider(4, client_type(6, GrantType="magic")),
    ]
    with OldPortal(*rows, cap=9).running() as old:
        planned = portal("import", "--from", old.url, "--dry-run", code=Exit.INCOMPLETE)
        assert portal.json("providers", "list") == []
        done = portal("import", "--from", old.url, code=Exit.INCOMPLETE)

    assert "4 to create, 0 to change, 0 unchanged, 6 cannot be imported." in planned.stderr
    assert "4 created, 0 changed, 0 unchanged, 6 not imported." in done.stderr
    reasons = [line for line in planned.stderr.splitlines() if line.startswith("cannot be ")]
    again = [line for line in done.stderr.splitlines() if line.startswith("not imported: ")]
    assert len(reasons) == len(again) == 6
    for one, other in zip(reasons, again, strict=True):
        subject = one.removeprefix("cannot be imported: ").partition(": ")[0]
        assert other.startswith(f"not imported: {subject}: ")
    assert "client type 'type 4' of provider 'provider 3': okta_app_type: is required" in (
        planned.stderr
    )
    assert "type 3' of provider 'provider 2': its provider cannot be imported" in planned.stderr
    assert "+ provider 'provider 1' (keycloak)\n      uid" not in planned.stdout
    assert "+     client type 'type 1'\n          uid: '" in planned.stdout
    assert planned.stdout.endswith("Plan: 4 to create, 0 to change, 0 to delete.\n")


def test_a_dry_run_of_an_import_has_the_exit_codes_of_apply_and_json(portal: Command) -> None:
    with OldPortal(provider(1, client_type(1))).running() as old:
        arguments = ("-o", "json", "import", "--from", old.url, "--dry-run")
        plan = json.loads(portal(*arguments, code=Exit.WOULD_CHANGE).stdout)
        portal("import", "--from", old.url)
        after = json.loads(portal(*arguments).stdout)

    assert plan["summary"] == {"create": 2, "change": 0, "delete": 0}
    assert [one["kind"] for one in plan["changes"]] == ["provider", "client_type"]
    assert after["changes"] == []


def test_each_of_the_two_portals_has_its_own_api_key(portal: Command) -> None:
    portal.variables |= {"PORTAL_KEY": "", "PORTAL_IMPORT_KEY": ""}
    with OldPortal(provider(1)).running() as old:
        done = portal(f"--key={KEY}", "import", "--from", old.url, f"--from-key={OLD_KEY}")

    assert "1 created" in done.stderr


class TlsPortal(OldPortal):
    """A portal with a certificate that nobody trusts."""

    def __init__(self, *providers: Row) -> None:
        super().__init__(*providers)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
        self.socket = context.wrap_socket(
            self.socket, server_side=True, do_handshake_on_connect=False
        )

    def handle_error(self, *_request: Any) -> None:
        """A failed handshake is expected."""


@pytest.mark.parametrize(
    ("kind", "scheme", "expected"),
    [
        (OldPortal, "https", "the port does not use TLS; use http, or another port"),
        (TlsPortal, "http", "the port expects TLS; use https"),
        (TlsPortal, "https", "TLS: "),
    ],
)
def test_the_wrong_protocol_is_not_retried(
    portal: Command, kind: type[OldPortal], scheme: str, expected: str
) -> None:
    with kind(provider(1)).running() as old:
        url = f"{scheme}://{old.url.partition('://')[2]}"
        done = portal("import", "--from", url, code=Exit.NO_SERVER)

    assert done.stderr.startswith(f"portal: {url}/portal-api/: {expected}")
    assert done.stderr.count("\n") == 1


def test_a_grpc_port_an_unknown_host_and_a_closed_port_are_not_retried(portal: Command) -> None:
    url = f"http://{portal.variables['PORTAL_TARGET']}"
    closed = f"http://localhost:{free_port()}"
    grpc = portal("import", "--from", url, code=Exit.NO_SERVER)
    unknown = portal("import", "--from", "http://old-portal.invalid", code=Exit.NO_SERVER)
    closed_port = portal("import", "--from", closed, code=Exit.NO_SERVER)

    assert grpc.stderr == (
        f"portal: {url}/portal-api/: the port does not speak HTTP/1.1; is it a gRPC port?\n"
    )
    assert "portal-api/: unknown host old-portal.invalid (" in unknown.stderr
    assert unknown.stderr.count("\n") == 1
    assert closed_port.stderr == (
        f"portal: {closed}/portal-api/: connection refused; is the portal running there?\n"
    )

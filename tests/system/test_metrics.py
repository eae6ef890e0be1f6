"""The metrics of a running system, and what a real Prometheus reads of them."""

import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from portal_client import GRANT_TYPE_PKCE, RESPONSE_TYPE_CODE, ClientType, Portal
from tests.support.postgres import free_port
from tests.support.stack import ADMIN_KEY, ROOT, Stack, portal, soon

WEB = ClientType(name="x", response_types=[RESPONSE_TYPE_CODE], grant_types=[GRANT_TYPE_PKCE])
CLIENT_TYPE = {"Name": "x", "ResponseTypes": "code", "GrantType": "pkce"}
PATH = "/oauth-providers/1/client-types"
CREATES, MISSING, NO_KEY = 12, 5, 7

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A system of two servers that has served some calls."""
    folder = tmp_path_factory.mktemp("measured")
    settings = {"PORTAL_METRICS_PORT": str(free_port()), "PORTAL_WORKERS": "2"}
    stack = Stack(folder, **settings).start()
    for _ in range(CREATES):  # a new connection each, so that both servers get calls
        with stack.client() as rest:
            assert rest.post(PATH, json=CLIENT_TYPE).status_code == 200
    with stack.client() as rest:
        for number in range(MISSING):
            assert rest.get(f"/oauth-providers/{number + 70}").status_code == 404
        rest.get("/nowhere/s3cr3t")
    with stack.client("wr0ng-key") as rest:
        for _ in range(NO_KEY):
            assert rest.get(PATH).status_code == 401
    yield stack
    stack.stop()


def page_of(stack: Stack) -> str:
    response = httpx.get(f"http://127.0.0.1:{stack.settings['PORTAL_METRICS_PORT']}/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("application/openmetrics-text")
    return response.text


def samples_of(page: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page)  # type: ignore[no-untyped-call]
        for sample in family.samples
    }


def total(samples: Samples, name: str, **labels: str) -> float:
    """The sum of all samples of this name with these labels, of all servers."""
    wanted = set(labels.items())
    return sum(value for (found, has), value in samples.items() if found == name and wanted <= has)


def test_calls_of_all_servers_add_up(measured: Stack) -> None:
    samples = samples_of(page_of(measured))
    calls = "grpc_server_call_duration_seconds_count"
    create = "portal.rest.v1.PortalRestService/CreateClientType"
    get = "portal.rest.v1.PortalRestService/GetProvider"

    assert total(samples, calls, grpc_method=create, grpc_status="OK", surface="rest") == CREATES
    assert total(samples, calls, grpc_method=get, grpc_status="NOT_FOUND") == MISSING
    assert total(samples, calls, grpc_status="UNAUTHENTICATED") == NO_KEY
    assert total(samples, "portal_call_errors_total", reason="KEY_INVALID") == NO_KEY
    assert total(samples, "portal_commit_group_size_sum") >= CREATES
    assert total(samples, "portal_commit_duration_seconds_count") > 0
    assert total(samples, "portal_threads_max", pool="write") == 2 * 16
    assert total(samples, "portal_watch_streams_max") == 2 * 128
    assert total(samples, "portal_build_info") == 2
    assert total(samples, "portal_schema_info") == 1
    assert total(samples, "portal_database_size_bytes") > 0
    assert total(samples, "portal_disk_free_bytes") > 0
    for once in ("portal_disk_free_bytes", "portal_database_size_bytes", "portal_kept_responses"):
        assert [name for name, _ in samples].count(once) == 1  # the other server has no 0
    assert total(samples, "envoy_cluster_membership_healthy", envoy_cluster_name="ready") == 2
    assert (
        total(samples, "envoy_http_downstream_rq_xx_total", envoy_response_code_class="2")
        >= CREATES
    )


def test_open_streams_are_counted(measured: Stack) -> None:
    def opened() -> float:
        return total(samples_of(page_of(measured)), "portal_watch_streams")

    with Portal(f"127.0.0.1:{measured.grpc_port}", key=ADMIN_KEY) as portal:
        changes = portal.watch()
        created = set[str]()
        with ThreadPoolExecutor(1) as pool:
            found = pool.submit(lambda: any(change.uid in created for change in changes))
            # The stream begins when it is open, which may take a moment.
            while not found.done():
                created.add(portal.create_client_type(1, WEB).uid)
                wait([found], 0.2)
        assert found.result()
        assert soon(lambda: opened() == 1, 5)  # the page is collected once a second
        changes.close()  # type: ignore[attr-defined]
    assert soon(lambda: opened() == 0, 10)


def test_no_label_has_what_a_caller_chose(measured: Stack) -> None:
    page = page_of(measured)

    assert "s3cr3t" not in page
    assert "nowhere" not in page
    assert "wr0ng" not in page


def test_a_replaced_server_begins_at_zero_and_the_other_one_continues(
    measured: Stack,
) -> None:
    name = "portal_commit_duration_seconds_count"
    before = samples_of(page_of(measured))
    busiest = max("01", key=lambda number: total(before, name, server=number))
    other = {"0": "1", "1": "0"}[busiest]
    [killed] = [
        process
        for process in measured.children()["server"]
        if f"--worker\0{busiest}\0" in Path(f"/proc/{process}/cmdline").read_text()
    ]
    os.kill(killed, signal.SIGKILL)

    def begins_at_zero() -> bool:
        found = samples_of(page_of(measured))
        is_there = total(found, "portal_build_info", server=busiest) == 1
        return is_there and total(found, name, server=busiest) < total(before, name, server=busiest)

    assert soon(begins_at_zero, 60)
    after = samples_of(page_of(measured))
    assert total(after, name, server=other) >= total(before, name, server=other)


def test_slow_readers_and_many_connections_end_and_do_not_hang_the_page(measured: Stack) -> None:
    port = int(measured.settings["PORTAL_METRICS_PORT"])
    with ExitStack() as connections:
        for _ in range(50):
            connection = connections.enter_context(socket.create_connection(("127.0.0.1", port)))
            connection.sendall(b"GET /met")
        began = time.monotonic()
        assert soon(lambda: _reads(port), 20)
        assert time.monotonic() - began < 15
    page_of(measured)


def _reads(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def test_a_port_in_use_is_an_error_if_it_was_chosen(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        settings = Stack(tmp_path).settings | {"PORTAL_METRICS_PORT": port}
        ended = portal("up", **settings)

    assert ended.returncode == 1
    assert (
        f"cannot listen on 127.0.0.1:{port}: Address already in use; set PORTAL_METRICS_PORT"
        in (ended.stderr)
    )


@pytest.fixture(scope="module")
def prometheus(measured: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator["Prometheus"]:
    """A Prometheus that scrapes the system."""
    running = Prometheus(measured, tmp_path_factory.mktemp("prometheus"))
    assert soon(lambda: running.query('up{job="portal"}') == ["1"], 30)
    yield running
    running.stop()


class Prometheus:
    """A running Prometheus."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        config = folder / "prometheus.yml"
        target = f"127.0.0.1:{stack.settings['PORTAL_METRICS_PORT']}"
        scrape = {"job_name": "portal", "static_configs": [{"targets": [target]}]}
        config.write_text(
            json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": [scrape]})
        )
        port = free_port()
        self._base = f"http://127.0.0.1:{port}/api/v1/query"
        self._process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={config}",
                f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address=127.0.0.1:{port}",
                "--log.level=error",
            ]
        )

    def query(self, expression: str) -> list[str]:
        """The values that an expression has now; raises if it is not valid."""
        try:
            response = httpx.get(self._base, params={"query": expression})
        except httpx.HTTPError:
            return []
        if response.status_code == 503:  # it is starting
            return []
        found = response.json()
        assert found["status"] == "success", found
        return [part["value"][1] for part in found["data"]["result"]]

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(20)


@pytest.mark.needs("prometheus")
def test_a_real_prometheus_reads_every_sample(measured: Stack, prometheus: Prometheus) -> None:
    expected = len(samples_of(page_of(measured)))

    assert soon(lambda: prometheus.query("scrape_samples_scraped") == [str(expected)], 5)
    assert float(prometheus.query("sum(portal_commit_duration_seconds_count)")[0]) > 0


@pytest.mark.needs("prometheus")
def test_every_panel_of_the_dashboard_has_data(measured: Stack, prometheus: Prometheus) -> None:
    dashboard = json.loads((ROOT / "deploy/grafana/dashboard.json").read_text())
    panels = {
        panel["title"]: [
            target["expr"].replace("$__rate_interval", "1m").replace("$instance", ".*")
            for target in panel["targets"]
        ]
        for panel in dashboard["panels"]
    }
    # No provider is called, no client is registered, no call waits, there is no TLS.
    without = {title for title in panels if "identity providers" in title} | {
        "Clients",
        "Wait for a thread, p99",
        "The certificate expires in",
    }
    assert len(panels) - len(without) >= 15

    def missing() -> dict[str, list[str]]:
        with measured.client() as rest:
            rest.post(PATH, json=CLIENT_TYPE)
            rest.get("/oauth-providers/99")
        empty = {
            title: [query for query in queries if not prometheus.query(query)]
            for title, queries in panels.items()
        }
        return {title: queries for title, queries in empty.items() if queries}

    assert soon(lambda: set(missing()) <= without, 20), missing()


def test_each_number_of_the_dashboard_has_its_own_colors() -> None:
    """Without thresholds, Grafana shows every value from 80 in red: bytes and seconds, always."""
    dashboard = json.loads((ROOT / "deploy/grafana/dashboard.json").read_text())
    numbers = [panel for panel in dashboard["panels"] if panel["type"] == "stat"]

    assert len(numbers) >= 4
    for panel in numbers:
        assert panel["fieldConfig"]["defaults"].get("thresholds"), panel["title"]


@pytest.mark.needs("promtool")
def test_each_alert_fires_when_it_should() -> None:
    rules = ROOT / "deploy/prometheus/alerts_test.yaml"
    tested = subprocess.run(
        ["promtool", "test", "rules", rules], capture_output=True, text=True, check=False
    )

    assert tested.returncode == 0, tested.stderr


def test_each_alert_has_a_test() -> None:
    folder = ROOT / "deploy/prometheus"
    alerts = re.findall(r"alert: (\w+)", (folder / "alerts.yaml").read_text())
    tests = (folder / "alerts_test.yaml").read_text()

    assert len(alerts) >= 8
    for alert in alerts:
        assert tests.count(f"alertname: {alert}\n") == 2


@pytest.mark.parametrize("file", ["prometheus/alerts.yaml", "grafana/dashboard.json"])
def test_rules_and_panels_use_metrics_that_exist(measured: Stack, file: str) -> None:
    page = page_of(measured)
    text = (ROOT / "deploy" / file).read_text()
    names = set(re.findall(r"\b(?:portal|envoy|grpc_server)_\w+(?=[\[{])", text))
    names.discard("portal_certificate_expiry_timestamp_seconds")  # only with TLS

    assert len(names) >= 5
    for name in names:
        family = re.sub("_(count|sum|bucket|total)$", "", name)
        assert f"# TYPE {family} " in page or f"# TYPE {name} " in page

"""The metrics of a running system, and what a real Prometheus reads of them."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.support.postgres import free_port
from tests.support.stack import Stack, portal, soon

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
    assert total(samples, "portal_build_info") == 2
    assert total(samples, "portal_schema_info") == 1
    assert total(samples, "portal_database_size_bytes") > 0
    assert total(samples, "portal_disk_free_bytes") > 0
    assert total(samples, "envoy_cluster_membership_healthy", envoy_cluster_name="ready") == 2
    assert (
        total(samples, "envoy_http_downstream_rq_xx_total", envoy_response_code_class="2")
        >= CREATES
    )


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


@pytest.mark.needs("prometheus", "promtool")
def test_a_real_prometheus_reads_every_sample(measured: Stack, tmp_path: Path) -> None:
    config = tmp_path / "prometheus.yml"
    target = f"127.0.0.1:{measured.settings['PORTAL_METRICS_PORT']}"
    config.write_text(
        json.dumps(
            {
                "global": {"scrape_interval": "1s"},
                "scrape_configs": [
                    {"job_name": "portal", "static_configs": [{"targets": [target]}]}
                ],
            }
        )
    )
    port = free_port()
    process = subprocess.Popen(
        [
            "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={tmp_path}/data",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=error",
        ]
    )
    try:
        base = f"http://127.0.0.1:{port}/api/v1/query"

        def query(expression: str) -> list[str]:
            try:
                found = httpx.get(base, params={"query": expression}).json()
            except httpx.HTTPError:
                return []
            return [part["value"][1] for part in found["data"]["result"]]

        assert soon(lambda: query('up{job="portal"}') == ["1"], 20)
        expected = len(samples_of(page_of(measured)))
        assert soon(lambda: query("scrape_samples_scraped") == [str(expected)], 5)
        assert float(query("sum(portal_commit_duration_seconds_count)")[0]) > 0
    finally:
        process.terminate()
        process.wait(20)

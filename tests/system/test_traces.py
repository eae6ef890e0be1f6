"""Traces, as a collector gets them by OTLP."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from portal_server.run.collector import Collector as Settled
from portal_server.run.collector import collector as collector_of
from portal_server.run.edge_traces import trace
from portal_server.run.settings import Settings, SettingsError
from tests.support.certificates import Authority
from tests.support.collector import Collector
from tests.support.stack import Stack, soon

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"
CLIENT_TYPE = {"Name": "x", "ResponseTypes": "code", "GrantType": "pkce"}
EDGE, SERVER = "oauth-portal-edge", "oauth-portal"
REST = "portal.rest.v1.PortalRestService/"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def collector(authority: Authority) -> Iterator[Collector]:
    """A collector with TLS; tests/system/test_operations.py has one without."""
    running = Collector(authority.issue("server", "localhost"))
    yield running
    running.server.stop(None).wait()


@pytest.fixture(scope="module")
def traced(
    collector: Collector, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """A system that sends all its traces."""
    settings = {
        "PORTAL_OTLP_ENDPOINT": f"https://localhost:{collector.port}",
        "PORTAL_OTLP_CA": str(authority.file),
        "PORTAL_TRACE_SAMPLE": "1",
    }
    stack = Stack(tmp_path_factory.mktemp("traced"), **settings).start()
    yield stack
    stack.stop()


def test_a_write_is_one_tree_from_the_edge_to_the_commit(
    traced: Stack, collector: Collector
) -> None:
    with traced.client() as rest:
        response = rest.post("/oauth-providers/1/client-types", json=CLIENT_TYPE)
    trace_id = response.headers["x-trace-id"]

    assert response.status_code == 200
    assert soon(lambda: len(collector.of(trace_id)) == 4, 15)
    [edge, *below] = collector.tree(trace_id)
    assert edge.startswith(f"{EDGE}: ")
    assert below == [
        f"  {SERVER}: {REST}CreateClientType",
        f"    {SERVER}: transaction",
        f"      {SERVER}: commit",
    ]
    assert f"trace={trace_id}" in traced.err.read_text()


def test_the_tree_is_below_the_span_of_the_caller(traced: Stack, collector: Collector) -> None:
    with traced.client() as rest:
        response = rest.get("/oauth-providers", headers={"traceparent": PARENT})

    assert response.headers["x-trace-id"] == TRACE_ID
    assert soon(lambda: len(collector.of(TRACE_ID)) == 2, 15)
    [edge, server] = collector.tree(TRACE_ID, "b7ad6b7169203331")
    assert edge.startswith(f"{EDGE}: ")
    assert server == f"  {SERVER}: {REST}ListProviders"


def test_a_request_to_a_provider_is_a_span(traced: Stack, collector: Collector) -> None:
    with traced.client() as rest:
        response = rest.get("/oauth-providers/1/check")
    trace_id = response.headers["x-trace-id"]

    def is_in_tree() -> bool:
        tree = collector.tree(trace_id)
        return any(line.startswith(f"    {SERVER}: GET") for line in tree)

    assert soon(is_in_tree, 15), collector.of(trace_id)


def test_no_span_has_a_key_or_a_query(traced: Stack, collector: Collector) -> None:
    with traced.client("s3cr3t-key") as rest:
        rejected = rest.get("/oauth-providers?limit=1&s3cr3t=1").headers["x-trace-id"]
        nowhere = rest.get("/nowhere?s3cr3t=1").headers["x-trace-id"]

    assert soon(lambda: len(collector.of(rejected)) == 2, 15)
    assert soon(lambda: len(collector.of(nowhere)) == 1, 15)
    assert "s3cr3t" not in str(collector.spans)


@pytest.mark.parametrize("parent", ["", PARENT.upper(), PARENT + "-x", "x" * 5000])
def test_a_malformed_traceparent_is_replaced(traced: Stack, parent: str) -> None:
    with traced.client() as rest:
        for headers in ({"traceparent": parent}, {"x-trace-id": TRACE_ID}):
            found = rest.get("/oauth-providers", headers=headers).headers["x-trace-id"]

            assert len(found) == 32
            assert found != TRACE_ID


def test_errors_of_the_edge_have_a_trace_id(traced: Stack) -> None:
    with traced.client() as client:
        response = client.get(f"http://127.0.0.1:{traced.http_port}/nowhere")
    trace_id = response.headers["x-trace-id"]

    assert len(trace_id) == 32
    assert soon(lambda: f"trace={trace_id}" in traced.err.read_text(), 5)


@pytest.mark.parametrize(
    ("url", "name", "kind"),
    [
        ("https://otel.test:4317", "otel.test", "DNS"),
        ("https://[::1]:4317", "::1", "IP_ADDRESS"),
    ],
)
def test_the_edge_trusts_a_collector_of_that_name_only(url: str, name: str, kind: str) -> None:
    config: Any = {"static_resources": {"clusters": [], "listeners": []}}
    trace(config, Settled(url, Path("/ca.pem")), 1)
    [cluster] = config["static_resources"]["clusters"]
    tls = cluster["transport_socket"]["typed_config"]

    assert tls["common_tls_context"]["validation_context"] == {
        "trusted_ca": {"filename": "/ca.pem"},
        "match_typed_subject_alt_names": [{"san_type": kind, "matcher": {"exact": name}}],
    }
    assert tls.get("sni") == (name if kind == "DNS" else None)


@pytest.mark.parametrize(
    ("url", "content", "text"),
    [
        ("http://localhost:4317", "", "PORTAL_OTLP_ENDPOINT is not an https URL"),
        ("https://localhost:4317", None, "No such file or directory"),
        ("https://localhost:4317", "x", "must be certificates in the PEM format"),
    ],
)
def test_a_ca_that_cannot_be_used_is_an_error(
    tmp_path: Path, url: str, content: str | None, text: str
) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SettingsError, match=f"PORTAL_OTLP_CA: .*{text}"):
        collector_of(Settings.model_construct(otlp_endpoint=url, otlp_ca=file))

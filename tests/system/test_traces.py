"""Traces, as a collector gets them by OTLP."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.stack import Stack, soon

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"
CLIENT_TYPE = {"Name": "x", "ResponseTypes": "code", "GrantType": "pkce"}
EDGE, SERVER = "oauth-portal-edge", "oauth-portal"
REST = "portal.rest.v1.PortalRestService/"


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """A collector that keeps all spans, with the name of their service."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, Span]] = []
        self.server = grpc.server(ThreadPoolExecutor(2))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(  # type: ignore[no-untyped-call]
            self, self.server
        )
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()

    def Export(self, request, _context):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201, N802
        for resource in request.resource_spans:
            [service] = [a for a in resource.resource.attributes if a.key == "service.name"]
            for scope in resource.scope_spans:
                self.spans += [(service.value.string_value, span) for span in scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()

    def of(self, trace_id: str) -> list[tuple[str, Span]]:
        return [part for part in self.spans if part[1].trace_id.hex() == trace_id]

    def tree(self, trace_id: str, parent: str = "") -> list[str]:
        """The spans of a trace below a span, as `service: name`, indented by their depth."""
        lines = []
        for service, span in sorted(
            self.of(trace_id), key=lambda part: part[1].start_time_unix_nano
        ):
            if span.parent_span_id.hex() == parent:
                lines.append(f"{service}: {span.name}")
                lines += [f"  {line}" for line in self.tree(trace_id, span.span_id.hex())]
        return lines


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    running = Collector()
    yield running
    running.server.stop(None).wait()


@pytest.fixture(scope="module")
def traced(collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A system that sends all its traces."""
    endpoint = f"http://127.0.0.1:{collector.port}"
    settings = {"PORTAL_OTLP_ENDPOINT": endpoint, "PORTAL_TRACE_SAMPLE": "1"}
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

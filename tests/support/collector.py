"""A collector of traces: OTLP over gRPC."""

from concurrent.futures import ThreadPoolExecutor

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.certificates import Files


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """A collector that keeps all spans, with the name of their service.

    With `files`, the certificate of a server, it uses TLS.
    """

    def __init__(self, files: Files | None = None) -> None:
        self.spans: list[tuple[str, Span]] = []
        self.server = grpc.server(ThreadPoolExecutor(2))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(  # type: ignore[no-untyped-call]
            self, self.server
        )
        address = "127.0.0.1:0"
        if files:
            pair = files.key.read_bytes(), files.cert.read_bytes()
            credentials = grpc.ssl_server_credentials([pair])
            self.port = self.server.add_secure_port(address, credentials)
        else:
            self.port = self.server.add_insecure_port(address)
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

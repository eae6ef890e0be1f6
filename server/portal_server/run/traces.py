"""Sends spans to a collector: OTLP over gRPC."""

import grpc
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from portal_server.run.collector import Collector
from portal_server.tracing import Attributes, Metadata, Span

SERVICE = "oauth-portal"

_STOP_MS = 1000


class OtlpTracer:
    """A tracer for `portal_server.tracing`.

    `ratio` of the traces are sent, from 0 to 1. If Envoy or the caller of the direct port has
    decided it already, their decision counts.
    """

    def __init__(self, collector: Collector, ratio: float) -> None:
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(ratio)),
            resource=Resource({"service.name": SERVICE}),
            shutdown_on_exit=False,
        )
        # Its queue is limited; spans beyond it are dropped.
        exporter = (
            OTLPSpanExporter(
                collector.url,
                insecure=False,
                credentials=grpc.ssl_channel_credentials(collector.ca.read_bytes()),
            )
            if collector.ca
            else OTLPSpanExporter(collector.url, insecure=True)
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer(SERVICE)
        self._propagator = TraceContextTextMapPropagator()

    def call(self, path: str, metadata: Metadata) -> Span:
        """See portal_server.tracing.Tracer."""
        carrier = {name: value for name, value in metadata if name == "traceparent"}
        name = path.lstrip("/")
        service, _, method = name.partition("/")
        return self._tracer.start_as_current_span(
            name,
            self._propagator.extract(carrier),
            SpanKind.SERVER,
            {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method},
            # Errors have texts of callers.
            record_exception=False,
        )

    def span(self, name: str, sends: Attributes | None) -> Span:
        """See portal_server.tracing.Tracer."""
        kind = SpanKind.CLIENT if sends else SpanKind.INTERNAL
        return self._tracer.start_as_current_span(
            name, kind=kind, attributes=sends, record_exception=False
        )

    def stop(self) -> None:
        """Send what is left."""
        self._provider.force_flush(_STOP_MS)
        self._provider.shutdown()

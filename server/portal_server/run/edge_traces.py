"""Traces of the edge: Envoy's tracer makes the trace ID, and the first span of each call."""

import json
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

from portal_server.run.collector import Collector

_CLUSTER = "collector"
_FROM_HEADER = "%REQ(x-trace-id)%"
_FROM_TRACER = "%TRACE_ID%"
# A copy of the caller's traceparent if it is well-formed. The expression is that of envoy.yaml.
_COPY = "x-portal-parent"


def trace(config: Any, collector: Collector, ratio: float) -> None:
    """Change the configuration: send spans to this collector.

    Whether a trace is sent depends on its ID, not on what the caller wants (the flag `sampled`).
    """
    config["static_resources"]["clusters"].append(_cluster(collector))
    for listener in config["static_resources"]["listeners"]:
        http = listener["filter_chains"][0]["filters"][-1]["typed_config"]
        if "tracing" in http:  # YAML aliases: the listeners share one object
            continue
        http["tracing"] = _tracing(ratio)
        http["request_id_extension"] = {
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.request_id.uuid.v3"
                ".UuidRequestIdConfig",
                "pack_trace_reason": False,
                "use_request_id_for_trace_sampling": False,
            }
        }
        [early] = http["early_header_mutation_extensions"]
        _keep_parent(early["typed_config"]["mutations"])
    _take_from_tracer(config)


def _cluster(collector: Collector) -> Any:
    address = {"address": collector.host, "port_value": collector.port}
    options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    return {
        **_tls(collector),
        "name": _CLUSTER,
        # Both families, as a name such as localhost has them (RFC 8305).
        "type": "LOGICAL_DNS",
        "dns_lookup_family": "ALL",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {
            options: {
                "@type": f"type.googleapis.com/{options}",
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        },
        "load_assignment": {
            "cluster_name": _CLUSTER,
            "endpoints": [
                {"lb_endpoints": [{"endpoint": {"address": {"socket_address": address}}}]}
            ],
        },
    }


def _tls(collector: Collector) -> Any:
    if not collector.ca:
        return {}
    name: Any = {"san_type": "DNS", "matcher": {"exact": collector.host}}
    sni = {"sni": collector.host}
    with suppress(ValueError):
        name["matcher"]["exact"] = str(ip_address(collector.host))
        name["san_type"] = "IP_ADDRESS"
        sni = {}  # a name only (RFC 6066, section 3)
    trusted = {
        "trusted_ca": {"filename": str(collector.ca)},
        "match_typed_subject_alt_names": [name],
    }
    return {
        "transport_socket": {
            "name": "tls",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"
                ".UpstreamTlsContext",
                "common_tls_context": {"validation_context": trusted},
                **sni,
            },
        }
    }


def _tracing(ratio: float) -> Any:
    million = 1_000_000
    return {
        "client_sampling": {"value": 0},
        "operation": "%REQ(:METHOD):16%",
        # The tag http.url has the query, which may have a secret: without its path, not with it.
        "max_path_tag_length": 0,
        "custom_tags": [{"tag": "url.path", "value": "%PATH(NQ):200%"}],
        "provider": {
            "name": "traces",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig",
                "grpc_service": {"envoy_grpc": {"cluster_name": _CLUSTER}, "timeout": "1s"},
                "service_name": "oauth-portal-edge",
                "sampler": {
                    "name": "by_trace_id",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.tracers.opentelemetry"
                        ".samplers.v3.TraceIdRatioBasedSamplerConfig",
                        "sampling_percentage": {
                            "numerator": round(ratio * million),
                            "denominator": "MILLION",
                        },
                    },
                },
            },
        },
    }


def _keep_parent(mutations: list[Any]) -> None:
    """Keep a well-formed traceparent; the tracer makes the ID of any other call."""
    generated, taken = (part for part in mutations if "append" in part)
    whole = taken["append"]["header"]["value"].replace("'^00-([", "'^(00-[")
    whole = whole.replace("]*)-[", "]*-[").replace("[0-9a-f]$'", "[0-9a-f])$'")
    mutations.remove(generated)
    mutations[mutations.index(taken) : mutations.index(taken) + 1] = [
        {"remove": "x-trace-id"},
        {"remove": _COPY},
        {"append": {"header": {"key": _COPY, "value": whole}}},
    ]
    at = mutations.index({"remove": "traceparent"}) + 1
    mutations[at:at] = [
        {"append": {"header": {"key": "traceparent", "value": f"%REQ({_COPY})%"}}},
        {"remove": _COPY},
    ]


def _take_from_tracer(config: Any) -> None:
    text = json.dumps(config)
    text = text.replace(_FROM_HEADER, _FROM_TRACER)
    other = json.dumps('{"command":"REQ","param":"x-trace-id"}')[1:-1]
    text = text.replace(other, json.dumps('{"command":"TRACE_ID"}')[1:-1])
    changed = json.loads(text)
    config.clear()
    config.update(changed)

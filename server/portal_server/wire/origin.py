"""Where a call comes from: its trace ID and the address of its client.

Envoy gives each call one trace ID and the address of its client, and removes what the caller sends
in their place (envoy.yaml). On the direct port, the server does both itself.
"""

import re
import secrets
from urllib.parse import unquote

import grpc

from portal_server.domain.calls import Origin
from portal_server.wire.requests import Metadata

TRACE_ID = "x-trace-id"
"""The header of the trace ID, in requests from Envoy and in responses."""
_CLIENT = "x-forwarded-for"
_TRACEPARENT = "traceparent"

# W3C Trace Context, section 3.2.2: version 00; all zeros are invalid IDs.
_PARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def origin_of(path: str, context: grpc.ServicerContext) -> Origin:
    """The origin of a call of the method with this path.

    Puts the trace ID into the response, unless Envoy does.
    """
    peer = context.peer()
    metadata = context.invocation_metadata()
    if peer.startswith("unix:"):
        trace_id = address = ""
        for name, value in metadata:
            if name == TRACE_ID:
                trace_id = str(value)
            elif name == _CLIENT:
                address = str(value)
        # With traces, Envoy's tracer has the ID.
        return Origin(path, trace_id or _trace_id_of(metadata), address)
    origin = Origin(path, _trace_id_of(metadata), address_of(peer))
    context.set_trailing_metadata(((TRACE_ID, origin.trace_id),))
    return origin


def address_of(peer: str) -> str:
    """The IP address in gRPC's name of a peer, such as `ipv6:%5B::1%5D:40000`."""
    _, _, rest = peer.partition(":")
    return unquote(rest.rpartition(":")[0]).strip("[]")


def _trace_id_of(metadata: Metadata) -> str:
    given = [str(value) for name, value in metadata if name == _TRACEPARENT]
    found = _PARENT.fullmatch(given[0]) if len(given) == 1 else None
    return found[1] if found else _new_trace_id()


def _new_trace_id() -> str:
    return secrets.token_hex(16)

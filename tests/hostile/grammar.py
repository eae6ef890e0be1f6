"""What the fuzzer's cases are made of: steps on a connection, as plain JSON."""

import json
from base64 import b64decode, b64encode
from typing import Any

from hypothesis import strategies as st

from portal.oauth.v1 import client_type_pb2, provider_pb2
from tests.hostile.http2 import message, raw_frame
from tests.hostile.system import API, CHECK, LIST, REFLECTION, WATCH

Step = dict[str, Any]


def bytes_of(text: str) -> bytes:
    return b64decode(text)


def text_of(data: bytes) -> str:
    return b64encode(data).decode()


_PATHS = [LIST, CHECK, WATCH, *REFLECTION] + [
    f"/{service.full_name}/{method.name}"
    for file in (provider_pb2, client_type_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
_RESERVED = [
    "grpc-timeout",
    "grpc-encoding",
    "grpc-accept-encoding",
    "grpc-status",
    "grpc-message",
    "te",
    "x-bin",
    "grpc-previous-rpc-attempts",
    "grpc-retry-pushback-ms",
    "grpc-trace-bin",
    "grpc-tags-bin",
    "content-type",
    "content-length",
    "host",
    "authorization",
    "idempotency-key",
    "if-match",
    "x-envoy-original-path",
    "x-envoy-upstream-rq-timeout-ms",
    "connection",
    "transfer-encoding",
    "expect",
    "upgrade",
    "accept-encoding",
    "x-forwarded-for",
    "x-http-method-override",
    "grpc-internal-encoding-request",
    ":path",
    ":status",
    "lb-cost-bin",
    "x-envoy-peer-metadata",
    "traceparent",
    "user-agent",
    "cookie",
    "origin",
    "range",
]
_VALUES = [
    b"",
    b"abc",
    b"-1S",
    b"1S",
    b"99999999H",
    b"gzip",
    b"identity",
    b"!!!",
    b"\xff",
    b"0",
    b"application/grpc",
]

_headers_of = st.lists(
    st.tuples(
        st.sampled_from(_RESERVED) | st.text("abcdefghij-_:", max_size=12),
        (st.sampled_from(_VALUES) | st.binary(max_size=40)).map(text_of),
    ),
    max_size=6,
)
_NAMES = ["name", "type", "response_types", "id", "PROVIDER_TYPE_OKTA"]
_SIGNS = ["AND", "OR", "NOT", "!=", "--", "1", *":=-*%_',()\"\\\0é"]
_words = st.sampled_from(_NAMES) | st.sampled_from(_SIGNS)
_filters = st.lists(_words | st.text(max_size=5), max_size=30).map(" ".join)
_tokens = st.text(max_size=60) | st.binary(max_size=40).map(text_of)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "Name",
                    "Type",
                    "WellKnownURL",
                    "SSLInsecureSkipVerify",
                    "ResponseTypes",
                    "GrantType",
                ]
            )
            | st.text(max_size=8),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)
_messages = st.builds(
    lambda size, token, text: provider_pb2.ListProvidersRequest(
        page_size=size, page_token=token, filter=text
    ).SerializeToString(),
    st.integers(-(2**31), 2**31 - 1),
    _tokens,
    _filters,
)
_bodies = (
    _messages.map(message)
    | st.builds(
        message,
        st.binary(max_size=60),
        st.sampled_from([0, 0, 0, 1, 7]),
        st.none() | st.integers(0, 2**32 - 1),
    )
    | st.binary(max_size=60)
)
_calls = st.fixed_dictionaries(
    {
        "kind": st.just("rpc"),
        "path": st.sampled_from(_PATHS) | st.text(max_size=20).map(lambda text: f"/{text}"),
        "key": st.sampled_from(["viewer", "viewer", "admin", "none"]),
        "headers": _headers_of,
        "body": _bodies.map(text_of),
        "end": st.booleans(),
    }
)
_json_texts = _json.map(json.dumps).map(lambda text: text.encode(errors="surrogatepass"))
_rest = st.fixed_dictionaries(
    {
        "kind": st.just("http"),
        "method": st.sampled_from(
            ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE"]
        ),
        "path": st.sampled_from(
            ["", "/1", "/2/client-types", "/1/client-types/1", "/%31", "/x", "//", "/."]
        ).flatmap(
            lambda part: st.text(max_size=20).map(
                lambda query: API + part + f"?{query}" * bool(query)
            )
        ),
        "key": st.sampled_from(["viewer", "admin", "none"]),
        "headers": _headers_of,
        "body": (_json_texts | st.binary(max_size=60)).map(text_of),
        "end": st.booleans(),
    }
)
_frames = st.builds(
    raw_frame,
    st.integers(0, 12),
    st.integers(0, 255),
    st.sampled_from([0, 1, 1, 3, 5, 2, 2**31 - 1]),
    st.binary(max_size=40),
    st.none() | st.integers(0, 20000),
)
_raw = st.fixed_dictionaries(
    {"kind": st.just("raw"), "bytes": (_frames | st.binary(max_size=60)).map(text_of)}
)
CASE = st.lists(_calls | _rest | _raw, min_size=1, max_size=8)

"""Holds the conversation with a running portal and writes down what was asked and served."""

import json
import re
from collections.abc import Iterable
from typing import Any

import grpc
import httpx
from google.protobuf import json_format
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2  # noqa: F401  # so that details can be written as JSON
from grpc_status import rpc_status

from portal.oauth.v1 import client_pb2, client_type_pb2, provider_pb2
from tests.golden.cases import NATIVE, REST, Key, Native, Rest
from tests.support.stack import ADMIN_KEY, Stack, portal

METHODS: dict[str, MethodDescriptor] = {
    name: method
    for file in (provider_pb2, client_type_pb2, client_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for name, method in service.methods_by_name.items()
}

# What differs from run to run, and what stands in its place.
VARYING = [
    (re.compile(r"\b[0-9a-f]{32}\b"), "TRACE ID"),
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "UUID"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "RFC 3339 TIME"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d"), "YYYY-MM-DD HH:MM"),
    (re.compile(r'(?<=etag: )"[^"]+"'), '"ETAG"'),
    (re.compile(r'(?<="etag": )"\\"[^"]+\\""'), '"ETAG"'),
]
# Headers of the transport's, which are no part of the response.
TRANSPORT = {"date", "content-length", "x-envoy-upstream-service-time"}

LONGEST = 500  # characters of a request's body that are worth reading


def hold(stack: Stack) -> dict[str, str]:
    """Ask a fresh portal everything; what was reported, by the name of its golden file."""
    viewer = portal("keys", "create", "--role", "viewer", **stack.settings).stdout.strip()
    keys: dict[Key, str] = {"admin": ADMIN_KEY, "viewer": viewer, "wrong": "no-such-key"}
    address = f"127.0.0.1:{stack.grpc_port}"
    with stack.client(None) as client, grpc.insecure_channel(address) as channel:
        expected = [_ask(client, case, keys.get(case.key)) for case in REST]
        expected += [_call(channel, case, keys.get(case.key)) for case in NATIVE]
    return dict(zip(names(), expected, strict=True))


def names() -> list[str]:
    """The names of all golden files."""
    return [f"rest-{case.name}.txt" for case in REST] + [f"native-{c.name}.txt" for c in NATIVE]


def _ask(client: httpx.Client, case: Rest, key: str | None) -> str:
    json_body = {} if case.body is None else {"Content-Type": "application/json"}
    headers = json_body | case.headers
    secret = {} if key is None else {"Authorization": key}
    response = client.request(case.method, case.path, content=case.body, headers=headers | secret)
    return _written(
        [f"{case.method} /portal-api{case.path}", *_lines(headers.items()), *_key(case)],
        _short(case.body or ""),
        [f"HTTP {response.status_code}", *_lines(response.headers.multi_items())],
        _indented(response.text),
    )


def _call(channel: grpc.Channel, case: Native, key: str | None) -> str:
    method = METHODS[case.method]
    request = json_format.ParseDict(case.request, GetMessageClass(method.input_type)())
    stub = channel.unary_unary(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=type(request).SerializeToString,
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
    secret = () if key is None else (("authorization", key),)
    response: Message
    ended: Any
    try:
        response, ended = stub.with_call(request, timeout=20, metadata=secret)
    except grpc.RpcError as error:
        ended = error
        response = rpc_status.from_call(ended)
    metadata = [*ended.initial_metadata(), *ended.trailing_metadata()]
    return _written(
        [f"{method.containing_service.full_name}/{method.name}", *_key(case)],
        _json(case.request),
        [f"gRPC {ended.code().name}", *_lines((k, v) for k, v in metadata if k[-4:] != "-bin")],
        _message(response),
    )


def _written(asked: list[str], request: str, expected: list[str], response: str) -> str:
    text = "\n".join([*expected, "", response])
    for pattern, stands_for in VARYING:
        text = pattern.sub(stands_for, text)
    question = "\n".join([*asked, "", request]).strip()
    return f"{question}\n\n{'-' * 72}\n\n{text.strip()}\n"


def _key(case: Rest | Native) -> list[str]:
    return [] if case.key is None else [f"authorization: <{case.key} key>"]


def _lines(headers: Iterable[tuple[str, str]]) -> list[str]:
    lower = ((name.lower(), value) for name, value in headers)
    return [f"{name}: {value}".rstrip() for name, value in sorted(lower) if name not in TRANSPORT]


def _short(body: str) -> str:
    return body if len(body) <= LONGEST else f"{body[:60]}… ({len(body)} characters)"


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _indented(text: str) -> str:
    """JSON with a line for each value where that hides nothing; any other text as it is."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    compact = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return _json(value) if compact == text else text


def _message(message: Message) -> str:
    return json_format.MessageToJson(
        message,
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
        ensure_ascii=False,
    )

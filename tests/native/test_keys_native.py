"""Which calls need which key, on every service."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from conftest import Portal, serve, with_key
from details import Refusal
from portal.oauth.v1 import client_type_pb2, provider_pb2
from portal.oauth.v1.provider_pb2_grpc import ProviderServiceStub
from portal.rest.v1 import portal_rest_pb2
from portal_server.domain.keys import Role
from stack import ADMIN_KEY

METHODS = [
    method
    for module in (client_type_pb2, provider_pb2, portal_rest_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
LIST = provider_pb2.ListProvidersRequest()
each_method = pytest.mark.parametrize("method", METHODS, ids=lambda m: m.full_name)


def call(channel: grpc.Channel, method: MethodDescriptor) -> grpc.StatusCode:
    """Call a method with an empty request; its status."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    kind = channel.unary_stream if method.server_streaming else channel.unary_unary
    stub: Any = kind(
        path,
        request_serializer=GetMessageClass(method.input_type).SerializeToString,
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
    try:
        answer = stub(GetMessageClass(method.input_type)())
        if method.server_streaming:
            list(answer)
    except grpc.RpcError as error:
        return cast(grpc.Call, error).code()
    return grpc.StatusCode.OK


@each_method
def test_every_method_needs_a_key(portal: Portal, method: MethodDescriptor) -> None:
    assert call(portal.anonymous, method) == grpc.StatusCode.UNAUTHENTICATED
    assert call(portal.channel, method) != grpc.StatusCode.UNAUTHENTICATED


@each_method
def test_a_viewer_may_get_and_list_and_nothing_else(
    portal: Portal, method: MethodDescriptor
) -> None:
    viewer = with_key(portal.anonymous, portal.keyring.create(Role.VIEWER, ""))
    refused = call(viewer, method) == grpc.StatusCode.PERMISSION_DENIED

    assert refused == method.name.startswith(("Create", "Update", "Delete"))
    assert refused != method.name.startswith(("Get", "List"))


@pytest.mark.parametrize("form", ["{}", "Bearer {}", "bearer {}", "BEARER  {}", " {} "])
def test_a_key_may_be_bare_or_after_bearer(portal: Portal, form: str) -> None:
    key = portal.keyring.create(Role.ADMIN, "")
    for text in (key, ADMIN_KEY):
        ProviderServiceStub(with_key(portal.anonymous, form.format(text))).ListProviders(LIST)


def refusal_of(channel: grpc.Channel, *keys: str) -> Refusal:
    with pytest.raises(grpc.RpcError) as error:
        ProviderServiceStub(channel).ListProviders(
            LIST, metadata=tuple(("authorization", key) for key in keys)
        )
    return Refusal(error.value)


def test_any_other_key_is_refused_in_the_same_words(portal: Portal) -> None:
    key = portal.keyring.create(Role.ADMIN, "")
    wrong = [
        (),
        ("",),
        ("Bearer",),
        ("nope",),
        (key[:-1],),
        (key + "x",),
        (key[:-1] + ("a" if key[-1] != "a" else "b"),),
        (f"Basic {key}",),
        (ADMIN_KEY + "x",),
        (key, key),
        (key, "nope"),
    ]
    refusals = [refusal_of(portal.anonymous, *keys) for keys in wrong]

    assert {refusal.code for refusal in refusals} == {grpc.StatusCode.UNAUTHENTICATED}
    assert {refusal.reason for refusal in refusals} == {"KEY_INVALID"}
    assert len({refusal.message for refusal in refusals}) == 1


def test_a_revoked_key_is_refused_at_once(portal: Portal) -> None:
    key = portal.keyring.create(Role.ADMIN, "")
    stub = ProviderServiceStub(with_key(portal.anonymous, key))
    stub.ListProviders(LIST)
    portal.keyring.revoke(portal.keyring.list()[0].key_id)

    assert refusal_of(portal.anonymous, key).reason == "KEY_INVALID"


def test_a_key_is_in_no_log_and_not_in_the_database(
    portal: Portal, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key = portal.keyring.create(Role.ADMIN, "")
    with caplog.at_level(logging.DEBUG):
        ProviderServiceStub(with_key(portal.anonymous, key)).ListProviders(LIST)
        refusal_of(portal.anonymous, key + "x")
        portal.providers.ListProviders(LIST)
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("served.db*"))

    assert "ListProviders" in caplog.text
    assert key not in caplog.text
    assert ADMIN_KEY not in caplog.text
    assert key.split("_")[1].encode() in stored
    assert key.split("_")[2].encode() not in stored
    assert ADMIN_KEY.encode() not in stored


def services(channel: grpc.Channel) -> set[str]:
    return set(ProtoReflectionDescriptorDatabase(channel).get_services())


OURS = {
    "portal.oauth.v1.ClientTypeService",
    "portal.oauth.v1.ProviderService",
    "portal.rest.v1.PortalRestService",
}


def test_reflection_is_open_and_describes_every_service(portal: Portal) -> None:
    database = ProtoReflectionDescriptorDatabase(portal.anonymous)
    described = database.FindFileContainingSymbol("portal.oauth.v1.ClientType")

    assert set(database.get_services()) == OURS | {
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    assert "ResponseType" in [enum.name for enum in described.enum_type]


class _AddKey(grpc.StreamStreamClientInterceptor):
    def intercept_stream_stream(
        self, continuation: Any, client_call_details: Any, request_iterator: Iterator[Any]
    ) -> Any:
        metadata = (("authorization", ADMIN_KEY),)
        return continuation(client_call_details._replace(metadata=metadata), request_iterator)


def test_reflection_needs_a_key_when_it_is_closed(tmp_path: Path) -> None:
    with serve(f"sqlite:///{tmp_path}/x.db", open_reflection=False) as portal:
        with pytest.raises(grpc.RpcError) as error:
            services(portal.anonymous)
        with_a_key = services(grpc.intercept_channel(portal.anonymous, _AddKey()))

    assert Refusal(error.value).code == grpc.StatusCode.UNAUTHENTICATED
    assert with_a_key > OURS


def test_health_is_open_and_knows_every_service(portal: Portal) -> None:
    stub: Any = health_pb2_grpc.HealthStub(portal.anonymous)
    found = {
        name: stub.Check(health_pb2.HealthCheckRequest(service=name)).status for name in ("", *OURS)
    }

    assert set(found.values()) == {health_pb2.HealthCheckResponse.SERVING}

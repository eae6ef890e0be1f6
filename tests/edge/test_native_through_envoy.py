"""Native gRPC on Envoy's port."""

import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from portal.oauth.v1 import provider_pb2 as pb
from portal.oauth.v1.provider_pb2_grpc import ProviderServiceStub
from tests.conftest import with_key
from tests.support.details import Rejection
from tests.support.stack import ADMIN_KEY, Stack


@pytest.fixture
def channel(stack: Stack) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{stack.http_port}") as open_:
        yield open_


def test_a_native_call_and_its_errors_pass_unchanged(channel: grpc.Channel) -> None:
    stub = ProviderServiceStub(with_key(channel, ADMIN_KEY))
    found = stub.GetProvider(pb.GetProviderRequest(id=1))
    with pytest.raises(grpc.RpcError) as invalid:
        stub.CreateProvider(pb.CreateProviderRequest())
    with pytest.raises(grpc.RpcError) as anonymous:
        ProviderServiceStub(channel).GetProvider(pb.GetProviderRequest(id=1))

    assert found.name == "Example Keycloak"
    assert Rejection(invalid.value).fields == [
        "provider.name",
        "provider.type",
        "provider.well_known_uri",
    ]
    assert Rejection(anonymous.value).code == grpc.StatusCode.UNAUTHENTICATED


def test_reflection_and_health_pass(channel: grpc.Channel) -> None:
    services = ProtoReflectionDescriptorDatabase(channel).get_services()
    stub: Any = health_pb2_grpc.HealthStub(channel)
    health = stub.Check(health_pb2.HealthCheckRequest())

    assert "portal.oauth.v1.ClientTypeService" in services
    assert health.status == health_pb2.HealthCheckResponse.SERVING


def test_an_unknown_service_is_a_plain_status(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as error:
        channel.unary_unary("/nobody.v1.Nope/Nope")(b"")  # type: ignore[arg-type]

    assert isinstance(error.value, grpc.Call)
    assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert "errors" not in (error.value.details() or "")


def test_a_callers_own_deadline_is_kept(stack: Stack, channel: grpc.Channel) -> None:
    stub = ProviderServiceStub(with_key(channel, ADMIN_KEY))
    start = time.monotonic()
    with stack.locked_database(), pytest.raises(grpc.RpcError) as error:
        stub.CreateProvider(
            pb.CreateProviderRequest(
                provider=pb.Provider(
                    name="late", type=pb.PROVIDER_TYPE_OTHER, well_known_uri="https://idp.test/"
                )
            ),
            timeout=0.5,
        )

    assert isinstance(error.value, grpc.Call)
    assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - start < 3

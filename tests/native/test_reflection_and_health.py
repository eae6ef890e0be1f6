"""What tools find out about the server: its services, their messages, whether it serves."""

import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from pydantic import SecretStr

from portal.oauth.v1 import client_type_pb2, provider_pb2
from portal.oauth.v1.provider_pb2_grpc import ProviderServiceStub
from tests.conftest import Portal, with_key
from tests.support.databases import new_sqlite
from tests.support.own_server import started
from tests.support.stack import ADMIN_KEY
from tests.support.walk import METHODS, NAMES, each_method, status_of

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def pool_of(portal: Portal) -> DescriptorPool:
    return DescriptorPool(ProtoReflectionDescriptorDatabase(portal.anonymous))


def health_of(channel: grpc.Channel) -> Any:
    return health_pb2_grpc.HealthStub(channel)


def test_reflection_lists_the_services_of_the_project_and_no_others(portal: Portal) -> None:
    listed = set(ProtoReflectionDescriptorDatabase(portal.anonymous).get_services())

    assert {name for name in listed if name.startswith("portal.")} == NAMES
    assert listed - NAMES == {
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    }


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_each_version_of_reflection_serves_the_same_and_describes_itself(
    portal: Portal, version: str
) -> None:
    service = f"grpc.reflection.{version}.ServerReflection"
    method = portal.anonymous.stream_stream(
        f"/{service}/ServerReflectionInfo",
        reflection_pb2.ServerReflectionRequest.SerializeToString,
        reflection_pb2.ServerReflectionResponse.FromString,
    )
    asked = [
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=name)
        for name in ("portal.oauth.v1.ClientType", service)
    ]
    client_type, own = (one.file_descriptor_response for one in method(iter(asked), timeout=10))
    file = FileDescriptorProto.FromString(own.file_descriptor_proto[0])

    assert b"portal/oauth/v1/client_type.proto" in client_type.file_descriptor_proto[0]
    assert file.package == f"grpc.reflection.{version}"
    assert file.service[0].method[0].input_type == (
        f".grpc.reflection.{version}.ServerReflectionRequest"
    )


def test_reflection_is_enough_to_build_a_client_type(portal: Portal) -> None:
    described = pool_of(portal).FindMessageTypeByName("portal.oauth.v1.ClientType")
    built: Any = GetMessageClass(described)(
        name="web", grant_types=[client_type_pb2.GRANT_TYPE_PKCE]
    )
    read = client_type_pb2.ClientType.FromString(built.SerializeToString())

    assert described is not client_type_pb2.ClientType.DESCRIPTOR
    assert read == client_type_pb2.ClientType(
        name="web", grant_types=[client_type_pb2.GRANT_TYPE_PKCE]
    )


@each_method
def test_reflection_describes_every_method_as_it_is(portal: Portal, method: Any) -> None:
    service = pool_of(portal).FindServiceByName(method.containing_service.full_name)
    described = service.methods_by_name[method.name]

    assert described.input_type.full_name == method.input_type.full_name
    assert described.output_type.full_name == method.output_type.full_name
    assert described.server_streaming == method.server_streaming
    assert [field.name for field in described.input_type.fields] == [
        field.name for field in method.input_type.fields
    ]


def test_reflection_serves_the_comments_of_the_protos(portal: Portal) -> None:
    found = ProtoReflectionDescriptorDatabase(portal.anonymous).FindFileContainingSymbol(
        "portal.oauth.v1.ErrorReason"
    )
    comments = "".join(place.leading_comments for place in found.source_code_info.location)

    assert found.name == "portal/oauth/v1/errors.proto"
    # Of the enum, and of one of its values.
    assert "google.rpc.ErrorInfo" in comments
    assert "google.rpc.BadRequest" in comments


@each_method
def test_reflection_finds_a_method_by_its_full_name(portal: Portal, method: Any) -> None:
    # Once it has the file, a database no longer asks the server.
    first, second = (ProtoReflectionDescriptorDatabase(portal.anonymous) for _ in range(2))

    found = first.FindFileContainingSymbol(method.full_name)

    assert found.name == method.containing_service.file.name
    with pytest.raises(KeyError):
        second.FindFileContainingSymbol(f"{method.full_name}Nope")


def test_every_method_that_reflection_lists_exists(portal: Portal) -> None:
    codes = {method.full_name: status_of(portal.channel, method) for method in METHODS}

    assert [name for name, code in codes.items() if code == grpc.StatusCode.UNIMPLEMENTED] == []


def test_reflection_of_an_unknown_symbol_is_an_error(portal: Portal) -> None:
    with pytest.raises(KeyError):
        pool_of(portal).FindMessageTypeByName("portal.oauth.v1.Nope")


@pytest.mark.parametrize("service", ["", *sorted(NAMES)], ids=lambda name: name or "the server")
def test_every_service_is_serving(portal: Portal, service: str) -> None:
    request = health_pb2.HealthCheckRequest(service=service)
    stub = health_of(portal.anonymous)
    watch = stub.Watch(request)

    assert stub.Check(request).status == SERVING
    assert next(watch).status == SERVING
    watch.cancel()


def test_the_health_of_an_unknown_service_is_not_found(portal: Portal) -> None:
    with pytest.raises(grpc.RpcError) as error:
        health_of(portal.anonymous).Check(health_pb2.HealthCheckRequest(service="Nope"))

    assert isinstance(error.value, grpc.Call)
    assert error.value.code() == grpc.StatusCode.NOT_FOUND


def test_a_stopping_server_reports_it_and_finishes_the_call_in_flight(tmp_path: Path) -> None:
    file = tmp_path / "x.db"
    draft = provider_pb2.Provider(
        name="last", type=provider_pb2.PROVIDER_TYPE_OTHER, well_known_uri="https://idp.test/"
    )
    with (
        started(new_sqlite(file), admin_key=SecretStr(ADMIN_KEY), stop_seconds=4) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel,
        closing(sqlite3.connect(file, isolation_level=None)) as other,
    ):
        watch = health_of(channel).Watch(health_pb2.HealthCheckRequest())
        before = next(watch).status
        other.execute("BEGIN IMMEDIATE")
        stub: Any = ProviderServiceStub(with_key(channel, ADMIN_KEY))
        call = stub.CreateProvider.future(provider_pb2.CreateProviderRequest(provider=draft))
        time.sleep(0.2)
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        after = next(watch).status
        watch.cancel()
        in_flight = not call.done()
        other.execute("COMMIT")
        response = call.result(timeout=10)
        stopping.join()

    assert (before, after) == (SERVING, NOT_SERVING)
    assert in_flight
    assert response.name == "last"

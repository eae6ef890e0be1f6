"""Authorization reads the idempotency_level of a method, not its name."""

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, MethodOptions
from google.protobuf.descriptor_pool import DescriptorPool

from portal.oauth.v1 import client_type_pb2, provider_pb2
from portal.rest.v1 import portal_rest_pb2
from portal_server.wire.access import is_write


@pytest.fixture(scope="module")
def pool() -> DescriptorPool:
    """A pool with a service whose methods have misleading names."""
    file = FileDescriptorProto(name="fake.proto", package="fake", syntax="proto3")
    file.message_type.add(name="Empty")
    service = file.service.add(name="Fakes")
    for name, level in (
        ("GetOrCreateFake", MethodOptions.IDEMPOTENCY_UNKNOWN),
        ("ListAndDeleteFakes", MethodOptions.IDEMPOTENT),
        ("SearchFakes", MethodOptions.NO_SIDE_EFFECTS),
    ):
        method = service.method.add(name=name, input_type=".fake.Empty", output_type=".fake.Empty")
        if level:
            method.options.idempotency_level = level
    pool = DescriptorPool()
    pool.Add(file)
    return pool


@pytest.mark.parametrize(
    ("name", "writes"),
    [
        ("GetOrCreateFake", True),
        ("ListAndDeleteFakes", True),
        ("SearchFakes", False),
        ("GetWhatIsNotDeclared", True),
    ],
)
def test_only_a_method_without_side_effects_is_a_read(
    pool: DescriptorPool, *, name: str, writes: bool
) -> None:
    assert is_write(f"/fake.Fakes/{name}", pool) is writes


def test_every_get_and_list_of_the_api_is_a_read_and_nothing_else() -> None:
    services = [
        service
        for file in (client_type_pb2, provider_pb2, portal_rest_pb2)
        for service in file.DESCRIPTOR.services_by_name.values()
    ]
    reads = {
        method.name
        for service in services
        for method in service.methods
        if not is_write(f"/{service.full_name}/{method.name}")
    }
    assert reads == {"GetProvider", "ListProviders", "GetClientType", "ListClientTypes"}

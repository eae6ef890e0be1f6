"""What each method needs: its role, whether it writes, and whether it waits."""

import re
from typing import Any

import pytest
import yaml
from google.protobuf.descriptor_pb2 import FileDescriptorProto, MethodOptions
from google.protobuf.descriptor_pool import DescriptorPool

from portal_server.domain.keys import Role
from portal_server.wire.access import METHODS, Waits, access, is_write
from tests.support import walk
from tests.support.stack import ROOT
from tests.support.walk import is_read, role_of


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


def methods() -> list[str]:
    return [f"/{one.containing_service.full_name}/{one.name}" for one in walk.METHODS]


def test_every_get_list_and_preview_of_the_api_is_a_read_and_nothing_else() -> None:
    reads = {path for path in methods() if not is_write(path)}

    assert reads == {path for path in methods() if is_read(path[1:].replace("/", "."))}


def test_every_method_has_an_entry_and_every_entry_is_a_method() -> None:
    listed = {f"/{service}/{name}" for service, names in METHODS.items() for name in names}

    assert listed == set(methods())


def test_a_method_without_an_entry_needs_the_role_admin() -> None:
    assert access("/portal.oauth.v1.ProviderService/New").role is Role.ADMIN
    assert access("/fake.Fakes/SearchFakes").role is Role.ADMIN


@pytest.mark.parametrize("path", methods())
def test_each_method_needs_the_least_role_that_may_do_it(path: str) -> None:
    assert access(path).role == role_of(path[1:].replace("/", "."))


def test_a_viewer_may_call_reads_only() -> None:
    assert all(not is_write(path) for path in methods() if access(path).role is Role.VIEWER)


def test_only_a_deletion_of_a_template_waits_if_it_is_forced() -> None:
    names = {path.split("/")[2] for path in methods() if access(path).waits is Waits.IF_FORCED}

    assert names == {"DeleteProvider", "DeleteClientType"}


def test_envoy_waits_longer_for_the_methods_that_wait_for_a_provider() -> None:
    [virtual_host] = manager()["route_config"]["virtual_hosts"]
    for path in methods():
        route = next(route for route in virtual_host["routes"] if takes(route["match"], path))
        timeout = route["route"]["timeout"]
        if access(path).stays_open:
            assert timeout == "0s"
            continue
        deadline = route["request_headers_to_add"][0]["header"]["value"]
        waiting = access(path).waits is not Waits.NEVER

        assert timeout == ("15s" if waiting else "11s"), path
        if "/List" not in path or "rest" not in path:
            assert deadline == ("14S" if waiting else "10S"), path


def takes(match: Any, path: str) -> bool:
    """Whether a route of Envoy takes calls of native gRPC to this path."""
    if "grpc" not in match:
        return False
    if "safe_regex" in match:
        return bool(re.fullmatch(match["safe_regex"]["regex"], path))
    return path.startswith(match["prefix"]) if "prefix" in match else match["path"] == path


def manager() -> Any:
    config = yaml.safe_load((ROOT / "envoy.yaml").read_text())
    return config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][1][
        "typed_config"
    ]

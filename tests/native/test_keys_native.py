"""Which calls need which key, on every service."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from portal.oauth.v1 import provider_pb2
from portal.oauth.v1.provider_pb2_grpc import ProviderServiceStub
from portal_server.domain.keys import Role
from tests.conftest import Portal, serve, with_key
from tests.support.databases import new_sqlite
from tests.support.details import Rejection
from tests.support.own_server import started
from tests.support.stack import ADMIN_KEY
from tests.support.walk import (
    METHODS,
    NAMES,
    each_method,
    is_read,
    method_id,
    role_of,
    send,
    status_of,
)

LIST = provider_pb2.ListProvidersRequest()


@each_method
def test_every_method_needs_a_key(portal: Portal, method: MethodDescriptor) -> None:
    assert status_of(portal.anonymous, method) == grpc.StatusCode.UNAUTHENTICATED
    assert status_of(portal.channel, method) != grpc.StatusCode.UNAUTHENTICATED


def test_each_method_accepts_the_roles_that_may_call_it(portal: Portal) -> None:
    order = list(Role)
    for role in order:
        channel = with_key(portal.anonymous, portal.keyring.create(role))
        for method in METHODS:
            accepted = status_of(channel, method) != grpc.StatusCode.PERMISSION_DENIED
            needed = Role(role_of(method.full_name))

            assert accepted is (order.index(role) >= order.index(needed)), (role, method.full_name)


@pytest.mark.parametrize("form", ["{}", "Bearer {}", "bearer {}", "BEARER  {}", " {} "])
def test_a_key_may_be_bare_or_after_bearer(portal: Portal, form: str) -> None:
    key = portal.keyring.create(Role.ADMIN, "")
    for text in (key, ADMIN_KEY):
        ProviderServiceStub(with_key(portal.anonymous, form.format(text))).ListProviders(LIST)


def error_of(channel: grpc.Channel, *keys: str) -> Rejection:
    with pytest.raises(grpc.RpcError) as error:
        ProviderServiceStub(channel).ListProviders(
            LIST, metadata=tuple(("authorization", key) for key in keys)
        )
    return Rejection(error.value)


def test_any_other_key_is_rejected_in_the_same_words(portal: Portal) -> None:
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
    errors = [error_of(portal.anonymous, *keys) for keys in wrong]

    assert {rejection.code for rejection in errors} == {grpc.StatusCode.UNAUTHENTICATED}
    assert {rejection.reason for rejection in errors} == {"KEY_INVALID"}
    assert len({rejection.message for rejection in errors}) == 1


def test_a_revoked_key_is_rejected_at_once(portal: Portal) -> None:
    key = portal.keyring.create(Role.ADMIN, "")
    stub = ProviderServiceStub(with_key(portal.anonymous, key))
    stub.ListProviders(LIST)
    portal.keyring.revoke(portal.keyring.list()[0].id)

    assert error_of(portal.anonymous, key).reason == "KEY_INVALID"


def test_a_key_is_in_no_log_and_not_in_the_database(
    portal: Portal, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key = portal.keyring.create(Role.ADMIN, "")
    with caplog.at_level(logging.DEBUG):
        ProviderServiceStub(with_key(portal.anonymous, key)).ListProviders(LIST)
        error_of(portal.anonymous, key + "x")
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


def test_reflection_is_open_and_describes_every_service(portal: Portal) -> None:
    database = ProtoReflectionDescriptorDatabase(portal.anonymous)
    described = database.FindFileContainingSymbol("portal.oauth.v1.ClientType")

    assert set(database.get_services()) == NAMES | {
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
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
    with serve(new_sqlite(tmp_path / "x.db"), open_reflection=False) as portal:
        with pytest.raises(grpc.RpcError) as error:
            services(portal.anonymous)
        with_a_key = services(grpc.intercept_channel(portal.anonymous, _AddKey()))

    assert Rejection(error.value).code == grpc.StatusCode.UNAUTHENTICATED
    assert with_a_key > NAMES


def test_health_needs_no_key_and_ignores_an_invalid_one(portal: Portal) -> None:
    request = health_pb2.HealthCheckRequest()
    stubs: list[Any] = [
        health_pb2_grpc.HealthStub(channel)
        for channel in (portal.anonymous, with_key(portal.anonymous, "nope"))
    ]
    responses = [stub.Check(request) for stub in stubs]

    assert {response.status for response in responses} == {health_pb2.HealthCheckResponse.SERVING}


def test_the_walk_finds_every_service_that_there_is() -> None:
    assert len(METHODS) >= 20
    assert {
        "portal.oauth.v1.ClientTypeService",
        "portal.oauth.v1.ProviderService",
        "portal.rest.v1.PortalRestService",
    } <= NAMES


@pytest.mark.parametrize("method", [m for m in METHODS if not is_read(m.full_name)], ids=method_id)
@pytest.mark.parametrize("message", [b"", b"\xff"], ids=["empty", "no message"])
def test_a_viewers_write_is_rejected_before_anything_is_read(
    portal: Portal, method: MethodDescriptor, message: bytes
) -> None:
    viewer = with_key(portal.anonymous, portal.keyring.create(Role.VIEWER, ""))
    with pytest.raises(grpc.RpcError) as error:
        send(viewer, method, message)
    rejection = Rejection(error.value)

    assert rejection.code == grpc.StatusCode.PERMISSION_DENIED
    assert rejection.reason == "ROLE_NOT_ALLOWED"
    assert "viewer" in rejection.message


def test_every_method_rejects_a_revoked_key(portal: Portal) -> None:
    key = portal.keyring.create(Role.ADMIN, "")
    channel = with_key(portal.anonymous, key)
    before = {method.full_name: status_of(channel, method) for method in METHODS}
    portal.keyring.revoke(key.split("_")[1])
    after = {method.full_name: status_of(channel, method) for method in METHODS}

    assert grpc.StatusCode.UNAUTHENTICATED not in before.values()
    assert after == dict.fromkeys(before, grpc.StatusCode.UNAUTHENTICATED)


def test_a_viewer_reads_what_an_admin_writes_and_writes_nothing(portal: Portal) -> None:
    viewer = ProviderServiceStub(
        with_key(portal.anonymous, portal.keyring.create(Role.VIEWER, "reads"))
    )
    draft = provider_pb2.Provider(
        name="p", type=provider_pb2.PROVIDER_TYPE_OTHER, well_known_uri="https://idp.test/"
    )
    made = portal.providers.CreateProvider(provider_pb2.CreateProviderRequest(provider=draft))
    draft.id, draft.name = made.id, "changed"
    writes: list[tuple[Any, Any]] = [
        (viewer.CreateProvider, provider_pb2.CreateProviderRequest(provider=draft)),
        (viewer.UpdateProvider, provider_pb2.UpdateProviderRequest(provider=draft)),
        (viewer.DeleteProvider, provider_pb2.DeleteProviderRequest(id=made.id)),
    ]
    codes = []
    for write, request in writes:
        with pytest.raises(grpc.RpcError) as error:
            write(request)
        codes.append(Rejection(error.value).code)

    assert codes == [grpc.StatusCode.PERMISSION_DENIED] * 3
    assert list(viewer.ListProviders(LIST).providers) == [made]
    assert viewer.GetProvider(provider_pb2.GetProviderRequest(id=made.id)) == made


def test_an_admin_key_that_is_removed_from_the_settings_is_invalid(tmp_path: Path) -> None:
    url = new_sqlite(tmp_path / "x.db")
    with serve(url) as portal:
        portal.providers.ListProviders(LIST)
        kept = portal.keyring.list()
    with (
        started(url) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        rejection = error_of(channel, ADMIN_KEY)

    assert kept == []
    assert rejection.reason == "KEY_INVALID"

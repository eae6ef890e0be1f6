"""A write with validate_only makes every check and changes nothing (AIP-163)."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from portal.oauth.v1 import client_type_pb2 as ct
from portal.oauth.v1 import provider_pb2 as pb
from portal.oauth.v1.client_type_pb2_grpc import ClientTypeServiceStub
from portal.oauth.v1.provider_pb2_grpc import ProviderServiceStub
from portal_server.domain.client import Client, ClientState
from portal_server.domain.errors import Resource
from portal_server.domain.identity import new_uid
from portal_server.domain.keys import Role
from portal_server.storage.store import Store
from tests.conftest import Portal, with_key
from tests.support.catalog import CALL
from tests.support.details import Rejection

NOW = datetime(2026, 1, 31, tzinfo=UTC)
UID = "0193b1a6-8a54-4f3e-9c1d-2b7a4e5f6a7b"
OTHER_UID = "0193b1a6-8a54-4f3e-9c1d-2b7a4e5f6a7c"


def provider(name: str = "p", **more: Any) -> pb.Provider:
    given: Any = {"type": pb.PROVIDER_TYPE_OTHER, "well_known_uri": "https://idp.test/x"} | more
    return pb.Provider(name=name, **given)


def client_type(name: str = "c", **more: Any) -> ct.ClientType:
    given: Any = {
        "response_types": [ct.RESPONSE_TYPE_CODE],
        "grant_types": [ct.GRANT_TYPE_PKCE],
    } | more
    return ct.ClientType(name=name, **given)


class Writes:
    """The writes of one portal, and what it has."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.providers = ProviderServiceStub(channel)
        self.client_types = ClientTypeServiceStub(channel)

    def create_provider(self, given: pb.Provider | None = None, **more: Any) -> pb.Provider:
        request = pb.CreateProviderRequest(provider=given or provider(), **more)
        return self.providers.CreateProvider(request)

    def update_provider(self, given: pb.Provider, *mask: str, **more: Any) -> pb.Provider:
        fields = FieldMask(paths=mask)
        return self.providers.UpdateProvider(
            pb.UpdateProviderRequest(provider=given, update_mask=fields, **more)
        )

    def delete_provider(self, id_: int, **more: Any) -> object:
        return self.providers.DeleteProvider(pb.DeleteProviderRequest(id=id_, **more))

    def create_client_type(
        self, provider_id: int, given: ct.ClientType | None = None, **more: Any
    ) -> ct.ClientType:
        request = ct.CreateClientTypeRequest(
            provider_id=provider_id, client_type=given or client_type(), **more
        )
        return self.client_types.CreateClientType(request)

    def update_client_type(self, given: ct.ClientType, *mask: str, **more: Any) -> ct.ClientType:
        fields = FieldMask(paths=mask)
        return self.client_types.UpdateClientType(
            ct.UpdateClientTypeRequest(client_type=given, update_mask=fields, **more)
        )

    def delete_client_type(self, given: ct.ClientType, **more: Any) -> object:
        return self.client_types.DeleteClientType(
            ct.DeleteClientTypeRequest(provider_id=given.provider_id, id=given.id, **more)
        )

    def everything(self) -> list[Any]:
        found: list[Any] = []
        for one in self.providers.ListProviders(pb.ListProvidersRequest()).providers:
            request = ct.ListClientTypesRequest(provider_id=one.id)
            found += [one, *self.client_types.ListClientTypes(request).client_types]
        return found


@pytest.fixture
def writes(portal_on_each: Portal) -> Writes:
    return Writes(portal_on_each.channel)


def rejected(call: Callable[[], object]) -> Rejection:
    with pytest.raises(grpc.RpcError) as error:
        call()
    return Rejection(error.value)


def without(message: Any, *names: str) -> Any:
    for name in names:
        message.ClearField(name)
    return message


def test_a_create_responds_as_it_would_stores_nothing_and_uses_no_id(writes: Writes) -> None:
    parent = writes.create_provider()
    before = writes.everything()
    secret = provider(registration_access_token="t")  # noqa: S106
    own = writes.create_provider(secret, validate_only=True)
    child = writes.create_client_type(parent.id, uid=UID.upper(), validate_only=True)

    assert writes.everything() == before
    assert own == provider(registration_access_token_set=True)
    created = writes.create_client_type(parent.id, uid=UID)
    assert child.findings == created.findings
    assert child == without(created, "id", "create_time", "update_time", "etag")
    assert created.provider_id == parent.id
    assert writes.create_provider().id == parent.id + 1
    assert writes.create_client_type(parent.id).id == writes.everything()[1].id + 1


def test_an_update_responds_as_it_would_and_changes_nothing(writes: Writes) -> None:
    parent = writes.create_provider()
    child = writes.create_client_type(parent.id)
    before = writes.everything()
    new = writes.update_provider(
        pb.Provider(id=parent.id, etag=parent.etag, name="new"), validate_only=True
    )
    changed = writes.update_client_type(
        ct.ClientType(provider_id=parent.id, id=child.id, etag=child.etag, description="d"),
        validate_only=True,
    )

    assert writes.everything() == before
    expected = provider("new", id=parent.id, uid=parent.uid, create_time=parent.create_time)
    assert new == expected
    child.description = "d"
    assert changed == without(child, "update_time", "etag")


@pytest.mark.parametrize("force", [False, True])
def test_a_deletion_deletes_nothing(writes: Writes, force: Any) -> None:
    parent = writes.create_provider()
    child = writes.create_client_type(parent.id)
    before = writes.everything()
    writes.delete_client_type(child, etag=child.etag, force=force, validate_only=True)
    writes.delete_provider(parent.id, etag=parent.etag, force=force, validate_only=True)

    assert writes.everything() == before
    writes.delete_provider(parent.id)
    assert writes.everything() == []


def test_a_deletion_of_what_has_clients_fails_unless_it_would_remove_them(
    writes: Writes, store: Store
) -> None:
    parent = writes.create_provider()
    child = writes.create_client_type(parent.id)
    client = Client(
        id=0,
        uid=new_uid(),
        provider_id=parent.id,
        client_type_id=child.id,
        name="shop",
        redirect_uris=(),
        scope="",
        labels={},
        state=ClientState.ACTIVE,
        state_time=NOW,
        create_time=NOW,
        update_time=NOW,
    )
    store.write(CALL, lambda tx: tx.clients.add(client), Resource.CLIENT)
    before = writes.everything()

    for delete in (
        partial(writes.delete_client_type, child),
        partial(writes.delete_provider, parent.id),
    ):
        error = rejected(partial(delete, validate_only=True))
        assert (error.reason, error.message) == ("CLIENTS_EXIST", rejected(delete).message)
        delete(validate_only=True, force=True)
    assert writes.everything() == before
    assert store.read_latest(CALL, lambda tx: tx.clients.get(parent.id, client.uid))


def test_each_check_is_the_one_of_the_write(writes: Writes) -> None:
    taken = writes.create_provider(uid=UID)
    parent = writes.create_provider(provider(type=pb.PROVIDER_TYPE_OKTA))
    child = writes.create_client_type(taken.id, uid=OTHER_UID)
    invalid = provider("x" * 256, well_known_uri="nope", ca_certificate="no certificate")
    stale: Any = {"etag": '"0000"'}
    no_type = client_type(description="\0", provider_id=taken.id, id=child.id)
    absent = ct.ClientType(provider_id=taken.id, id=9999, name="n")
    calls: list[Callable[..., object]] = [
        lambda **v: writes.create_provider(invalid, uid="7", **v),
        lambda **v: writes.create_provider(uid=UID, **v),
        lambda **v: writes.create_provider(request_id="\0", **v),
        lambda **v: writes.update_provider(pb.Provider(id=9999, name="n"), **v),
        lambda **v: writes.update_provider(pb.Provider(id=taken.id, name=" "), **v),
        lambda **v: writes.update_provider(pb.Provider(id=taken.id), "nothing", **v),
        lambda **v: writes.update_provider(pb.Provider(id=taken.id, name="n", **stale), **v),
        lambda **v: writes.update_provider(
            pb.Provider(id=taken.id, type=pb.PROVIDER_TYPE_OKTA), **v
        ),
        lambda **v: writes.delete_provider(9999, **v),
        lambda **v: writes.delete_provider(0, **v),
        lambda **v: writes.delete_provider(taken.id, **stale, **v),
        lambda **v: writes.delete_provider(taken.id, force=True, **stale, **v),
        lambda **v: writes.create_client_type(0, client_type(""), **v),
        lambda **v: writes.create_client_type(9999, **v),
        lambda **v: writes.create_client_type(parent.id, **v),
        lambda **v: writes.create_client_type(taken.id, uid=OTHER_UID, **v),
        lambda **v: writes.update_client_type(absent, **v),
        lambda **v: writes.update_client_type(no_type, "description", **v),
        lambda **v: writes.delete_client_type(absent, **v),
        lambda **v: writes.delete_client_type(child, **stale, **v),
    ]
    before = writes.everything()
    for call in calls:
        validated, real = rejected(partial(call, validate_only=True)), rejected(call)
        assert (validated.code, validated.reason) == (real.code, real.reason)
        assert validated.violations == real.violations
        assert validated.message == real.message
    assert writes.everything() == before


def test_no_response_is_stored_for_retries_and_none_is_used(writes: Writes) -> None:
    validated = writes.create_provider(request_id="r", validate_only=True)
    created = writes.create_provider(request_id="r")
    again = writes.create_provider(request_id="r", validate_only=True)

    assert created.id
    assert not validated.id
    assert not again.id
    assert writes.create_provider(request_id="r") == created


def test_it_needs_the_role_of_a_write(portal_on_each: Portal) -> None:
    viewer = portal_on_each.keyring.create(Role.VIEWER, "")
    writes = Writes(with_key(portal_on_each.anonymous, viewer))
    error = rejected(lambda: writes.create_provider(validate_only=True))

    assert (error.code, error.reason) == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_NOT_ALLOWED")
    nobody = Writes(portal_on_each.anonymous)
    error = rejected(lambda: nobody.create_provider(validate_only=True))
    assert error.code == grpc.StatusCode.UNAUTHENTICATED


def test_a_client_type_is_validated_for_the_type_that_its_provider_will_have(
    writes: Writes,
) -> None:
    okta, other = pb.PROVIDER_TYPE_OKTA, pb.PROVIDER_TYPE_OTHER
    parent = writes.create_provider()
    child = writes.create_client_type(parent.id, uid=UID)
    plan: Any = {"validate_only": True, "planned_provider_type": okta}
    with_app_type = client_type(okta_app_type=ct.OKTA_APP_TYPE_WEB)
    before = writes.everything()

    for provider_id in (0, parent.id):
        valid = writes.create_client_type(provider_id, with_app_type, **plan)
        assert (valid.id, valid.provider_id) == (0, provider_id)
        error = rejected(partial(writes.create_client_type, provider_id, **plan))
        assert [v.field for v in error.violations] == ["client_type.okta_app_type"]
    assert writes.create_client_type(0, **plan | {"planned_provider_type": other}).name == "c"
    assert rejected(
        lambda: writes.create_client_type(0, with_app_type, uid=UID, **plan)
    ).reason == ("ALREADY_EXISTS")
    assert rejected(lambda: writes.create_client_type(9999, with_app_type, **plan)).reason == (
        "PROVIDER_NOT_FOUND"
    )
    error = rejected(lambda: writes.update_client_type(child, "name", **plan))
    assert [v.field for v in error.violations] == ["client_type.okta_app_type"]
    child.okta_app_type = ct.OKTA_APP_TYPE_WEB
    assert writes.update_client_type(child, "okta_app_type", **plan).name == "c"
    assert writes.everything() == before


@pytest.mark.parametrize("given", [{}, {"validate_only": True}], ids=repr)
def test_a_planned_type_is_valid_only_if_it_is_known_and_nothing_is_written(
    writes: Writes, given: Any
) -> None:
    number: Any = 99 if given else pb.PROVIDER_TYPE_OKTA
    parent = writes.create_provider()
    child = writes.create_client_type(parent.id)
    before = writes.everything()
    for call in (
        lambda: writes.create_client_type(parent.id, planned_provider_type=number, **given),
        lambda: writes.update_client_type(child, planned_provider_type=number, **given),
    ):
        error = rejected(call)
        assert [v.field for v in error.violations] == ["planned_provider_type"]
    assert writes.everything() == before

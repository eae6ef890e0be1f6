"""An etag keeps one caller from writing over another's change (AIP-154)."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from portal.oauth.v1 import client_type_pb2 as ct
from portal.oauth.v1 import provider_pb2 as pb
from tests.conftest import Portal
from tests.support.details import Rejection

STALE = '"0000"'


class Kind:
    """A kind of resource and its methods."""

    def __init__(self, portal: Portal) -> None:
        self.providers, self.client_types = portal.providers, portal.client_types


class Providers(Kind):
    def create(self) -> Any:
        provider = pb.Provider(
            name="p", type=pb.PROVIDER_TYPE_OTHER, well_known_uri="https://idp.test/x"
        )
        return self.providers.CreateProvider(pb.CreateProviderRequest(provider=provider))

    def get(self, stored: Any) -> Any:
        return self.providers.GetProvider(pb.GetProviderRequest(id=stored.id))

    def update(self, stored: Any, name: str, etag: str, *mask: str) -> Any:
        provider = pb.Provider(id=stored.id, name=name, etag=etag)
        return self.providers.UpdateProvider(
            pb.UpdateProviderRequest(provider=provider, update_mask=FieldMask(paths=mask))
        )

    def delete(self, stored: Any, etag: str) -> Any:
        return self.providers.DeleteProvider(pb.DeleteProviderRequest(id=stored.id, etag=etag))


class ClientTypes(Providers):
    def create(self) -> Any:
        client_type = ct.ClientType(
            name="c", response_types=[ct.RESPONSE_TYPE_CODE], grant_types=[ct.GRANT_TYPE_PKCE]
        )
        return self.client_types.CreateClientType(
            ct.CreateClientTypeRequest(provider_id=super().create().id, client_type=client_type)
        )

    def get(self, stored: Any) -> Any:
        return self.client_types.GetClientType(
            ct.GetClientTypeRequest(provider_id=stored.provider_id, id=stored.id)
        )

    def update(self, stored: Any, name: str, etag: str, *mask: str) -> Any:
        client_type = ct.ClientType(
            provider_id=stored.provider_id, id=stored.id, name=name, etag=etag
        )
        updated = self.client_types.UpdateClientType(
            ct.UpdateClientTypeRequest(client_type=client_type, update_mask=FieldMask(paths=mask))
        )
        updated.ClearField("findings")  # they are not stored
        return updated

    def delete(self, stored: Any, etag: str) -> Any:
        return self.client_types.DeleteClientType(
            ct.DeleteClientTypeRequest(provider_id=stored.provider_id, id=stored.id, etag=etag)
        )


@pytest.fixture(params=[Providers, ClientTypes])
def kind(request: pytest.FixtureRequest, portal_on_each: Portal) -> Providers:
    made: Providers = request.param(portal_on_each)
    return made


def require_rejected(call: Callable[[], object]) -> None:
    with pytest.raises(grpc.RpcError) as error:
        call()
    rejection = Rejection(error.value)
    assert (rejection.code, rejection.reason) == (grpc.StatusCode.ABORTED, "ETAG_MISMATCH")


def test_an_etag_changes_with_each_write_and_with_nothing_else(kind: Providers) -> None:
    created = kind.create()
    etags = [created.etag]
    etags += [kind.update(created, "the same name", "").etag for _ in range(5)]

    assert all(re.fullmatch('"[!#-~]+"', etag) for etag in etags)
    assert len(set(etags)) == len(etags)
    assert kind.get(created).etag == etags[-1]
    assert kind.update(created, "", "", "create_time").etag == etags[-1]
    assert kind.create().etag not in etags


def test_the_stored_etag_lets_an_update_and_a_deletion_pass(kind: Providers) -> None:
    created = kind.create()
    updated = kind.update(created, "new", created.etag)
    kind.delete(created, updated.etag)

    assert updated.name == "new"
    with pytest.raises(grpc.RpcError):
        kind.get(created)


@pytest.mark.parametrize("mask", [(), ("name",), ("*",), ("create_time",)], ids=repr)
def test_a_stale_etag_changes_nothing(kind: Providers, mask: tuple[str, ...]) -> None:
    created = kind.create()
    current = kind.update(created, "new", "")

    require_rejected(lambda: kind.update(created, "mine", created.etag, *mask))
    require_rejected(lambda: kind.update(created, "mine", STALE, *mask))
    require_rejected(lambda: kind.delete(created, created.etag))
    assert kind.get(created) == current


def test_without_an_etag_the_last_write_wins(kind: Providers) -> None:
    created = kind.create()
    kind.update(created, "one", "")

    assert kind.update(created, "two", "").name == "two"


def test_of_many_that_change_the_same_state_one_wins(kind: Providers) -> None:
    created = kind.create()
    together = Barrier(8)

    def change(number: int) -> str:
        together.wait()
        try:
            kind.update(created, f"by {number}", created.etag)
        except grpc.RpcError as error:
            return Rejection(error).reason
        return "won"

    with ThreadPoolExecutor(8) as pool:
        ends = list(pool.map(change, range(8)))

    assert sorted(ends) == ["ETAG_MISMATCH"] * 7 + ["won"]
    assert kind.get(created).name == f"by {ends.index('won')}"

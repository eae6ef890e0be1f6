"""Uids that a Create request gives."""

import grpc
import pytest

from portal.oauth.v1 import client_type_pb2, provider_pb2
from tests.conftest import Portal
from tests.support.details import Rejection

UID = "0193b1a6-8a54-4f3e-9c1d-2b7a4e5f6a7b"
PROVIDER = provider_pb2.Provider(
    name="p", type=provider_pb2.PROVIDER_TYPE_OTHER, well_known_uri="https://idp.test/x"
)
CLIENT_TYPE = client_type_pb2.ClientType(
    name="c",
    response_types=[client_type_pb2.RESPONSE_TYPE_CODE],
    grant_types=[client_type_pb2.GRANT_TYPE_PKCE],
)


def test_a_given_uid_is_kept_and_a_second_resource_with_it_already_exists(portal: Portal) -> None:
    of_provider = provider_pb2.CreateProviderRequest(provider=PROVIDER, uid=UID)
    provider = portal.providers.CreateProvider(of_provider)
    of_client_type = client_type_pb2.CreateClientTypeRequest(
        provider_id=provider.id, client_type=CLIENT_TYPE, uid=UID
    )
    client_type = portal.client_types.CreateClientType(of_client_type)

    assert (provider.uid, client_type.uid) == (UID, UID)
    for again in (
        lambda: portal.providers.CreateProvider(of_provider),
        lambda: portal.client_types.CreateClientType(of_client_type),
    ):
        with pytest.raises(grpc.RpcError) as error:
            again()
        rejection = Rejection(error.value)
        assert rejection.code == grpc.StatusCode.ALREADY_EXISTS
        assert rejection.reason == "ALREADY_EXISTS"


def test_a_uid_that_is_not_a_uuid_is_reported_with_all_other_violations(portal: Portal) -> None:
    request = provider_pb2.CreateProviderRequest(uid="7")
    with pytest.raises(grpc.RpcError) as error:
        portal.providers.CreateProvider(request)

    assert [v.field for v in Rejection(error.value).violations] == [
        "uid",
        "provider.name",
        "provider.type",
        "provider.well_known_uri",
    ]

"""ProviderService over a real channel."""

from typing import Any
from uuid import UUID

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from conftest import Portal
from details import Refusal
from portal.oauth.v1 import client_type_pb2
from portal.oauth.v1 import provider_pb2 as pb

GIVEN: dict[str, Any] = {
    "name": "p",
    "type": pb.PROVIDER_TYPE_GLUU,
    "well_known_uri": "https://idp.test/x",
}
TOKEN = "s3cr3t-token"  # noqa: S105


def create(portal: Portal, **fields: Any) -> pb.Provider:
    request = pb.CreateProviderRequest(provider=pb.Provider(**(GIVEN | fields)))
    return portal.providers.CreateProvider(request)


def update(portal: Portal, id_: int, *paths: str, **fields: Any) -> pb.Provider:
    mask = FieldMask(paths=paths) if paths else None
    return portal.providers.UpdateProvider(
        pb.UpdateProviderRequest(provider=pb.Provider(id=id_, **fields), update_mask=mask)
    )


def get(portal: Portal, id_: int) -> pb.Provider:
    return portal.providers.GetProvider(pb.GetProviderRequest(id=id_))


def add_client_type(portal: Portal, provider_id: int) -> int:
    return portal.client_types.CreateClientType(
        client_type_pb2.CreateClientTypeRequest(
            provider_id=provider_id,
            client_type=client_type_pb2.ClientType(
                name="c",
                response_types=[client_type_pb2.RESPONSE_TYPE_CODE],
                grant_types=[client_type_pb2.GRANT_TYPE_PKCE],
            ),
        )
    ).id


def test_what_is_created_has_what_was_asked_for(portal_on_each: Portal) -> None:
    created = create(portal_on_each, tls_insecure_skip_verify=True)

    assert (created.name, created.type) == ("p", pb.PROVIDER_TYPE_GLUU)
    assert created.well_known_uri == "https://idp.test/x"
    assert created.tls_insecure_skip_verify
    assert UUID(created.uid).version == 4
    assert created.create_time == created.update_time
    assert get(portal_on_each, created.id) == created


def test_a_token_is_in_no_answer(portal: Portal) -> None:
    created = create(portal, registration_access_token=TOKEN)
    answers = [
        created,
        get(portal, created.id),
        update(portal, created.id, registration_access_token=TOKEN),
        portal.providers.ListProviders(pb.ListProvidersRequest()),
    ]

    assert not [answer for answer in answers if TOKEN in str(answer)]
    assert created.registration_access_token_set
    assert not create(portal).registration_access_token_set


@pytest.mark.parametrize(
    ("paths", "fields", "left"),
    [
        pytest.param((), {"name": "n"}, True, id="no mask"),
        pytest.param(("*",), GIVEN, True, id="a full replacement that does not give it"),
        pytest.param(("name",), {"name": "n"}, True, id="another field"),
        pytest.param(("registration_access_token",), {}, False, id="named and empty"),
        pytest.param(("*", "registration_access_token"), GIVEN, False, id="all, and named"),
    ],
)
def test_a_token_is_cleared_only_when_it_is_named(
    portal: Portal, paths: tuple[str, ...], fields: dict[str, Any], *, left: bool
) -> None:
    created = create(portal, registration_access_token=TOKEN)
    updated = update(portal, created.id, *paths, **fields)

    assert updated.registration_access_token_set is left


def test_an_update_writes_what_the_mask_names(portal: Portal) -> None:
    created = create(portal, tls_insecure_skip_verify=True)
    updated = update(
        portal, created.id, "name", "tls_insecure_skip_verify", name="n", well_known_uri="junk"
    )

    assert (updated.name, updated.tls_insecure_skip_verify) == ("n", False)
    assert updated.well_known_uri == created.well_known_uri
    assert (updated.uid, updated.create_time) == (created.uid, created.create_time)


def test_a_provider_takes_its_client_types_with_it(portal_on_each: Portal) -> None:
    created = create(portal_on_each)
    client_type = add_client_type(portal_on_each, created.id)
    portal_on_each.providers.DeleteProvider(pb.DeleteProviderRequest(id=created.id))
    with pytest.raises(grpc.RpcError) as of_provider:
        get(portal_on_each, created.id)
    with pytest.raises(grpc.RpcError) as of_client_type:
        portal_on_each.client_types.GetClientType(
            client_type_pb2.GetClientTypeRequest(provider_id=created.id, id=client_type)
        )

    assert Refusal(of_provider.value).reason == "PROVIDER_NOT_FOUND"
    assert Refusal(of_client_type.value).reason == "PROVIDER_NOT_FOUND"
    assert create(portal_on_each).id > created.id


def test_a_provider_does_not_become_okta_while_client_types_lack_an_app_type(
    portal_on_each: Portal,
) -> None:
    created = create(portal_on_each)
    lacking = [add_client_type(portal_on_each, created.id) for _ in range(2)]
    with pytest.raises(grpc.RpcError) as error:
        update(portal_on_each, created.id, type=pb.PROVIDER_TYPE_OKTA)
    refusal = Refusal(error.value)

    assert refusal.code == grpc.StatusCode.FAILED_PRECONDITION
    assert refusal.reason == "OKTA_APP_TYPE_MISSING"
    assert refusal.message.endswith(", ".join(map(str, lacking)))
    assert get(portal_on_each, created.id) == created


def test_what_breaks_a_rule_is_refused_with_every_field_named(portal: Portal) -> None:
    with pytest.raises(grpc.RpcError) as error:
        create(portal, name=" ", type=0, well_known_uri="ftp://x", registration_access_token="\0")  # noqa: S106
    refusal = Refusal(error.value)

    assert refusal.fields == [
        "provider.name",
        "provider.type",
        "provider.well_known_uri",
        "provider.registration_access_token",
    ]
    assert [violation.reason for violation in refusal.violations] == [
        "REQUIRED",
        "REQUIRED",
        "MALFORMED",
        "MALFORMED",
    ]

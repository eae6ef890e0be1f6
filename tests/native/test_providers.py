"""ProviderService over a real channel."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import grpc
import pytest
import trustme
from google.protobuf.field_mask_pb2 import FieldMask

from portal.oauth.v1 import client_type_pb2
from portal.oauth.v1 import provider_pb2 as pb
from tests.conftest import Portal
from tests.support.catalog import CALL, opened
from tests.support.details import Rejection

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


def test_a_created_resource_has_the_requested_values(portal_on_each: Portal) -> None:
    created = create(portal_on_each, tls_insecure_skip_verify=True)

    assert (created.name, created.type) == ("p", pb.PROVIDER_TYPE_GLUU)
    assert created.well_known_uri == "https://idp.test/x"
    assert created.tls_insecure_skip_verify
    assert UUID(created.uid).version == 7
    assert created.create_time == created.update_time
    assert get(portal_on_each, created.id) == created


def test_a_token_is_in_no_response(portal: Portal) -> None:
    created = create(portal, registration_access_token=TOKEN)
    responses = [
        created,
        get(portal, created.id),
        update(portal, created.id, registration_access_token=TOKEN),
        portal.providers.ListProviders(pb.ListProvidersRequest()),
    ]

    assert not [response for response in responses if TOKEN in str(response)]
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


def test_the_connection_fields_of_a_provider_are_returned_except_the_secret(
    portal_on_each: Portal,
) -> None:
    how: dict[str, Any] = {
        "registration_endpoint": "https://idp.test/register",
        "ca_certificate": trustme.CA().cert_pem.bytes().decode(),
        "credential_type": pb.CREDENTIAL_TYPE_CLIENT_CREDENTIALS,
        "credential_client_id": "portal",
        "credential_scope": "client.create dcr",
    }
    created = create(portal_on_each, **how, credential_client_secret=TOKEN)
    read = get(portal_on_each, created.id)
    stored = opened(portal_on_each.catalog.providers.get(CALL, created.id))

    assert {name: getattr(read, name) for name in how} == how
    assert read.credential_client_secret_set
    assert TOKEN not in f"{created}{read}"
    assert stored.credential_client_secret == TOKEN


def test_a_service_account_needs_its_client_id(portal: Portal) -> None:
    with pytest.raises(grpc.RpcError) as error:
        create(portal, credential_type=pb.CREDENTIAL_TYPE_CLIENT_CREDENTIALS)

    assert set(Rejection(error.value).fields) == {"provider.credential_client_id"}


def test_a_secret_may_be_given_later(portal: Portal) -> None:
    for kind in (pb.CREDENTIAL_TYPE_SSWS, pb.CREDENTIAL_TYPE_INITIAL_ACCESS_TOKEN):
        assert create(portal, credential_type=kind).credential_type == kind


def test_an_update_writes_what_the_mask_names(portal: Portal) -> None:
    created = create(portal, tls_insecure_skip_verify=True)
    updated = update(
        portal, created.id, "name", "tls_insecure_skip_verify", name="n", well_known_uri="junk"
    )

    assert (updated.name, updated.tls_insecure_skip_verify) == ("n", False)
    assert updated.well_known_uri == created.well_known_uri
    assert (updated.uid, updated.create_time) == (created.uid, created.create_time)


def test_deleting_a_provider_deletes_its_client_types(portal_on_each: Portal) -> None:
    created = create(portal_on_each)
    client_type = add_client_type(portal_on_each, created.id)
    portal_on_each.providers.DeleteProvider(pb.DeleteProviderRequest(id=created.id))
    with pytest.raises(grpc.RpcError) as of_provider:
        get(portal_on_each, created.id)
    with pytest.raises(grpc.RpcError) as of_client_type:
        portal_on_each.client_types.GetClientType(
            client_type_pb2.GetClientTypeRequest(provider_id=created.id, id=client_type)
        )

    assert Rejection(of_provider.value).reason == "PROVIDER_NOT_FOUND"
    assert Rejection(of_client_type.value).reason == "PROVIDER_NOT_FOUND"
    assert create(portal_on_each).id > created.id


def test_a_provider_does_not_become_okta_while_client_types_lack_an_app_type(
    portal_on_each: Portal,
) -> None:
    created = create(portal_on_each)
    missing = [add_client_type(portal_on_each, created.id) for _ in range(2)]
    with pytest.raises(grpc.RpcError) as error:
        update(portal_on_each, created.id, type=pb.PROVIDER_TYPE_OKTA)
    rejection = Rejection(error.value)

    assert rejection.code == grpc.StatusCode.FAILED_PRECONDITION
    assert rejection.reason == "OKTA_APP_TYPE_MISSING"
    assert rejection.message.endswith(", ".join(map(str, missing)))
    assert get(portal_on_each, created.id) == created


def test_what_breaks_a_rule_is_rejected_with_every_field_named(portal: Portal) -> None:
    with pytest.raises(grpc.RpcError) as error:
        create(portal, name=" ", type=0, well_known_uri="ftp://x", registration_access_token="\0")  # noqa: S106
    rejection = Rejection(error.value)

    assert rejection.fields == [
        "provider.name",
        "provider.type",
        "provider.well_known_uri",
        "provider.registration_access_token",
    ]
    assert [violation.reason for violation in rejection.violations] == [
        "REQUIRED",
        "REQUIRED",
        "MALFORMED",
        "MALFORMED",
    ]


FULL: dict[str, Any] = GIVEN | {"tls_insecure_skip_verify": True}
ASSIGNED = (
    "id",
    "uid",
    "registration_access_token_set",
    "create_time",
    "update_time",
    "etag",
)


def without_assigned(message: pb.Provider) -> pb.Provider:
    copy = pb.Provider()
    copy.CopyFrom(message)
    for name in ASSIGNED:
        copy.ClearField(name)  # type: ignore[arg-type]
    return copy


@pytest.mark.parametrize(
    ("paths", "fields", "changed"),
    [
        pytest.param((), {"name": "n"}, {"name": "n"}, id="no mask: what is set"),
        pytest.param(
            (),
            {"name": "n", "tls_insecure_skip_verify": False},
            {"name": "n"},
            id="no mask: what is false is not set",
        ),
        pytest.param(
            ("type",),
            {"type": pb.PROVIDER_TYPE_OTHER, "name": "n"},
            {"type": pb.PROVIDER_TYPE_OTHER},
            id="one field",
        ),
        pytest.param(
            ("tls_insecure_skip_verify",),
            {},
            {"tls_insecure_skip_verify": False},
            id="a field is cleared",
        ),
        pytest.param(
            ("*",),
            GIVEN | {"name": "n"},
            {"name": "n", "tls_insecure_skip_verify": False},
            id="all",
        ),
        pytest.param(
            (*ASSIGNED, "name"),
            {"uid": "x", "registration_access_token_set": True, "name": "n"},
            {"name": "n"},
            id="what only the server writes is ignored",
        ),
    ],
)
def test_an_update_changes_that_and_nothing_else(
    portal_on_each: Portal,
    paths: tuple[str, ...],
    fields: dict[str, Any],
    changed: dict[str, Any],
) -> None:
    created = create(portal_on_each, **FULL)
    updated = update(portal_on_each, created.id, *paths, **fields)

    assert without_assigned(updated) == pb.Provider(**(FULL | changed))
    assert (updated.id, updated.uid) == (created.id, created.uid)
    assert updated.create_time == created.create_time
    assert updated.update_time.ToNanoseconds() > created.update_time.ToNanoseconds()
    assert not updated.registration_access_token_set
    assert get(portal_on_each, created.id) == updated


def test_an_update_that_names_nothing_changes_nothing_of_a_provider(portal: Portal) -> None:
    created = create(portal, **FULL)

    assert update(portal, created.id) == created
    assert update(portal, created.id, "create_time") == created


@pytest.mark.parametrize("path", ["nope", "provider.name", "name.first", "wellKnownUri", ""])
def test_a_mask_with_a_field_that_no_provider_has_is_rejected(portal: Portal, path: str) -> None:
    created = create(portal)
    with pytest.raises(grpc.RpcError) as error:
        update(portal, created.id, "name", path, name="n")
    rejection = Rejection(error.value)

    assert (rejection.code, rejection.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["update_mask"])
    assert [violation.reason for violation in rejection.violations] == ["UNKNOWN_FIELD"]
    assert get(portal, created.id) == created


@pytest.mark.parametrize("field", ["name", "type", "well_known_uri"])
def test_what_is_required_cannot_be_cleared(portal: Portal, field: str) -> None:
    created = create(portal)
    with pytest.raises(grpc.RpcError) as error:
        update(portal, created.id, field)
    rejection = Rejection(error.value)

    assert rejection.fields == [f"provider.{field}"]
    assert rejection.violations[0].reason == "REQUIRED"
    assert get(portal, created.id) == created


def test_what_a_caller_sends_for_assigned_fields_of_a_provider_is_ignored(portal: Portal) -> None:
    created = create(portal, id=77, uid="mine", registration_access_token_set=True)

    assert created.id != 77
    assert UUID(created.uid)
    assert not created.registration_access_token_set


def test_a_token_is_set_by_an_update_and_replaced_by_another(portal_on_each: Portal) -> None:
    created = create(portal_on_each)
    responses = [
        update(portal_on_each, created.id, registration_access_token=TOKEN),
        update(portal_on_each, created.id, name="n"),
        update(portal_on_each, created.id, "*", **GIVEN, registration_access_token=TOKEN + "2"),
    ]
    stored = opened(portal_on_each.catalog.providers.get(CALL, created.id))

    assert [response.registration_access_token_set for response in responses] == [True] * 3
    assert [response.registration_access_token for response in responses] == [""] * 3
    assert stored.registration_access_token == TOKEN + "2"


@pytest.mark.parametrize("name", pb.ProviderType.keys()[1:])
def test_every_type_of_provider_comes_back_as_it_was_given(portal: Portal, name: str) -> None:
    created = create(portal, type=pb.ProviderType.Value(name))

    assert pb.ProviderType.Name(get(portal, created.id).type) == name


@pytest.mark.parametrize("number", [99, -1, 2**31 - 1])
def test_an_unknown_type_is_rejected_with_the_allowed_ones(portal: Portal, number: int) -> None:
    with pytest.raises(grpc.RpcError) as error:
        create(portal, type=number)
    [violation] = Rejection(error.value).violations

    assert (violation.field, violation.reason) == ("provider.type", "UNKNOWN_VALUE")
    assert f'"{number}"' in violation.description
    assert violation.description.endswith("allowed: " + ", ".join(pb.ProviderType.keys()[1:]))


@pytest.mark.parametrize("id_", [1, -1, 2**31 - 1, -(2**31)])
def test_no_method_finds_an_unknown_provider(portal_on_each: Portal, id_: int) -> None:
    calls: list[Callable[[], object]] = [
        lambda: get(portal_on_each, id_),
        lambda: update(portal_on_each, id_, name="n"),
        lambda: portal_on_each.providers.DeleteProvider(pb.DeleteProviderRequest(id=id_)),
    ]
    for call in calls:
        with pytest.raises(grpc.RpcError) as error:
            call()
        rejection = Rejection(error.value)

        assert (rejection.code, rejection.reason) == (
            grpc.StatusCode.NOT_FOUND,
            "PROVIDER_NOT_FOUND",
        )
        assert rejection.resource.resource_type == "portal.oauth.v1.Provider"
        assert rejection.resource.resource_name == str(id_)
        assert rejection.message == f"provider {id_} not found"


@pytest.mark.parametrize(
    ("method", "request_", "field"),
    [
        ("GetProvider", pb.GetProviderRequest(), "id"),
        ("UpdateProvider", pb.UpdateProviderRequest(), "provider.id"),
        ("DeleteProvider", pb.DeleteProviderRequest(), "id"),
    ],
)
def test_a_provider_id_that_is_not_given_is_required(
    portal: Portal, method: str, request_: Any, field: str
) -> None:
    with pytest.raises(grpc.RpcError) as error:
        getattr(portal.providers, method)(request_)
    [violation] = Rejection(error.value).violations

    assert (violation.field, violation.reason) == (field, "REQUIRED")


def test_ids_are_not_used_again_when_the_newest_are_deleted(portal_on_each: Portal) -> None:
    made = [create(portal_on_each).id for _ in range(3)]
    client_type = add_client_type(portal_on_each, made[2])
    for id_ in made:
        portal_on_each.providers.DeleteProvider(pb.DeleteProviderRequest(id=id_))
    again = create(portal_on_each).id

    assert again > max(made)
    assert add_client_type(portal_on_each, again) > client_type


def test_deleting_a_provider_keeps_the_client_types_of_others(portal_on_each: Portal) -> None:
    gone, left = create(portal_on_each).id, create(portal_on_each).id
    add_client_type(portal_on_each, gone)
    kept = add_client_type(portal_on_each, left)
    portal_on_each.providers.DeleteProvider(pb.DeleteProviderRequest(id=gone))
    found = portal_on_each.client_types.ListClientTypes(
        client_type_pb2.ListClientTypesRequest(provider_id=left)
    )

    assert [client_type.id for client_type in found.client_types] == [kept]


def test_a_provider_becomes_okta_once_every_client_type_has_an_app_type(
    portal_on_each: Portal,
) -> None:
    created = create(portal_on_each)
    missing = add_client_type(portal_on_each, created.id)
    given = client_type_pb2.ClientType(
        id=missing, provider_id=created.id, okta_app_type=client_type_pb2.OKTA_APP_TYPE_WEB
    )
    with pytest.raises(grpc.RpcError) as before:
        update(portal_on_each, created.id, "*", **(GIVEN | {"type": pb.PROVIDER_TYPE_OKTA}))
    portal_on_each.client_types.UpdateClientType(
        client_type_pb2.UpdateClientTypeRequest(client_type=given)
    )
    after = update(portal_on_each, created.id, type=pb.PROVIDER_TYPE_OKTA)

    assert Rejection(before.value).code == grpc.StatusCode.FAILED_PRECONDITION
    assert after.type == pb.PROVIDER_TYPE_OKTA
    assert update(portal_on_each, created.id, type=pb.PROVIDER_TYPE_GLUU).type == created.type

"""ClientTypeService over a real channel."""

import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from portal.oauth.v1 import client_type_pb2 as pb
from portal.oauth.v1 import provider_pb2
from tests.conftest import Portal
from tests.support.details import Rejection

FULL: dict[str, Any] = {
    "name": "web",
    "description": "for web",
    "response_types": [pb.RESPONSE_TYPE_TOKEN, pb.RESPONSE_TYPE_CODE],
    "grant_types": [pb.GRANT_TYPE_PKCE, pb.GRANT_TYPE_AUTHORIZATION_CODE],
    "token_endpoint_auth_method": pb.TOKEN_ENDPOINT_AUTH_METHOD_CLIENT_SECRET_POST,
    "okta_app_type": pb.OKTA_APP_TYPE_BROWSER,
}
MINIMAL: dict[str, Any] = {
    "name": "m",
    "response_types": [pb.RESPONSE_TYPE_ID_TOKEN],
    "grant_types": [pb.GRANT_TYPE_DEVICE_CODE],
}
ASSIGNED = ("id", "uid", "provider_id", "create_time", "update_time", "etag", "findings")


def provider_of(portal: Portal, type_: Any = provider_pb2.PROVIDER_TYPE_KEYCLOAK) -> int:
    draft = provider_pb2.Provider(name="p", type=type_, well_known_uri="https://idp.test/x")
    return portal.providers.CreateProvider(provider_pb2.CreateProviderRequest(provider=draft)).id


def create(portal: Portal, provider_id: int, **fields: Any) -> pb.ClientType:
    return portal.client_types.CreateClientType(
        pb.CreateClientTypeRequest(
            provider_id=provider_id, client_type=pb.ClientType(**(MINIMAL | fields))
        )
    )


def update(portal: Portal, stored: pb.ClientType, *paths: str, **fields: Any) -> pb.ClientType:
    given = pb.ClientType(id=stored.id, provider_id=stored.provider_id, **fields)
    mask = FieldMask(paths=paths) if paths else None
    return portal.client_types.UpdateClientType(
        pb.UpdateClientTypeRequest(client_type=given, update_mask=mask)
    )


def get(portal: Portal, stored: pb.ClientType) -> pb.ClientType:
    return portal.client_types.GetClientType(
        pb.GetClientTypeRequest(provider_id=stored.provider_id, id=stored.id)
    )


def without_assigned(message: pb.ClientType) -> pb.ClientType:
    copy = pb.ClientType()
    copy.CopyFrom(message)
    for name in ASSIGNED:
        copy.ClearField(name)  # type: ignore[arg-type]
    return copy


def without_findings(message: pb.ClientType) -> pb.ClientType:
    """What is stored of the response to a create or an update: all except the findings."""
    copy = pb.ClientType()
    copy.CopyFrom(message)
    copy.ClearField("findings")
    return copy


def test_a_created_resource_has_the_requested_and_the_assigned_values(
    portal_on_each: Portal,
) -> None:
    provider_id = provider_of(portal_on_each)
    created = create(portal_on_each, provider_id, **FULL)

    assert without_assigned(created) == pb.ClientType(**FULL)
    assert UUID(created.uid).version == 7
    assert created.provider_id == provider_id
    assert created.create_time == created.update_time
    assert get(portal_on_each, created) == without_findings(created)


def test_what_a_caller_sends_for_assigned_fields_is_ignored(portal: Portal) -> None:
    provider_id = provider_of(portal)
    created = portal.client_types.CreateClientType(
        pb.CreateClientTypeRequest(
            provider_id=provider_id,
            client_type=pb.ClientType(id=77, uid="mine", provider_id=88, **MINIMAL),
        )
    )

    assert created.id != 77
    assert created.uid != "mine"
    assert created.provider_id == provider_id


def test_a_repeated_value_is_dropped_and_the_order_kept(portal: Portal) -> None:
    given = [pb.GRANT_TYPE_PKCE, pb.GRANT_TYPE_PASSWORD, pb.GRANT_TYPE_PKCE]
    created = create(portal, provider_of(portal), grant_types=given)

    assert list(created.grant_types) == given[:2]


@pytest.mark.parametrize(
    ("paths", "fields", "changed"),
    [
        pytest.param((), {"name": "n"}, {"name": "n"}, id="no mask: what is set"),
        pytest.param(("name",), {"name": "n", "description": "d"}, {"name": "n"}, id="one field"),
        pytest.param(("description",), {}, {"description": ""}, id="a field is cleared"),
        pytest.param(("okta_app_type",), {}, {"okta_app_type": 0}, id="an enum is cleared"),
        pytest.param(
            ("grant_types",),
            {"grant_types": [pb.GRANT_TYPE_IMPLICIT]},
            {"grant_types": [pb.GRANT_TYPE_IMPLICIT]},
            id="a list is replaced",
        ),
        pytest.param(
            ("*",),
            MINIMAL,
            {"description": "", "token_endpoint_auth_method": 0, "okta_app_type": 0} | MINIMAL,
            id="all",
        ),
        pytest.param(
            ("uid", "create_time", "id", "name"),
            {"uid": "x", "name": "n"},
            {"name": "n"},
            id="what only the server writes is ignored",
        ),
    ],
)
def test_an_update_writes_what_the_mask_names(
    portal: Portal, paths: tuple[str, ...], fields: dict[str, Any], changed: dict[str, Any]
) -> None:
    created = create(portal, provider_of(portal), **FULL)
    updated = update(portal, created, *paths, **fields)

    assert without_assigned(updated) == pb.ClientType(**(FULL | changed))
    assert (updated.id, updated.uid, updated.create_time) == (
        created.id,
        created.uid,
        created.create_time,
    )
    assert updated.update_time.ToDatetime() > created.update_time.ToDatetime()
    assert get(portal, created) == without_findings(updated)


def test_an_update_that_names_nothing_changes_nothing(portal: Portal) -> None:
    created = create(portal, provider_of(portal))

    assert update(portal, created) == created
    assert update(portal, created, "uid") == created


@pytest.mark.parametrize("path", ["nope", "client_type.name", "name.first", ""])
def test_a_mask_with_an_unknown_field_is_rejected(portal: Portal, path: str) -> None:
    created = create(portal, provider_of(portal))
    with pytest.raises(grpc.RpcError) as error:
        update(portal, created, "name", path, name="n")
    rejection = Rejection(error.value)

    assert (rejection.code, rejection.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["update_mask"])
    assert get(portal, created) == without_findings(created)


def test_an_update_is_checked_as_a_whole(portal: Portal) -> None:
    created = create(portal, provider_of(portal))
    with pytest.raises(grpc.RpcError) as error:
        update(portal, created, "name", "grant_types", name=" ")
    rejection = Rejection(error.value)

    assert rejection.fields == ["client_type.name", "client_type.grant_types"]
    assert get(portal, created) == without_findings(created)


def test_a_client_type_is_reached_only_through_its_provider(portal: Portal) -> None:
    created = create(portal, provider_of(portal))
    other = provider_of(portal)
    stray = pb.ClientType(id=created.id, provider_id=other, name="n")
    calls: list[Callable[[], object]] = [
        lambda: get(portal, stray),
        lambda: update(portal, stray, name="n"),
        lambda: portal.client_types.DeleteClientType(
            pb.DeleteClientTypeRequest(provider_id=other, id=created.id)
        ),
    ]
    for call in calls:
        with pytest.raises(grpc.RpcError) as error:
            call()
        rejection = Rejection(error.value)

        assert rejection.code == grpc.StatusCode.NOT_FOUND
        assert rejection.reason == "CLIENT_TYPE_NOT_FOUND"
        assert rejection.resource.resource_type == "portal.oauth.v1.ClientType"
        assert rejection.resource.resource_name == str(created.id)
    assert get(portal, created) == without_findings(created)


def test_an_unknown_provider_is_reported_before_an_unknown_client_type(portal: Portal) -> None:
    with pytest.raises(grpc.RpcError) as error:
        portal.client_types.GetClientType(pb.GetClientTypeRequest(provider_id=9, id=9))
    rejection = Rejection(error.value)

    assert (rejection.reason, rejection.message) == ("PROVIDER_NOT_FOUND", "provider 9 not found")


def test_a_deleted_client_type_is_gone_and_its_id_is_not_used_again(
    portal_on_each: Portal,
) -> None:
    provider_id = provider_of(portal_on_each)
    created = create(portal_on_each, provider_id)
    request = pb.DeleteClientTypeRequest(provider_id=provider_id, id=created.id)
    portal_on_each.client_types.DeleteClientType(request)
    with pytest.raises(grpc.RpcError) as error:
        portal_on_each.client_types.DeleteClientType(request)

    assert Rejection(error.value).reason == "CLIENT_TYPE_NOT_FOUND"
    assert create(portal_on_each, provider_id).id > created.id


@pytest.mark.parametrize(
    ("fields", "rejected"),
    [
        pytest.param({"name": ""}, ["client_type.name"], id="no name"),
        pytest.param({"response_types": []}, ["client_type.response_types"], id="no list"),
        pytest.param({"grant_types": [0]}, ["client_type.grant_types"], id="unspecified"),
        pytest.param({"grant_types": [99]}, ["client_type.grant_types"], id="unknown number"),
        pytest.param({"okta_app_type": 99}, ["client_type.okta_app_type"], id="unknown app"),
        pytest.param(
            {"token_endpoint_auth_method": -1},
            ["client_type.token_endpoint_auth_method"],
            id="a negative number",
        ),
        pytest.param(
            {"name": "a\0", "description": "d" * 4097, "response_types": [], "grant_types": [98]},
            [f"client_type.{f}" for f in ("name", "description", "response_types", "grant_types")],
            id="all that is wrong",
        ),
    ],
)
def test_what_breaks_a_rule_is_rejected_with_every_field_named(
    portal: Portal, fields: dict[str, Any], rejected: list[str]
) -> None:
    provider_id = provider_of(portal)
    with pytest.raises(grpc.RpcError) as error:
        create(portal, provider_id, **fields)
    rejection = Rejection(error.value)
    left = portal.client_types.ListClientTypes(pb.ListClientTypesRequest(provider_id=provider_id))

    assert rejection.code == grpc.StatusCode.INVALID_ARGUMENT
    assert rejection.reason == "INVALID_FIELDS"
    assert rejection.fields == rejected
    assert not left.client_types


def test_an_unknown_number_is_quoted_with_the_names_that_are_allowed(portal: Portal) -> None:
    with pytest.raises(grpc.RpcError) as error:
        create(portal, provider_of(portal), response_types=[99])
    [violation] = Rejection(error.value).violations

    assert violation.reason == "UNKNOWN_VALUE"
    assert violation.description == (
        'unknown value "99"; allowed: RESPONSE_TYPE_CODE, RESPONSE_TYPE_TOKEN,'
        " RESPONSE_TYPE_ID_TOKEN, RESPONSE_TYPE_NONE"
    )


def test_okta_needs_an_app_type(portal: Portal) -> None:
    okta = provider_of(portal, provider_pb2.PROVIDER_TYPE_OKTA)
    with pytest.raises(grpc.RpcError) as of_create:
        create(portal, okta)
    created = create(portal, okta, okta_app_type=pb.OKTA_APP_TYPE_WEB)
    with pytest.raises(grpc.RpcError) as of_update:
        update(portal, created, "okta_app_type")

    assert Rejection(of_create.value).fields == ["client_type.okta_app_type"]
    assert Rejection(of_update.value).fields == ["client_type.okta_app_type"]


@pytest.mark.parametrize(
    ("method", "request_", "fields"),
    [
        (
            "CreateClientType",
            pb.CreateClientTypeRequest(client_type=pb.ClientType(**MINIMAL)),
            ["provider_id"],
        ),
        ("GetClientType", pb.GetClientTypeRequest(), ["provider_id", "id"]),
        ("ListClientTypes", pb.ListClientTypesRequest(), ["provider_id"]),
        (
            "UpdateClientType",
            pb.UpdateClientTypeRequest(),
            ["client_type.provider_id", "client_type.id"],
        ),
        ("DeleteClientType", pb.DeleteClientTypeRequest(provider_id=1), ["id"]),
    ],
)
def test_an_id_that_is_not_given_is_required(
    portal: Portal, method: str, request_: Any, fields: list[str]
) -> None:
    with pytest.raises(grpc.RpcError) as error:
        getattr(portal.client_types, method)(request_)
    rejection = Rejection(error.value)

    assert rejection.fields == fields
    assert {violation.reason for violation in rejection.violations} == {"REQUIRED"}


ENUMS: list[tuple[str, Any]] = [
    ("response_types", pb.ResponseType),
    ("grant_types", pb.GrantType),
    ("token_endpoint_auth_method", pb.TokenEndpointAuthMethod),
    ("okta_app_type", pb.OktaAppType),
]
LISTS = ("response_types", "grant_types")


@pytest.mark.parametrize(
    ("field", "name"),
    [(field, name) for field, enum in ENUMS for name in enum.keys()[1:]],
)
def test_every_value_of_every_enum_comes_back_as_it_was_given(
    portal: Portal, field: str, name: str
) -> None:
    value = dict(ENUMS)[field].Value(name)
    given = [value] if field in LISTS else value
    created = create(portal, provider_of(portal), **{field: given})
    read = get(portal, created)

    assert getattr(read, field) == given


@pytest.mark.parametrize("field", LISTS)
def test_a_list_of_all_values_keeps_the_order_that_it_was_given_in(
    portal_on_each: Portal, field: str
) -> None:
    given = dict(ENUMS)[field].values()[:0:-1]
    created = create(portal_on_each, provider_of(portal_on_each), **{field: given * 2})

    assert list(getattr(created, field)) == given
    assert list(getattr(get(portal_on_each, created), field)) == given


@pytest.mark.parametrize("number", [99, -1, 2**31 - 1])
@pytest.mark.parametrize(("field", "enum"), ENUMS, ids=lambda p: p if isinstance(p, str) else "")
def test_an_unknown_enum_number_is_rejected_with_the_allowed_ones(
    portal: Portal, field: str, enum: Any, number: int
) -> None:
    given = [1, number] if field in LISTS else number
    with pytest.raises(grpc.RpcError) as error:
        create(portal, provider_of(portal), **{field: given})
    [violation] = Rejection(error.value).violations

    assert (violation.field, violation.reason) == (f"client_type.{field}", "UNKNOWN_VALUE")
    assert f'"{number}"' in violation.description
    assert violation.description.endswith("allowed: " + ", ".join(enum.keys()[1:]))


@pytest.mark.parametrize("field", LISTS)
@pytest.mark.parametrize("given", [[0], [1, 0], [0, 1]], ids=str)
def test_unspecified_is_rejected_wherever_it_is_in_a_list(
    portal: Portal, field: str, given: list[int]
) -> None:
    with pytest.raises(grpc.RpcError) as error:
        create(portal, provider_of(portal), **{field: given})
    [violation] = Rejection(error.value).violations

    assert (violation.field, violation.reason) == (f"client_type.{field}", "UNKNOWN_VALUE")
    assert "_UNSPECIFIED" in violation.description.split(";")[0]
    assert "_UNSPECIFIED" not in violation.description.split(";")[1]


def test_the_times_are_those_of_the_calls(portal_on_each: Portal) -> None:
    start = time.time()
    created = create(portal_on_each, provider_of(portal_on_each))
    between = time.time()
    updated = update(portal_on_each, created, name="n")
    end = time.time()

    assert start - 0.001 < created.create_time.ToNanoseconds() / 1e9 < between + 0.001
    assert between - 0.001 < updated.update_time.ToNanoseconds() / 1e9 < end + 0.001
    assert updated.create_time == created.create_time
    assert get(portal_on_each, created) == without_findings(updated)


@pytest.mark.parametrize(
    ("name", "description"),
    [
        pytest.param("n" * 255, "d" * 4096, id="as long as can be"),
        pytest.param("\U0001f600" * 255, "\U0001f600" * 4096, id="characters, not bytes"),
        pytest.param("'; DROP TABLE client_type; --", '"\\%_\n\t', id="what SQL minds"),
        pytest.param("  a b  ", " ", id="blanks are kept"),
    ],
)
def test_a_text_comes_back_as_it_was_given(
    portal_on_each: Portal, name: str, description: str
) -> None:
    created = create(
        portal_on_each, provider_of(portal_on_each), name=name, description=description
    )
    read = get(portal_on_each, created)

    assert (read.name, read.description) == (name, description)


def test_a_full_replacement_without_required_fields_is_rejected(portal: Portal) -> None:
    created = create(portal, provider_of(portal), **FULL)
    with pytest.raises(grpc.RpcError) as error:
        update(portal, created, "*", description="only this")

    assert Rejection(error.value).fields == [
        "client_type.name",
        "client_type.response_types",
        "client_type.grant_types",
    ]
    assert get(portal, created) == without_findings(created)


def test_a_field_that_the_mask_does_not_name_is_not_even_checked(portal: Portal) -> None:
    created = create(portal, provider_of(portal))
    updated = update(portal, created, "description", description="d", grant_types=[99])

    assert (updated.description, updated.grant_types) == ("d", created.grant_types)


def test_a_rejected_mask_names_the_unknown_and_the_allowed_fields(portal: Portal) -> None:
    created = create(portal, provider_of(portal))
    with pytest.raises(grpc.RpcError) as error:
        update(portal, created, "nope", "name", "wrong")
    [violation] = Rejection(error.value).violations

    assert violation.reason == "UNKNOWN_FIELD"
    assert all(word in violation.description for word in ('"nope"', '"wrong"', "grant_types"))
    assert '"name"' not in violation.description


@pytest.mark.parametrize(
    ("paths", "fields"),
    [
        pytest.param(("okta_app_type",), {}, id="it is named and empty"),
        pytest.param(("*",), MINIMAL, id="a full replacement does not give it"),
        pytest.param(("okta_app_type",), {"okta_app_type": 99}, id="it is unknown"),
    ],
)
def test_a_client_type_of_okta_keeps_an_app_type(
    portal_on_each: Portal, paths: tuple[str, ...], fields: dict[str, Any]
) -> None:
    okta = provider_of(portal_on_each, provider_pb2.PROVIDER_TYPE_OKTA)
    created = create(portal_on_each, okta, okta_app_type=pb.OKTA_APP_TYPE_WEB)
    with pytest.raises(grpc.RpcError) as error:
        update(portal_on_each, created, *paths, **fields)

    assert Rejection(error.value).fields == ["client_type.okta_app_type"]
    assert get(portal_on_each, created) == without_findings(created)
    assert update(portal_on_each, created, name="n").okta_app_type == pb.OKTA_APP_TYPE_WEB


def test_an_update_cannot_move_a_client_type_to_another_provider(portal: Portal) -> None:
    created = create(portal, provider_of(portal))
    other = provider_of(portal)
    stray = pb.ClientType(id=created.id, provider_id=other)
    with pytest.raises(grpc.RpcError) as error:
        update(portal, stray, "provider_id", "name", name="n")
    of_other = portal.client_types.ListClientTypes(pb.ListClientTypesRequest(provider_id=other))

    assert Rejection(error.value).reason == "CLIENT_TYPE_NOT_FOUND"
    assert not of_other.client_types
    assert get(portal, created) == without_findings(created)


@pytest.mark.parametrize("id_", [1, -1, 2**31 - 1, -(2**31)])
def test_no_method_finds_an_unknown_provider(portal_on_each: Portal, id_: int) -> None:
    stub = portal_on_each.client_types
    calls: list[Callable[[], object]] = [
        lambda: create(portal_on_each, id_),
        lambda: get(portal_on_each, pb.ClientType(id=1, provider_id=id_)),
        lambda: update(portal_on_each, pb.ClientType(id=1, provider_id=id_), name="n"),
        lambda: stub.ListClientTypes(pb.ListClientTypesRequest(provider_id=id_)),
        lambda: stub.DeleteClientType(pb.DeleteClientTypeRequest(provider_id=id_, id=1)),
    ]
    errors = []
    for call in calls:
        with pytest.raises(grpc.RpcError) as error:
            call()
        errors.append(Rejection(error.value))

    assert {rejection.code for rejection in errors} == {grpc.StatusCode.NOT_FOUND}
    assert {rejection.reason for rejection in errors} == {"PROVIDER_NOT_FOUND"}
    assert {r.resource.resource_type for r in errors} == {"portal.oauth.v1.Provider"}
    assert {r.resource.resource_name for r in errors} == {str(id_)}

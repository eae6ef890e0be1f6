"""API keys that are limited to some providers: for them, the others do not exist."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from portal.oauth.v1 import client_type_pb2, provider_pb2
from portal.oauth.v1.client_pb2 import ListClientsRequest
from portal.oauth.v1.client_pb2_grpc import ClientServiceStub
from portal.oauth.v1.client_type_pb2_grpc import ClientTypeServiceStub
from portal.oauth.v1.provider_pb2_grpc import ProviderServiceStub
from portal.rest.v1 import portal_rest_pb2
from portal.rest.v1.portal_rest_pb2_grpc import PortalRestServiceStub
from portal_server.domain.client_type import ClientTypeDraft, GrantType, ResponseType
from portal_server.domain.keys import Role
from portal_server.domain.provider import ProviderDraft, ProviderType
from tests.conftest import Portal, serve, with_key
from tests.support.catalog import CALL
from tests.support.databases import new_sqlite
from tests.support.details import Rejection
from tests.support.walk import METHODS, method_id, send

PROVIDER = ProviderDraft(name="p", type=ProviderType.OTHER, well_known_uri="https://idp.test/x")
CLIENT_TYPE = ClientTypeDraft(
    name="c", response_types=(ResponseType.CODE,), grant_types=(GrantType.AUTHORIZATION_CODE,)
)


# The last one sends the changes of the own providers only.
OF_THE_PORTAL = ("ApiKeyService", "AuditService", "SystemService", "WatchService")


@dataclass(frozen=True)
class Limited:
    """A portal with two providers, each with a client type, and a key for the first only."""

    portal: Portal
    channel: grpc.Channel
    own: int
    other: int
    client_types: dict[int, int]
    uids: dict[int, str]


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Limited]:
    with serve(new_sqlite(tmp_path_factory.mktemp("limited") / "served.db")) as portal:
        yield made(portal)


def made(portal: Portal) -> Limited:
    catalog = portal.catalog
    own, other = (catalog.providers.create(CALL, PROVIDER) for _ in range(2))
    types = {
        one.id: catalog.client_types.create(CALL, one.id, CLIENT_TYPE).id for one in (own, other)
    }
    key = portal.keyring.create(Role.EDITOR, provider_ids=(own.id,))
    channel = with_key(portal.anonymous, key)
    uids = {one.id: one.uid for one in (own, other)}
    return Limited(portal, channel, own.id, other.id, types, uids)


def error_of(call: Any, request: Message) -> Rejection:
    with pytest.raises(grpc.RpcError) as error:
        list(call(request)) if "stream" in type(call).__name__.lower() else call(request)
    return Rejection(error.value)


def of_a_provider() -> list[Any]:
    """The methods whose request names a provider."""
    found = []
    for method in METHODS:
        names = set(method.input_type.fields_by_name)
        resource = next((n for n in ("provider", "client_type", "client") if n in names), None)
        is_create = method.name == "CreateProvider"
        is_list = method.name == "ListProviders"
        of_portal = not {"provider_id", "id"} & names and resource is None
        service = method.containing_service.name
        if not (is_create or is_list or of_portal or service in OF_THE_PORTAL):
            found.append(method)
    return found


def request_of(method: Any, limited: Limited, provider_id: int) -> bytes:
    """A request of this method for a provider, with what else it needs to get that far."""
    request: Any = GetMessageClass(method.input_type)()
    names = set(method.input_type.fields_by_name)
    rest = "rest" in method.full_name
    kind: Any = str if rest else int
    type_id = limited.client_types[provider_id]
    for name, value in (
        ("provider_id", provider_id),
        ("client_type_id", type_id),
        ("client_id", 1),
        ("id", provider_id if method.containing_service.name == "ProviderService" else type_id),
    ):
        if name in names and (rest or name != "client_id"):
            setattr(request, name, kind(value))
    for name in {"provider", "client_type", "client"} & names:
        part = getattr(request, name)
        fields = part.DESCRIPTOR.fields_by_name
        if method.name == "CheckProvider":
            continue
        if "name" in fields:
            part.name = "x"
        if not rest and "id" in fields:
            part.id = provider_id if name == "provider" else type_id
        if not rest and "provider_id" in fields:
            part.provider_id = provider_id
    if "resolution" in names:
        request.resolution = 1
    return bytes(request.SerializeToString())


@pytest.mark.parametrize("method", of_a_provider(), ids=method_id)
def test_another_provider_does_not_exist(limited: Limited, method: Any) -> None:
    with pytest.raises(grpc.RpcError) as error:
        send(limited.channel, method, request_of(method, limited, limited.other))
    rejection = Rejection(error.value)

    assert rejection.reason == "PROVIDER_NOT_FOUND", rejection.message
    assert rejection.message == f"provider {limited.other} not found"


def test_the_methods_that_name_a_provider_are_most_of_them() -> None:
    assert len(of_a_provider()) == len(METHODS) - 13


def test_the_own_provider_is_found_by_its_id_and_its_uid(limited: Limited) -> None:
    providers = ProviderServiceStub(limited.channel)
    types = ClientTypeServiceStub(limited.channel)
    rest = PortalRestServiceStub(limited.channel)
    request = client_type_pb2.ListClientTypesRequest(provider_id=limited.own)
    by_uid = portal_rest_pb2.GetProviderRequest(provider_id=limited.uids[limited.own])

    assert providers.GetProvider(provider_pb2.GetProviderRequest(id=limited.own)).name == "p"
    assert len(types.ListClientTypes(request).client_types) == 1
    assert rest.GetProvider(by_uid).id == limited.own
    clients = ClientServiceStub(limited.channel)
    assert not clients.ListClients(ListClientsRequest(provider_id=limited.own)).clients


def test_another_provider_is_not_found_by_its_uid_either(limited: Limited) -> None:
    rest = PortalRestServiceStub(limited.channel)
    uid = limited.uids[limited.other]
    rejection = error_of(rest.GetProvider, portal_rest_pb2.GetProviderRequest(provider_id=uid))

    assert rejection.message == f"provider {uid} not found"


def test_an_unknown_provider_has_the_same_error(limited: Limited) -> None:
    get = ProviderServiceStub(limited.channel).GetProvider
    errors = {
        id_: error_of(get, provider_pb2.GetProviderRequest(id=id_)) for id_ in (limited.other, 999)
    }

    assert {
        id_: one.message.replace(str(id_), "N") for id_, one in errors.items()
    } == dict.fromkeys(errors, "provider N not found")


def test_lists_have_the_own_providers_only(limited: Limited) -> None:
    native = ProviderServiceStub(limited.channel)
    rest = PortalRestServiceStub(limited.channel)
    pages = [
        native.ListProviders(provider_pb2.ListProvidersRequest(filter=text))
        for text in ("", 'name = "p"')
    ]
    rows = [
        row
        for page in rest.ListProviders(portal_rest_pb2.ListProvidersRequest())
        for row in page.providers
    ]

    assert [[one.id for one in page.providers] for page in pages] == [[limited.own]] * 2
    assert [row.id for row in rows] == [limited.own]


@pytest.mark.parametrize("validate_only", [False, True])
def test_a_limited_key_creates_no_provider(limited: Limited, *, validate_only: bool) -> None:
    create = ProviderServiceStub(limited.channel).CreateProvider
    provider = provider_pb2.Provider(
        name="x", type=provider_pb2.PROVIDER_TYPE_OTHER, well_known_uri="https://idp.test/"
    )
    request = provider_pb2.CreateProviderRequest(provider=provider, validate_only=validate_only)
    check = ProviderServiceStub(limited.channel).CheckProvider
    rejections = [
        error_of(create, request),
        error_of(check, provider_pb2.CheckProviderRequest(provider=provider)),
    ]

    assert {one.code for one in rejections} == {grpc.StatusCode.PERMISSION_DENIED}
    assert {one.reason for one in rejections} == {"KEY_LIMITED_TO_PROVIDERS"}


def test_concurrent_writes_of_limited_and_other_keys_do_not_mix(portal_on_each: Portal) -> None:
    limited = made(portal_on_each)
    updates = {
        key: ProviderServiceStub(channel).UpdateProvider
        for key, channel in (("limited", limited.channel), ("admin", portal_on_each.channel))
    }
    calls = []
    for number, (key, id_) in enumerate(product(updates, (limited.own, limited.other)), 1):
        for _ in range(25):
            provider = provider_pb2.Provider(id=id_, name=f"{number}")
            request = provider_pb2.UpdateProviderRequest(provider=provider)
            calls.append((key, id_, updates[key].future(request, timeout=20)))
    codes = {(key, id_): set[Any]() for key, id_, _ in calls}
    for key, id_, call in calls:
        codes[key, id_].add(call.code())

    ok, missing = {grpc.StatusCode.OK}, {grpc.StatusCode.NOT_FOUND}
    assert codes == {
        ("limited", limited.own): ok,
        ("limited", limited.other): missing,
        ("admin", limited.own): ok,
        ("admin", limited.other): ok,
    }


def test_a_list_of_many_providers_has_the_own_ones_on_both_databases(
    portal_on_each: Portal,
) -> None:
    created = [portal_on_each.catalog.providers.create(CALL, PROVIDER).id for _ in range(12)]
    own = (created[2], created[7], created[11])
    key = portal_on_each.keyring.create(Role.VIEWER, provider_ids=own)
    stub = ProviderServiceStub(with_key(portal_on_each.anonymous, key))
    first = stub.ListProviders(provider_pb2.ListProvidersRequest(page_size=2))
    second = stub.ListProviders(
        provider_pb2.ListProvidersRequest(page_size=2, page_token=first.next_page_token)
    )

    assert [one.id for one in first.providers] == list(own[:2])
    assert [one.id for one in second.providers] == list(own[2:])
    assert not second.next_page_token

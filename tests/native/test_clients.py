"""ClientService over gRPC, and what providers and client types have since there are clients."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToDict

from portal.oauth.v1 import client_pb2 as pb
from portal.oauth.v1 import client_type_pb2, finding_pb2, provider_pb2
from portal_server.domain.client import CLIENT, ClientResolution, ClientState
from portal_server.domain.discovery import CheckOutcome, ProviderCheck
from portal_server.domain.errors import (
    NotSent,
    OutcomeUnknown,
    PortalError,
    Reason,
    Rejected,
    Unimplemented,
)
from portal_server.domain.lists import Comparison, Condition
from tests.support.details import Rejection
from tests.support.fake_clients import (
    CLIENT_TYPE,
    EXPIRES,
    PROVIDER,
    SECRET,
    TIME,
    TOKEN,
    Served,
    served,
)
from tests.support.own_envoy import until

CLIENT_MESSAGE = pb.Client(
    name="Checkout",
    redirect_uris=["https://a.test/cb", "com.example.app:/cb"],
    scope="openid email",
    labels={"application": "7"},
)
IDS: dict[str, Any] = {"provider_id": PROVIDER, "id": 1}
TEMPLATE: dict[str, Any] = {"provider_id": PROVIDER, "client_type_id": CLIENT_TYPE}


@pytest.fixture(scope="module")
def module_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("clients")) as running:
        yield running


@pytest.fixture
def portal(module_server: Served) -> Served:
    module_server.fake.reset()
    return module_server


def register(portal: Served, **given: Any) -> pb.RegisterClientResponse:
    request = pb.RegisterClientRequest(**{**TEMPLATE, "client": CLIENT_MESSAGE, **given})
    return portal.clients.RegisterClient(request)


def rejection(call: Any) -> Rejection:
    with pytest.raises(grpc.RpcError) as error:
        call()
    return Rejection(error.value)


def test_a_client_is_returned_with_its_secret_and_findings(portal: Served) -> None:
    response = register(portal)
    client = response.client

    assert response.client_secret == SECRET
    assert [finding.severity for finding in response.findings] == [
        finding_pb2.FINDING_SEVERITY_WARNING
    ]
    assert (response.findings[0].field, response.findings[0].reference) == (
        "grant_types",
        "RFC 9700, section 2.4",
    )
    assert (client.id, client.provider_id, client.client_type_id) == (1, PROVIDER, CLIENT_TYPE)
    assert (client.name, list(client.redirect_uris), client.scope, dict(client.labels)) == (
        CLIENT_MESSAGE.name,
        list(CLIENT_MESSAGE.redirect_uris),
        CLIENT_MESSAGE.scope,
        dict(CLIENT_MESSAGE.labels),
    )
    assert client.state == pb.CLIENT_STATE_ACTIVE
    assert client.client_secret_expire_time.ToDatetime(UTC) == EXPIRES
    assert client.create_time.ToDatetime(UTC) == TIME
    assert not client.HasField("verify_time")
    assert not client.HasField("client_id_issue_time")
    assert MessageToDict(client.registered)["grant_types"] == []
    assert MessageToDict(client.requested)["grant_types"] == ["implicit"]
    [difference] = client.differences
    assert (difference.field, difference.asked, difference.granted, difference.wider) == (
        "grant_types",
        '["implicit"]',
        "[]",
        False,
    )
    assert client.registration_access_token_set
    assert client.etag


def test_only_a_registration_and_a_rotation_return_a_secret(portal: Served) -> None:
    register(portal)
    responses = [
        portal.clients.GetClient(pb.GetClientRequest(**IDS)),
        portal.clients.ListClients(pb.ListClientsRequest(provider_id=PROVIDER)),
        portal.clients.CheckClient(pb.CheckClientRequest(**IDS)),
        portal.clients.UpdateClient(
            pb.UpdateClientRequest(client=pb.Client(provider_id=PROVIDER, id=1, name="x"))
        ),
    ]

    for response in responses:
        assert SECRET not in str(response)
        assert TOKEN not in str(response)


def test_a_client_whose_registration_has_an_unknown_outcome_has_no_secret(portal: Served) -> None:
    portal.fake.state = ClientState.UNKNOWN
    response = register(portal)

    assert response.client.state == pb.CLIENT_STATE_UNKNOWN
    assert (response.client_secret, response.client.client_id) == ("", "")
    assert response.client.message


def test_the_request_id_reaches_the_catalog(portal: Served) -> None:
    first = register(portal, request_id="once")
    again = register(portal, request_id="once")
    other = register(portal)

    assert first == again
    assert other.client.id != first.client.id


def test_a_preview_has_the_metadata_as_json(portal: Served) -> None:
    response = portal.clients.PreviewRegistration(
        pb.PreviewRegistrationRequest(**TEMPLATE, client=CLIENT_MESSAGE)
    )

    assert response.uri == "https://idp.test/register"
    assert MessageToDict(response.metadata) == {
        "client_name": "Checkout",
        "redirect_uris": list(CLIENT_MESSAGE.redirect_uris),
        "require_pushed": False,
        "jwks": {"keys": []},
    }
    assert len(response.findings) == 1


@pytest.mark.parametrize("method", ["PreviewRegistration", "RegisterClient"])
def test_missing_ids_are_reported_with_all_other_violations(portal: Served, method: str) -> None:
    request = {
        "PreviewRegistration": pb.PreviewRegistrationRequest,
        "RegisterClient": pb.RegisterClientRequest,
    }[method](client=pb.Client(scope=" ", redirect_uris=["x"]))
    rejected = rejection(lambda: getattr(portal.clients, method)(request))

    assert rejected.code == grpc.StatusCode.INVALID_ARGUMENT
    assert sorted(rejected.fields) == [
        "client.name",
        "client.redirect_uris",
        "client.scope",
        "client_type_id",
        "provider_id",
    ]


@pytest.mark.parametrize(
    ("method", "request_", "fields"),
    [
        ("GetClient", pb.GetClientRequest(), ["provider_id", "id"]),
        ("ListClients", pb.ListClientsRequest(page_size=-1), ["provider_id", "page_size"]),
        ("UpdateClient", pb.UpdateClientRequest(), ["client.provider_id", "client.id"]),
        ("DeleteClient", pb.DeleteClientRequest(id=1), ["provider_id"]),
        ("RotateClientSecret", pb.RotateClientSecretRequest(provider_id=1), ["id"]),
        ("CheckClient", pb.CheckClientRequest(), ["provider_id", "id"]),
        ("ResolveClient", pb.ResolveClientRequest(), ["provider_id", "id", "resolution"]),
    ],
)
def test_missing_ids_are_violations(
    portal: Served, method: str, request_: Any, fields: list[str]
) -> None:
    rejected = rejection(lambda: getattr(portal.clients, method)(request_))

    assert rejected.fields == fields
    assert portal.fake.calls == []


@pytest.mark.parametrize("number", [0, 99])
def test_an_unknown_resolution_is_rejected_with_the_allowed_values(
    portal: Served, number: int
) -> None:
    request = pb.ResolveClientRequest(**IDS, resolution=number)  # type: ignore[arg-type]
    rejected = rejection(lambda: portal.clients.ResolveClient(request))

    assert rejected.fields == ["resolution"]
    for word in ("GONE", "ADOPT", "FORGET"):
        assert f"CLIENT_RESOLUTION_{word}" in rejected.message


def test_a_resolution_reaches_the_catalog(portal: Served) -> None:
    register(portal)
    resolved = portal.clients.ResolveClient(
        pb.ResolveClientRequest(
            **IDS,
            resolution=pb.CLIENT_RESOLUTION_ADOPT,
            client_id="c",
            registration_client_uri="https://idp.test/c",
            registration_access_token=TOKEN,
        )
    )
    [given] = [given for name, given in portal.fake.calls if name == "resolve"]

    assert resolved.state == pb.CLIENT_STATE_ACTIVE
    assert given.resolution is ClientResolution.ADOPT
    assert (given.client_id, given.registration_client_uri, given.registration_access_token) == (
        "c",
        "https://idp.test/c",
        TOKEN,
    )
    assert TOKEN not in repr(given)


@pytest.mark.parametrize(
    ("filter_", "conditions"),
    [
        ("", ()),
        ('name : "a"', (Condition("name", Comparison.HAS, "a"),)),
        (
            'state = CLIENT_STATE_ACTIVE AND client_id != "x"',
            (
                Condition("state", Comparison.EQUALS, "active"),
                Condition("client_id", Comparison.DIFFERS, "x"),
            ),
        ),
    ],
)
def test_a_filter_has_the_name_the_state_and_the_client_id(
    portal: Served, filter_: str, conditions: tuple[Condition, ...]
) -> None:
    portal.clients.ListClients(
        pb.ListClientsRequest(provider_id=PROVIDER, filter=filter_, client_type_id=CLIENT_TYPE)
    )
    [(_, (client_type, where, _rows))] = portal.fake.calls

    assert (client_type, where) == (CLIENT_TYPE, conditions)


@pytest.mark.parametrize(
    "filter_", ['client_id : "x"', "state : ACTIVE", "state = x", 'scope = "x"', 'id = "1"']
)
def test_other_conditions_are_rejected(portal: Served, filter_: str) -> None:
    request = pb.ListClientsRequest(provider_id=PROVIDER, filter=filter_)
    rejected = rejection(lambda: portal.clients.ListClients(request))

    assert rejected.fields == ["filter"]


def test_a_page_token_belongs_to_one_client_type(portal: Served) -> None:
    for _ in range(3):
        register(portal)
    first = portal.clients.ListClients(
        pb.ListClientsRequest(provider_id=PROVIDER, page_size=2, client_type_id=CLIENT_TYPE)
    )
    second = portal.clients.ListClients(
        pb.ListClientsRequest(
            provider_id=PROVIDER, client_type_id=CLIENT_TYPE, page_token=first.next_page_token
        )
    )
    other = pb.ListClientsRequest(provider_id=PROVIDER, page_token=first.next_page_token)
    rejected = rejection(lambda: portal.clients.ListClients(other))

    assert [client.id for client in (*first.clients, *second.clients)] == [1, 2, 3]
    assert second.next_page_token == ""
    assert rejected.fields == ["page_token"]


def test_an_update_writes_the_fields_of_the_mask(portal: Served) -> None:
    register(portal)
    client = pb.Client(provider_id=PROVIDER, id=1, name="New", scope="x")
    request = pb.UpdateClientRequest(client=client)
    request.update_mask.paths.extend(["name", "labels", "state"])
    updated = portal.clients.UpdateClient(request)

    assert (updated.name, updated.scope, dict(updated.labels)) == ("New", "openid email", {})
    assert ("update", {"name", "labels"}) in portal.fake.calls
    request.update_mask.paths[:] = ["nome"]
    rejected = rejection(lambda: portal.clients.UpdateClient(request))
    assert rejected.fields == ["update_mask"]
    assert all(name in rejected.message for name in CLIENT)


def test_an_etag_that_does_not_match_changes_nothing(portal: Served) -> None:
    register(portal)
    etag = '"another"'
    calls = [
        lambda: portal.clients.DeleteClient(pb.DeleteClientRequest(**IDS, etag=etag)),
        lambda: portal.clients.RotateClientSecret(pb.RotateClientSecretRequest(**IDS, etag=etag)),
        lambda: portal.clients.ResolveClient(
            pb.ResolveClientRequest(**IDS, etag=etag, resolution=pb.CLIENT_RESOLUTION_GONE)
        ),
        lambda: portal.clients.UpdateClient(
            pb.UpdateClientRequest(client=pb.Client(**IDS, etag=etag, name="x"))
        ),
    ]

    for call in calls:
        assert rejection(call).code == grpc.StatusCode.ABORTED


def test_a_rotation_returns_the_new_secret(portal: Served) -> None:
    register(portal)
    rotated = portal.clients.RotateClientSecret(pb.RotateClientSecretRequest(**IDS))

    assert rotated.client_secret == f"{SECRET}-2"
    assert rotated.client.id == 1


def test_an_update_returns_the_secret_that_the_provider_replaced(portal: Served) -> None:
    register(portal)
    portal.fake.new_secret = f"{SECRET}-3"
    client = pb.Client(provider_id=PROVIDER, id=1, name="x")
    updated = portal.clients.UpdateClient(pb.UpdateClientRequest(client=client))

    assert updated.new_client_secret == f"{SECRET}-3"
    assert not portal.clients.GetClient(pb.GetClientRequest(**IDS)).new_client_secret


@pytest.mark.parametrize("force", [False, True])
def test_a_deletion_is_forced_if_the_request_has_it(portal: Served, *, force: bool) -> None:
    register(portal)
    portal.clients.DeleteClient(pb.DeleteClientRequest(**IDS, force=force))
    portal.providers.DeleteProvider(provider_pb2.DeleteProviderRequest(id=1, force=force))
    portal.client_types.DeleteClientType(
        client_type_pb2.DeleteClientTypeRequest(provider_id=1, id=2, force=force)
    )

    assert portal.fake.calls[1:] == [
        ("delete", force),
        ("delete_provider", force),
        ("delete_client_type", force),
    ]


def test_an_unknown_client_is_not_found_with_its_type(portal: Served) -> None:
    rejected = rejection(lambda: portal.clients.GetClient(pb.GetClientRequest(**IDS)))

    assert rejected.code == grpc.StatusCode.NOT_FOUND
    assert rejected.reason == "CLIENT_NOT_FOUND"


@pytest.mark.parametrize(
    ("error", "code", "retry_s"),
    [
        (NotSent(Reason.PROVIDER_UNREACHABLE, "t"), grpc.StatusCode.UNAVAILABLE, 1),
        (NotSent(Reason.PROVIDER_TLS_NOT_TRUSTED, "t"), grpc.StatusCode.FAILED_PRECONDITION, None),
        (
            NotSent(Reason.PROVIDER_BUSY, "t", retry_after_s=6.5),
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            7,
        ),
        (OutcomeUnknown(Reason.PROVIDER_TIMEOUT, "t"), grpc.StatusCode.DEADLINE_EXCEEDED, None),
        (OutcomeUnknown(Reason.PROVIDER_OUTCOME_UNKNOWN, "t"), grpc.StatusCode.UNAVAILABLE, 1),
        (Unimplemented(Reason.ROTATION_NOT_SUPPORTED, "t"), grpc.StatusCode.UNIMPLEMENTED, None),
    ],
    ids=lambda given: given.reason if isinstance(given, PortalError) else "",
)
def test_an_error_of_a_provider_has_its_status(
    portal: Served, error: Any, code: grpc.StatusCode, retry_s: int | None
) -> None:
    portal.fake.error = error
    rejected = rejection(lambda: register(portal))

    assert (rejected.code, rejected.reason, rejected.retry_delay) == (code, error.reason, retry_s)


def test_a_rejected_request_has_the_text_of_the_provider(portal: Served) -> None:
    portal.fake.error = Rejected(
        Reason.PROVIDER_REJECTED,
        "the provider rejected the registration",
        http_status=400,
        error="invalid_redirect_uri",
        description="redirect_uri is not in the allowed list",
    )
    rejected = rejection(lambda: register(portal))

    assert rejected.code == grpc.StatusCode.FAILED_PRECONDITION
    assert rejected.message == "redirect_uri is not in the allowed list"
    assert rejected.metadata == {
        "http_status": "400",
        "error": "invalid_redirect_uri",
        "error_description": "redirect_uri is not in the allowed list",
    }


def test_a_stored_provider_and_one_that_is_not_are_checked(portal: Served) -> None:
    stored = portal.providers.CheckProvider(provider_pb2.CheckProviderRequest(id=PROVIDER))
    draft = provider_pb2.Provider(
        name="x", type=provider_pb2.PROVIDER_TYPE_OTHER, well_known_uri="https://idp.test/x"
    )
    request = provider_pb2.CheckProviderRequest(provider=draft)
    portal.fake.checks = (ProviderCheck("tls", CheckOutcome.FAILED, "not trusted"),)
    given = portal.providers.CheckProvider(request)

    assert stored.ok
    assert [check.outcome for check in stored.checks] == [
        provider_pb2.CHECK_OUTCOME_OK,
        provider_pb2.CHECK_OUTCOME_WARNING,
    ]
    assert not given.ok
    assert (given.checks[0].name, given.checks[0].text) == ("tls", "not trusted")


def test_a_check_needs_a_provider(portal: Served) -> None:
    request = provider_pb2.CheckProviderRequest()
    assert rejection(lambda: portal.providers.CheckProvider(request)).fields == ["id"]
    request.provider.name = "x"
    assert rejection(lambda: portal.providers.CheckProvider(request)).fields == [
        "provider.type",
        "provider.well_known_uri",
    ]


def test_a_provider_that_is_forgotten_reports_its_clients(portal: Served) -> None:
    client = register(portal).client
    response = portal.providers.ForgetProvider(provider_pb2.ForgetProviderRequest(id=PROVIDER))

    [forgotten] = response.clients
    assert forgotten.client_name.startswith("Checkout [")
    assert forgotten.client_name.endswith(f"{client.uid[-12:]}]")
    assert forgotten.client_id == "client-1"
    missing = provider_pb2.ForgetProviderRequest()
    assert rejection(lambda: portal.providers.ForgetProvider(missing)).fields == ["id"]


class Held:
    """What holds calls until they are let go."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.holding = 0
        self._lock = threading.Lock()

    def __call__(self) -> None:
        with self._lock:
            self.holding += 1
        self.let_go.wait(20)


def test_calls_that_wait_for_a_provider_hold_no_thread_of_other_calls(tmp_path: Path) -> None:
    held = Held()
    with served(tmp_path) as portal, ThreadPoolExecutor(64) as callers:
        portal.fake.wait = held
        waiting: list[Future[Any]] = [callers.submit(register, portal) for _ in range(40)]
        forced = provider_pb2.DeleteProviderRequest(id=PROVIDER, force=True)
        delete: Any = portal.providers.DeleteProvider
        waiting += [callers.submit(delete, forced) for _ in range(20)]
        until(lambda: held.holding == 60)
        start = time.monotonic()
        portal.providers.ListProviders(provider_pb2.ListProvidersRequest())
        plain = provider_pb2.DeleteProviderRequest(id=PROVIDER)
        portal.providers.DeleteProvider(plain)
        took = time.monotonic() - start
        held.let_go.set()
        for call in waiting:
            call.result(20)

    assert took < 2

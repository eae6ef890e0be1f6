"""WatchService and AuditService over native gRPC: changes arrive in order, none twice."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from portal.oauth.v1 import audit_pb2
from portal.oauth.v1.audit_pb2_grpc import AuditServiceStub
from portal.oauth.v1.client_type_pb2 import (
    GRANT_TYPE_AUTHORIZATION_CODE,
    RESPONSE_TYPE_CODE,
    ClientType,
    CreateClientTypeRequest,
)
from portal.oauth.v1.provider_pb2 import (
    PROVIDER_TYPE_OTHER,
    CreateProviderRequest,
    DeleteProviderRequest,
    Provider,
    UpdateProviderRequest,
)
from portal.oauth.v1.watch_pb2 import (
    CHANGE_TYPE_CREATED,
    CHANGE_TYPE_DELETED,
    CHANGE_TYPE_UPDATED,
    RESOURCE_KIND_CLIENT_TYPE,
    Change,
    WatchRequest,
    WatchResponse,
)
from portal.oauth.v1.watch_pb2_grpc import WatchServiceStub
from portal_client.errors import from_rpc
from portal_server.catalog.keyring import REMEMBERED_S
from portal_server.domain.keys import Role
from portal_server.wire import streams
from tests.conftest import Portal, with_key

PROVIDER = Provider(
    name="p",
    type=PROVIDER_TYPE_OTHER,
    well_known_uri="https://idp.test/x",
    registration_access_token="a-secret",  # noqa: S106
)
CLIENT_TYPE = ClientType(
    name="web",
    response_types=[RESPONSE_TYPE_CODE],
    grant_types=[GRANT_TYPE_AUTHORIZATION_CODE],
)


def create(portal: Portal) -> Provider:
    return portal.providers.CreateProvider(CreateProviderRequest(provider=PROVIDER))


@contextmanager
def watching(channel: grpc.Channel, **request: Any) -> Iterator[Iterator[WatchResponse]]:
    """An open stream; its first response has arrived."""
    stream: Any = WatchServiceStub(channel).Watch(WatchRequest(**request), timeout=60)
    try:
        yield stream
    finally:
        stream.cancel()


def take(stream: Iterator[WatchResponse], count: int) -> list[Change]:
    """The next changes."""
    found: list[Change] = []
    while len(found) < count:
        found += next(stream).changes
    assert len(found) == count
    return found


def test_changes_arrive_in_their_order_with_the_resource(portal_on_each: Portal) -> None:
    portal = portal_on_each
    with watching(portal.channel) as stream:
        assert not next(stream).changes
        provider = create(portal)
        template = CreateClientTypeRequest(provider_id=provider.id, client_type=CLIENT_TYPE)
        client_type = portal.client_types.CreateClientType(template)
        provider.name = "q"
        updated = portal.providers.UpdateProvider(UpdateProviderRequest(provider=provider))
        portal.providers.DeleteProvider(DeleteProviderRequest(id=provider.id))
        found = take(stream, 5)

    assert [(change.type, change.uid) for change in found] == [
        (CHANGE_TYPE_CREATED, provider.uid),
        (CHANGE_TYPE_CREATED, client_type.uid),
        (CHANGE_TYPE_UPDATED, provider.uid),
        (CHANGE_TYPE_DELETED, client_type.uid),
        (CHANGE_TYPE_DELETED, provider.uid),
    ]
    assert found[2].provider == updated
    assert found[2].provider.registration_access_token_set
    assert not found[2].provider.registration_access_token
    client_type.ClearField("findings")
    assert found[1].client_type == client_type


def test_a_stream_continues_after_any_change(portal_on_each: Portal) -> None:
    portal = portal_on_each
    with watching(portal.channel) as stream:
        begin = next(stream).resume_token
        ids = [create(portal).id for _ in range(6)]
        found = take(stream, 6)
    for number, token in enumerate([begin, *(change.resume_token for change in found)]):
        if number < 6:
            with watching(portal.channel, resume_token=token) as stream:
                assert [change.id for change in take(stream, 6 - number)] == ids[number:]


def test_only_the_changes_that_the_request_selects_arrive(portal: Portal) -> None:
    first, second = create(portal), create(portal)
    requests: list[dict[str, Any]] = [
        {"kinds": [RESOURCE_KIND_CLIENT_TYPE]},
        {"provider_id": second.id},
        {"filter": "type = CHANGE_TYPE_DELETED"},
        {"filter": f'uid = "{first.uid}"'},
    ]
    found = []
    with watching(portal.channel) as stream:
        begin = next(stream).resume_token
        template = CreateClientTypeRequest(provider_id=first.id, client_type=CLIENT_TYPE)
        created = portal.client_types.CreateClientType(template)
        portal.providers.DeleteProvider(DeleteProviderRequest(id=second.id))
        portal.providers.DeleteProvider(DeleteProviderRequest(id=first.id))
        take(stream, 6)  # both creates are younger than the newest seal
    for request, count in zip(requests, (2, 2, 3, 2), strict=True):
        with watching(portal.channel, resume_token=begin, **request) as stream:
            found.append([change.uid for change in take(stream, count)])

    assert found == [
        [created.uid, created.uid],
        [second.uid, second.uid],
        [second.uid, created.uid, first.uid],
        [first.uid, first.uid],
    ]


def test_a_key_sees_the_providers_that_it_may_read(portal: Portal) -> None:
    first, second = create(portal), create(portal)
    key = portal.keyring.create(Role.VIEWER, "", provider_ids=(second.id,))
    with watching(with_key(portal.anonymous, key)) as stream:
        next(stream)
        portal.providers.DeleteProvider(DeleteProviderRequest(id=first.id))
        portal.providers.DeleteProvider(DeleteProviderRequest(id=second.id))
        found = take(stream, 2)

    assert {change.uid for change in found} == {second.uid}


def test_a_silent_stream_has_heartbeats_with_a_newer_token(
    portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "HEARTBEAT_S", 1.5)
    with watching(portal.channel, filter="type = CHANGE_TYPE_DELETED") as stream:
        first = next(stream)
        create(portal)
        time.sleep(1.2)  # it is sealed
        second = next(stream)
        with watching(portal.channel, resume_token=second.resume_token) as other:
            next(other)
            third = next(other)

    assert [*second.changes, *third.changes] == []
    assert second.resume_token != first.resume_token
    assert third.resume_token == second.resume_token


def test_a_revoked_key_ends_its_streams(portal: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "HEARTBEAT_S", 0.5)
    key = portal.keyring.create(Role.VIEWER, "")
    with watching(with_key(portal.anonymous, key)) as stream:
        next(stream)
        portal.keyring.revoke(key.split("_")[1])
        with pytest.raises(grpc.RpcError) as error:
            list(stream)

    assert error.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_a_revoked_key_gets_no_later_change(portal: Portal) -> None:
    key = portal.keyring.create(Role.VIEWER, "")
    with watching(with_key(portal.anonymous, key)) as stream:
        next(stream)
        before = create(portal)
        [change] = take(stream, 1)
        portal.keyring.revoke(key.split("_")[1])
        time.sleep(REMEMBERED_S)
        create(portal)
        with pytest.raises(grpc.RpcError) as error:
            next(stream)

    assert change.uid == before.uid
    assert error.value.code() is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize(
    ("limit", "streams_"), [("MAX_STREAMS_OF_KEY", 3), ("MAX_STREAMS", 3)], ids=["key", "server"]
)
def test_the_number_of_streams_is_limited(
    portal: Portal, monkeypatch: pytest.MonkeyPatch, limit: str, streams_: int
) -> None:
    monkeypatch.setattr(streams, limit, streams_)
    open_ = [WatchServiceStub(portal.channel).Watch(WatchRequest()) for _ in range(streams_)]
    for each in open_:
        next(each)
    with watching(portal.channel) as stream, pytest.raises(grpc.RpcError) as error:
        next(stream)
    open_[0].cancel()
    deadline = time.monotonic() + 5
    again = None
    while again is None and time.monotonic() < deadline:
        with watching(portal.channel) as stream:
            try:
                again = next(stream)
            except grpc.RpcError:
                time.sleep(0.05)
    for each in open_:
        each.cancel()

    assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert from_rpc(error.value).reason_name == "TOO_MANY_STREAMS"
    assert again is not None


def test_open_streams_hold_no_thread(portal: Portal) -> None:
    before = threading.active_count()
    open_ = [WatchServiceStub(portal.channel).Watch(WatchRequest()) for _ in range(15)]
    for stream in open_:
        next(stream)
    names = [thread.name for thread in threading.enumerate()]
    for stream in open_:
        stream.cancel()

    assert sum(name.startswith("read") for name in names) <= 15
    assert sum(name == "streams" for name in names) == 1
    assert before > 0


def test_a_token_of_another_database_is_unknown(portal: Portal) -> None:
    create(portal)
    token = "AAAAAAAAAAn_____AAAAAA"  # noqa: S105 - position 9
    with (
        watching(portal.channel, resume_token=token) as stream,
        pytest.raises(grpc.RpcError) as error,
    ):
        next(stream)

    assert error.value.code() is grpc.StatusCode.OUT_OF_RANGE
    assert from_rpc(error.value).reason_name == "RESUME_TOKEN_UNKNOWN"


def test_an_invalid_request_names_every_field(portal: Portal) -> None:
    with (
        watching(portal.channel, resume_token="x", kinds=[9], filter="name = 1") as stream,  # noqa: S106
        pytest.raises(grpc.RpcError) as error,
    ):
        next(stream)

    text = error.value.details() or ""
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert all(f"{name}: " in text for name in ("resume_token", "kinds", "filter"))


# The list


def events(portal: Portal, **request: Any) -> list[audit_pb2.AuditEvent]:
    stub = AuditServiceStub(portal.channel)
    found: list[audit_pb2.AuditEvent] = []
    page = stub.ListAuditEvents(audit_pb2.ListAuditEventsRequest(**request))
    found += page.audit_events
    while page.next_page_token:
        token = page.next_page_token
        again = audit_pb2.ListAuditEventsRequest(**request, page_token=token)
        page = stub.ListAuditEvents(again)
        found += page.audit_events
    return found


def test_events_are_listed_in_pages_with_filters_and_since_a_time(
    portal_on_each: Portal,
) -> None:
    portal = portal_on_each
    with watching(portal.channel) as stream:
        next(stream)
        created = [create(portal) for _ in range(5)]
        take(stream, 5)
        middle = Timestamp()
        middle.GetCurrentTime()
        created.append(create(portal))
        portal.providers.DeleteProvider(DeleteProviderRequest(id=created[0].id))
        take(stream, 2)
    uids = [provider.uid for provider in created]

    assert [e.uid for e in events(portal, page_size=2)] == [*uids, uids[0]]
    assert [e.uid for e in events(portal, start_time=middle)] == [uids[5], uids[0]]
    found = events(portal, filter="action = AUDIT_ACTION_DELETE AND kind = AUDIT_KIND_PROVIDER")
    [deleted] = found
    assert deleted.method == "/portal.oauth.v1.ProviderService/DeleteProvider"
    assert (deleted.position, deleted.address, len(deleted.trace_id)) == (7, "127.0.0.1", 32)
    assert deleted.before["registration_access_token"] == "set"  # noqa: S105
    assert not deleted.HasField("after")
    assert events(portal, filter='method : "CreateProvider" AND key_id != nobody')


def test_only_admins_list_events(portal: Portal) -> None:
    editor = with_key(portal.anonymous, portal.keyring.create(Role.EDITOR, ""))
    with pytest.raises(grpc.RpcError) as error:
        AuditServiceStub(editor).ListAuditEvents(audit_pb2.ListAuditEventsRequest())

    assert error.value.code() is grpc.StatusCode.PERMISSION_DENIED

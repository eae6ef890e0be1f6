"""Limits of keys over gRPC: how many requests pass, and how the others end."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest

from portal.oauth.v1 import provider_pb2 as pb
from portal.oauth.v1.provider_pb2_grpc import ProviderServiceStub
from portal_server.catalog import api_keys
from portal_server.catalog.api_keys import Rotation
from portal_server.catalog.updates import Change
from portal_server.domain.api_key import ApiKeyDraft
from portal_server.domain.keys import Role, key_id_of
from tests.conftest import Portal, serve, with_key
from tests.support.catalog import CALL
from tests.support.databases import new_sqlite
from tests.support.details import Rejection
from tests.support.stack import ADMIN_KEY

LIST = pb.ListProvidersRequest(page_size=1)


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    url = new_sqlite(tmp_path_factory.mktemp("limits") / "served.db")
    with serve(url, key_requests_per_second=1000, key_burst=30) as portal:
        yield portal


def burst(portal: Portal, *keys: str, count: int = 40) -> list[Rejection | None]:
    """Send this many requests of each key at once; the error of each that is rejected."""
    calls: list[Any] = []
    for key in keys:
        stub = ProviderServiceStub(with_key(portal.anonymous, key))
        calls += (stub.ListProviders.future(LIST, timeout=20) for _ in range(count))
    errors = [(call, call.exception()) for call in calls]
    return [Rejection(error) if error else None for _, error in errors]


def test_more_than_a_burst_is_rejected_with_a_time_to_retry(portal: Portal) -> None:
    key = portal.keyring.create(Role.VIEWER, requests_per_second=1, burst=3)
    ends = burst(portal, key)  # the first is not known yet
    time.sleep(1.1)
    again = burst(portal, key, count=10)
    rejected = [one for one in (*ends, *again) if one]

    assert 1 <= len([one for one in again if one is None]) <= 3
    assert {one.code for one in rejected} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert "TOO_MANY_REQUESTS" in {one.reason for one in again if one}
    assert all(one.retry_delay and one.retry_delay >= 1 for one in rejected)
    assert all(key not in one.message for one in rejected)


def test_the_limit_of_the_settings_is_that_of_keys_without_their_own(portal: Portal) -> None:
    key = portal.keyring.create(Role.VIEWER, requests_per_second=1, burst=1)
    other = portal.keyring.create(Role.VIEWER)
    for one in (key, other):
        burst(portal, one, count=1)
    time.sleep(1.1)
    limited = [one is None for one in burst(portal, key, count=20)]
    free = [one is None for one in burst(portal, other, count=20)]

    assert limited.count(True) == 1
    assert free.count(True) == 20


def test_both_secrets_of_a_key_share_its_limit(
    portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_keys, "REMEMBERED_S", 0.0)
    old = portal.keyring.create(Role.VIEWER, requests_per_second=1, burst=4)
    rotation = Rotation(overlap_s=60)
    new = portal.keyring.api_keys.rotate(CALL, key_id_of(old) or "", rotation).text
    burst(portal, old, count=1)
    burst(portal, new, count=1)
    time.sleep(4.1)
    passed = [one is None for one in burst(portal, old, new, count=10)]

    assert passed.count(True) <= 5


def test_a_new_limit_holds_within_a_second(portal: Portal) -> None:
    key = portal.keyring.create(Role.VIEWER, requests_per_second=1, burst=1)
    key_id = key_id_of(key) or ""
    burst(portal, key, count=2)
    change = Change(
        ApiKeyDraft(requests_per_second=1000, burst=30), {"requests_per_second", "burst"}
    )
    portal.keyring.api_keys.update(CALL, key_id, change)
    burst(portal, key, count=1)
    time.sleep(0.1)  # the new limit begins with nothing saved
    found = [one is None for one in burst(portal, key, count=20)]

    assert found.count(True) == 20


def test_the_key_of_the_settings_has_their_limit(portal: Portal) -> None:
    burst(portal, ADMIN_KEY, count=1)
    time.sleep(0.1)
    ends = burst(portal, ADMIN_KEY, count=300)

    assert "TOO_MANY_REQUESTS" in {one.reason for one in ends if one}


def test_the_last_use_of_a_key_is_stored(tmp_path_factory: pytest.TempPathFactory) -> None:
    url = new_sqlite(tmp_path_factory.mktemp("uses") / "served.db")
    begin = datetime.now(UTC).replace(second=0, microsecond=0)
    with serve(url) as portal:
        key = portal.keyring.create(Role.VIEWER)
        unused = portal.keyring.create(Role.VIEWER)
        burst(portal, key, count=3)
    with serve(url) as portal:
        found = {one.id: one.last_use_time for one in portal.keyring.list()}
    last = found[key_id_of(key) or ""]

    assert last
    assert begin <= last <= datetime.now(UTC)
    assert last.second == 0
    assert found[key_id_of(unused) or ""] is None

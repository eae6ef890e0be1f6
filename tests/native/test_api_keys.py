"""ApiKeyService: keys are created, changed, rotated and revoked over the API."""

import logging
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from portal.oauth.v1 import api_key_pb2 as pb
from portal.oauth.v1 import role_pb2
from portal.oauth.v1.api_key_pb2_grpc import ApiKeyServiceStub
from portal.oauth.v1.provider_pb2 import ListProvidersRequest
from portal.oauth.v1.provider_pb2_grpc import ProviderServiceStub
from portal_server.catalog import api_keys
from portal_server.domain.keys import Role
from tests.conftest import Portal, serve, with_key
from tests.support.databases import new_sqlite
from tests.support.details import Rejection

VIEWER = role_pb2.ROLE_VIEWER


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """A portal that these tests share."""
    with serve(new_sqlite(tmp_path_factory.mktemp("keys") / "served.db")) as portal:
        yield portal


@pytest.fixture
def keys(shared: Portal) -> ApiKeyServiceStub:
    return ApiKeyServiceStub(shared.channel)


@pytest.fixture
def accepts(shared: Portal) -> Callable[[str], bool]:
    """Whether a key is valid."""

    def accepts(key: str) -> bool:
        stub = ProviderServiceStub(with_key(shared.anonymous, key))
        try:
            stub.ListProviders(ListProvidersRequest())
        except grpc.RpcError as error:
            return Rejection(error).code != grpc.StatusCode.UNAUTHENTICATED
        return True

    return accepts


def timestamp(time: datetime) -> Timestamp:
    found = Timestamp()
    found.FromDatetime(time)
    return found


def create(keys: ApiKeyServiceStub, **fields: Any) -> pb.CreateApiKeyResponse:
    request = pb.CreateApiKeyRequest(api_key=pb.ApiKey(**{"role": VIEWER, **fields}))
    return keys.CreateApiKey(request)


def error_of(call: Callable[[Any], Any], request: Any) -> Rejection:
    with pytest.raises(grpc.RpcError) as error:
        call(request)
    return Rejection(error.value)


def test_a_key_is_created_used_listed_and_revoked(
    keys: ApiKeyServiceStub, accepts: Callable[[str], bool]
) -> None:
    made = create(keys, note="dashboard", requests_per_second=1000, burst=50)
    key = made.api_key
    before = accepts(made.key)
    listed = [one for one in keys.ListApiKeys(pb.ListApiKeysRequest()).api_keys if one == key]
    revoked = keys.RevokeApiKey(pb.RevokeApiKeyRequest(id=key.id, etag=key.etag))

    assert (key.role, key.note, key.requests_per_second, key.burst) == (
        VIEWER,
        "dashboard",
        1000,
        50,
    )
    assert made.key.split("_")[1] == key.id
    assert before
    assert listed == [key]
    assert not accepts(made.key)
    assert revoked.HasField("revoke_time")
    assert revoked.etag != key.etag
    assert keys.GetApiKey(pb.GetApiKeyRequest(id=key.id)) == revoked
    assert keys.RevokeApiKey(pb.RevokeApiKeyRequest(id=key.id)) == revoked


def test_no_response_but_the_first_has_the_key(keys: ApiKeyServiceStub) -> None:
    made = create(keys, note="once")
    secret = made.key[len("oap_12345678_") :]
    others = [
        keys.GetApiKey(pb.GetApiKeyRequest(id=made.api_key.id)),
        keys.ListApiKeys(pb.ListApiKeysRequest(page_size=200)),
        keys.RevokeApiKey(pb.RevokeApiKeyRequest(id=made.api_key.id)),
    ]

    assert secret
    assert all(secret not in str(response) for response in others)


def test_a_retry_creates_no_second_key_and_does_not_have_the_key(
    keys: ApiKeyServiceStub,
) -> None:
    request = pb.CreateApiKeyRequest(
        api_key=pb.ApiKey(role=VIEWER, note="retried"), request_id="create-1"
    )
    first, second = keys.CreateApiKey(request), keys.CreateApiKey(request)
    rotation = pb.RotateApiKeyRequest(id=first.api_key.id, request_id="rotate-1")
    rotated, again = keys.RotateApiKey(rotation), keys.RotateApiKey(rotation)

    assert first.key
    assert second.key == ""
    assert second.api_key == first.api_key
    assert rotated.key
    assert rotated.key != first.key
    assert again.key == ""
    assert again.api_key == rotated.api_key


def test_no_secret_is_logged_or_stored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with serve(new_sqlite(tmp_path / "served.db")) as portal:
        keys = ApiKeyServiceStub(portal.channel)
        with caplog.at_level(logging.DEBUG):
            request = pb.CreateApiKeyRequest(api_key=pb.ApiKey(role=VIEWER), request_id="x")
            made = keys.CreateApiKey(request)
            rotation = pb.RotateApiKeyRequest(id=made.api_key.id, request_id="y")
            rotation.overlap.FromSeconds(60)
            rotated = keys.RotateApiKey(rotation)
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("served.db*"))

    for key in (made.key, rotated.key):
        assert key.split("_")[2] not in caplog.text
        assert key.split("_")[2].encode() not in stored
        assert key.split("_")[2].encode()[:32] not in stored


def test_both_secrets_are_valid_during_an_overlap_and_one_after_it(
    keys: ApiKeyServiceStub, accepts: Callable[[str], bool]
) -> None:
    made = create(keys)
    rotation = pb.RotateApiKeyRequest(id=made.api_key.id)
    rotation.overlap.FromSeconds(3)
    rotated = keys.RotateApiKey(rotation)
    end = rotated.api_key.previous_secret_expire_time.ToDatetime(UTC)
    during = accepts(made.key), accepts(rotated.key)
    time.sleep(max(0.0, (end - datetime.now(UTC)).total_seconds()))
    after = accepts(made.key), accepts(rotated.key)

    assert during == (True, True)
    assert after == (False, True)


def test_without_an_overlap_the_old_secret_ends_at_once(
    keys: ApiKeyServiceStub, accepts: Callable[[str], bool]
) -> None:
    made = create(keys)
    assert accepts(made.key)
    rotated = keys.RotateApiKey(pb.RotateApiKeyRequest(id=made.api_key.id))

    assert (accepts(made.key), accepts(rotated.key)) == (False, True)
    assert not rotated.api_key.HasField("previous_secret_expire_time")


def test_each_secret_stays_valid_until_its_own_end(
    keys: ApiKeyServiceStub, accepts: Callable[[str], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_keys, "REMEMBERED_S", 0.0)
    made = create(keys)
    secrets = [made.key]
    rotation = pb.RotateApiKeyRequest(id=made.api_key.id)
    rotation.overlap.FromSeconds(60)
    secrets += (keys.RotateApiKey(rotation).key for _ in range(4))
    rejection = error_of(keys.RotateApiKey, rotation)

    assert list(map(accepts, secrets)) == [True] * 5
    assert rejection.code == grpc.StatusCode.FAILED_PRECONDITION
    assert rejection.reason == "API_KEY_STATE"
    assert "4 valid previous secrets" in rejection.message


def test_a_rotation_can_extend_the_key_but_not_its_old_secret(
    keys: ApiKeyServiceStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_keys, "REMEMBERED_S", 0.0)
    end = timestamp(datetime.now(UTC) + timedelta(hours=1))
    later = timestamp(datetime.now(UTC) + timedelta(days=90))
    made = create(keys, expire_time=end)
    rotation = pb.RotateApiKeyRequest(id=made.api_key.id, expire_time=later)
    rotation.overlap.FromSeconds(7 * 86400)
    rotated = keys.RotateApiKey(rotation).api_key

    assert rotated.expire_time.ToMicroseconds() == later.ToMicroseconds()
    assert rotated.previous_secret_expire_time.ToMicroseconds() == end.ToMicroseconds()


def test_a_revoked_key_has_no_valid_secret_and_cannot_be_changed(
    keys: ApiKeyServiceStub, accepts: Callable[[str], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_keys, "REMEMBERED_S", 0.0)
    made = create(keys)
    rotation = pb.RotateApiKeyRequest(id=made.api_key.id)
    rotation.overlap.FromSeconds(60)
    rotated = keys.RotateApiKey(rotation)
    keys.RevokeApiKey(pb.RevokeApiKeyRequest(id=made.api_key.id))
    change = pb.UpdateApiKeyRequest(api_key=pb.ApiKey(id=made.api_key.id, note="new"))
    rejections = [error_of(keys.RotateApiKey, rotation), error_of(keys.UpdateApiKey, change)]

    assert (accepts(made.key), accepts(rotated.key)) == (False, False)
    assert [one.reason for one in rejections] == ["API_KEY_STATE"] * 2
    assert all("is revoked" in one.message for one in rejections)


def test_a_change_of_the_role_holds_when_the_update_returns(
    shared: Portal, keys: ApiKeyServiceStub
) -> None:
    made = create(keys, role=role_pb2.ROLE_ADMIN)
    own = ApiKeyServiceStub(with_key(shared.anonymous, made.key))
    own.ListApiKeys(pb.ListApiKeysRequest())
    changed = keys.UpdateApiKey(
        pb.UpdateApiKeyRequest(api_key=pb.ApiKey(id=made.api_key.id, role=role_pb2.ROLE_EDITOR))
    )
    rejection = error_of(own.ListApiKeys, pb.ListApiKeysRequest())

    assert changed.role == role_pb2.ROLE_EDITOR
    assert rejection.reason == "ROLE_NOT_ALLOWED"


def test_a_mask_clears_fields(keys: ApiKeyServiceStub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_keys, "REMEMBERED_S", 0.0)
    end = timestamp(datetime.now(UTC) + timedelta(hours=1))
    made = create(keys, note="x", expire_time=end, burst=3)
    mask = FieldMask(paths=["expire_time", "burst"])
    changed = keys.UpdateApiKey(
        pb.UpdateApiKeyRequest(api_key=pb.ApiKey(id=made.api_key.id), update_mask=mask)
    )

    assert not changed.HasField("expire_time")
    assert (changed.note, changed.burst) == ("x", 0)


def test_pages_have_every_key_once_in_the_order_of_creation(keys: ApiKeyServiceStub) -> None:
    made = [create(keys, note=f"page {number}").api_key.id for number in range(5)]
    found: list[str] = []
    request = pb.ListApiKeysRequest(page_size=3)
    while True:
        page = keys.ListApiKeys(request)
        assert len(page.api_keys) <= 3
        found += (key.id for key in page.api_keys)
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token

    assert len(found) == len(set(found))
    assert [one for one in found if one in made] == made


@pytest.mark.parametrize(
    ("fields", "field", "description"),
    [
        pytest.param({"role": 0}, "role", "is required", id="no role"),
        pytest.param({"role": 99}, "role", "unknown value", id="an unknown role"),
        pytest.param({"note": "x" * 1025}, "note", "1025 characters", id="a long note"),
        pytest.param(
            {"provider_ids": [424242]}, "provider_ids", "424242 not found", id="no provider"
        ),
        pytest.param({"provider_ids": [0]}, "provider_ids", "begin at 1", id="not an id"),
        pytest.param(
            {"provider_ids": range(1, 102)}, "provider_ids", "at most 100", id="too many ids"
        ),
        pytest.param(
            {"role": role_pb2.ROLE_ADMIN, "provider_ids": [1]},
            "provider_ids",
            "must be empty for the role admin",
            id="a limited admin",
        ),
        pytest.param(
            {"expire_time": Timestamp(seconds=1)}, "expire_time", "in the future", id="the past"
        ),
        pytest.param(
            {"expire_time": Timestamp(seconds=10**15)},
            "expire_time",
            "not a time before 10000",
            id="no time",
        ),
        pytest.param({"requests_per_second": -1}, "requests_per_second", "from 1", id="a rate"),
        pytest.param({"burst": 100_001}, "burst", "to 100000", id="a burst"),
    ],
)
def test_an_invalid_field_is_named(
    keys: ApiKeyServiceStub, fields: dict[str, Any], field: str, description: str
) -> None:
    request = pb.CreateApiKeyRequest(api_key=pb.ApiKey(**{"role": VIEWER, **fields}))
    rejection = error_of(keys.CreateApiKey, request)

    [violation] = rejection.violations
    assert violation.field == f"api_key.{field}"
    assert description in violation.description


@pytest.mark.parametrize("seconds", [-1, 367 * 86400])
def test_an_overlap_has_limits(keys: ApiKeyServiceStub, seconds: int) -> None:
    rotation = pb.RotateApiKeyRequest(id=create(keys).api_key.id)
    rotation.overlap.FromSeconds(seconds)
    rejection = error_of(keys.RotateApiKey, rotation)

    assert rejection.fields == ["overlap"]
    assert "366 days" in rejection.message


@pytest.mark.parametrize("key_id", ["aaaabbbb", "x", "a\0aaaaaa", "x" * 10_000, "settings"])
def test_an_unknown_id_is_not_found(keys: ApiKeyServiceStub, key_id: str) -> None:
    rejections = [
        error_of(keys.GetApiKey, pb.GetApiKeyRequest(id=key_id)),
        error_of(keys.RevokeApiKey, pb.RevokeApiKeyRequest(id=key_id)),
        error_of(keys.RotateApiKey, pb.RotateApiKeyRequest(id=key_id)),
        error_of(keys.UpdateApiKey, pb.UpdateApiKeyRequest(api_key=pb.ApiKey(id=key_id))),
    ]

    assert {one.reason for one in rejections} == {"API_KEY_NOT_FOUND"}
    assert all(len(one.message) < 100 for one in rejections)


def test_another_etag_changes_nothing(keys: ApiKeyServiceStub) -> None:
    key = create(keys).api_key
    stale = '"000000000000000000000000"'
    rejections = [
        error_of(keys.RevokeApiKey, pb.RevokeApiKeyRequest(id=key.id, etag=stale)),
        error_of(keys.RotateApiKey, pb.RotateApiKeyRequest(id=key.id, etag=stale)),
        error_of(
            keys.UpdateApiKey,
            pb.UpdateApiKeyRequest(api_key=pb.ApiKey(id=key.id, note="x", etag=stale)),
        ),
    ]

    assert {one.reason for one in rejections} == {"ETAG_MISMATCH"}
    assert keys.GetApiKey(pb.GetApiKeyRequest(id=key.id)) == key


def test_all_of_it_works_on_both_databases(
    portal_on_each: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_keys, "REMEMBERED_S", 0.0)
    keys = ApiKeyServiceStub(portal_on_each.channel)
    made = create(keys, role=role_pb2.ROLE_REGISTRAR, note="both")
    rotation = pb.RotateApiKeyRequest(id=made.api_key.id)
    rotation.overlap.FromSeconds(60)
    rotated = keys.RotateApiKey(rotation)
    found = keys.GetApiKey(pb.GetApiKeyRequest(id=made.api_key.id))

    assert found == rotated.api_key
    assert (found.role, found.note) == (role_pb2.ROLE_REGISTRAR, "both")
    assert [one.role for one in portal_on_each.keyring.list()] == [Role.REGISTRAR]

"""Stored responses: what they contain, their quota, and their expiry in batches."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
import trustme
from sqlalchemy import Engine, text

from portal_server.catalog.idempotency import ExpiryTask, Idempotency
from portal_server.catalog.quota import Quota
from portal_server.domain.calls import Call, IdempotencyKey
from portal_server.domain.client_type import ClientTypeDraft, GrantType, ResponseType
from portal_server.domain.errors import Exhausted, Precondition, Reason, Unavailable
from portal_server.domain.lists import PageRange
from portal_server.domain.provider import ProviderDraft, ProviderType
from portal_server.storage.store import Store
from tests.support.catalog import CALL, Catalog

DRAFT = ProviderDraft(name="p", type=ProviderType.OTHER, well_known_uri="https://idp.test/x")


def create(store: Store, number: int, keep: timedelta = timedelta(days=1)) -> int:
    call = with_id(number, "")
    return Catalog(store, Idempotency(store, keep)).providers.create(call, DRAFT).id


def kept(store: Store) -> int:
    return len(store.read_snapshot(CALL, lambda tx: tx.responses.oldest(0, 10_000)))


def test_only_expired_responses_are_deleted_in_batches(store: Store) -> None:
    for number in range(130):
        create(store, number)
    nothing = Idempotency(store, timedelta(days=1))
    everything = Idempotency(store, timedelta(0))

    assert not nothing.delete_expired()
    assert kept(store) == 130
    assert everything.delete_expired()
    assert kept(store) == 30
    assert not everything.delete_expired()
    assert kept(store) == 0


def test_an_expired_response_is_replaced_by_the_new_one(store: Store) -> None:
    first = create(store, 1)
    second = create(store, 1, keep=timedelta(0))

    assert second != first
    assert create(store, 1) == second
    assert kept(store) == 1


def test_old_responses_are_found_after_one_that_was_renewed(store: Store) -> None:
    for number in range(3):
        create(store, number)
    old = datetime.now(UTC)
    time.sleep(0.5)  # longer than the last two lines before the assertions take
    renewed = create(store, 0, keep=timedelta(0))
    idempotency = Idempotency(store, datetime.now(UTC) - old)
    idempotency.delete_expired()

    assert kept(store) == 1
    assert create(store, 0) == renewed


def test_expiry_goes_on_after_a_failure(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    idempotency = Idempotency(store, timedelta(seconds=0.01))
    create(store, 1)
    forget, failures = (
        idempotency.delete_expired,
        iter([Unavailable(Reason.STORAGE_UNAVAILABLE, "away")]),
    )

    def fails_once() -> bool:
        for failure in failures:
            raise failure
        return forget()

    monkeypatch.setattr(idempotency, "delete_expired", fails_once)
    expiry = ExpiryTask(idempotency)
    expiry.start()
    deadline = datetime.now(UTC) + timedelta(seconds=5)
    while kept(store):
        assert datetime.now(UTC) < deadline
    expiry.stop()


# What is kept


def with_id(number: int, key_id: str = "k") -> Call:
    digest = sha256(str(number).encode()).digest()
    return Call(idempotency=IdempotencyKey(digest, b"f", key_id))


def set_response(engine: Engine, column: str, value: object) -> None:
    with engine.begin() as connection:
        statement = f"UPDATE answer SET {column} = :value"  # noqa: S608
        connection.execute(text(statement), {"value": value})


# As a release before may have written it: one field more, none that came later.
KEPT = b"""{"name":"p","type":"okta","well_known_uri":"https://idp.test/x","of_yesterday":1,
"tls_insecure_skip_verify":false,"registration_access_token":"set","id":7,
"uid":"0e9ae9b4-7e6c-4ef1-a0ab-5d3d1b0b6b6e","create_time":"2026-11-24T12:00:00.000001Z",
"update_time":"2026-11-24T12:00:00.000001Z"}"""


def test_a_result_that_was_stored_yesterday_can_be_read(store: Store, engine: Engine) -> None:
    create(store, 1)
    set_response(engine, "answer", KEPT)
    again = Catalog(store).providers.create(with_id(1), DRAFT)

    assert (again.id, again.type) == (7, ProviderType.OKTA)
    assert again.create_time == datetime(2026, 11, 24, 12, 0, 0, 1, tzinfo=UTC)
    assert again.registration_access_token == "set"  # noqa: S105


def test_a_stored_response_has_the_etag_but_not_the_secret(store: Store, engine: Engine) -> None:
    draft = replace(DRAFT, registration_access_token="s3cret-w0rd")  # noqa: S106
    first = Catalog(store).providers.create(with_id(1), draft)
    again = Catalog(store).providers.create(with_id(1), draft)
    with engine.connect() as connection:
        [kept_as] = connection.execute(text("SELECT answer FROM answer")).scalars()

    assert again == first.redacted()
    assert again.etag == first.etag
    assert b"s3cret" not in bytes(kept_as)


def test_a_write_that_the_previous_version_has_done_is_not_repeated(
    store: Store, engine: Engine
) -> None:
    catalog = Catalog(store)
    created = catalog.providers.create(with_id(1), DRAFT)
    set_response(engine, "key_id", None)
    set_response(engine, "answer", b"\x08\x01\x12\x01p")
    with pytest.raises(Precondition) as error:
        catalog.providers.create(with_id(1), DRAFT)

    assert error.value.reason == "RESPONSE_NOT_READABLE"
    assert [p.id for p in catalog.providers.list(CALL, (), PageRange(limit=5)).items] == [
        created.id
    ]


def test_a_delete_that_the_previous_version_has_done_is_confirmed(
    store: Store, engine: Engine
) -> None:
    catalog = Catalog(store)
    id_ = catalog.providers.create(CALL, DRAFT).id
    catalog.providers.delete(with_id(1), id_)
    set_response(engine, "key_id", None)
    set_response(engine, "answer", b"")
    catalog.providers.delete(with_id(1), id_)


def test_the_largest_resources_fit_into_a_stored_response(store: Store) -> None:
    catalog = Catalog(store)
    provider = replace(
        DRAFT,
        name="\x01" * 255,
        well_known_uri="https://idp.test/".ljust(2048, "x"),
        registration_access_token="\x01" * 4096,
        registration_endpoint="https://idp.test/".ljust(2048, "x"),
        ca_certificate=trustme.CA().cert_pem.bytes().decode().ljust(65536, "\n"),
        credential_client_id="\x01" * 255,
        credential_client_secret="\x01" * 4096,
    )
    client_type = ClientTypeDraft(
        name="\x01" * 255,
        description="\x01" * 4096,
        response_types=tuple(ResponseType),
        grant_types=tuple(GrantType),
    )
    id_ = catalog.providers.create(with_id(1), provider).id
    assert catalog.client_types.create(with_id(2), id_, client_type).description == "\x01" * 4096


# How much is kept


def test_a_key_over_its_quota_is_rejected_before_anything_is_done(store: Store) -> None:
    catalog = Catalog(store, Idempotency(store, quota=Quota(timedelta(days=1), 1400)))
    for number in range(3):
        catalog.providers.create(with_id(number), DRAFT)
    with pytest.raises(Exhausted) as error:
        catalog.providers.create(with_id(3), DRAFT)
    made = len(catalog.providers.list(CALL, (), PageRange(limit=9)).items)

    assert error.value.reason == "KEPT_RESPONSES_QUOTA"
    assert made == 3
    assert catalog.providers.create(with_id(0), DRAFT).name == "p"
    catalog.providers.create(with_id(3, "another"), DRAFT)
    catalog.providers.create(CALL, DRAFT)
    assert len(catalog.providers.list(CALL, (), PageRange(limit=9)).items) == made + 2


def test_responses_stored_before_the_start_count(store: Store) -> None:
    for number in range(4):
        Catalog(store).providers.create(with_id(number), DRAFT)
    quota = Quota(timedelta(days=1), 1500)
    idempotency = Idempotency(store, quota=quota)
    idempotency._started += timedelta(minutes=2)  # noqa: SLF001 - what is kept is older than it
    idempotency.count_stored()
    now = datetime.now(UTC)

    assert quota.is_used_up("k", now)
    assert not quota.is_used_up("another", now)
    assert not quota.is_used_up("k", now + timedelta(days=1, minutes=2))


def test_expired_responses_after_those_of_the_future_are_deleted(
    store: Store, engine: Engine
) -> None:
    for number in range(100):
        create(store, number)
    set_response(engine, "create_time", datetime.now(UTC) + timedelta(days=365))
    for number in range(100, 170):
        create(store, number)
    past = datetime.now(UTC) - timedelta(days=2)
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE answer SET create_time = :past WHERE create_time < :future"),
            {"past": past, "future": past + timedelta(days=10)},
        )
    create(store, 170)
    idempotency = Idempotency(store)

    assert idempotency.delete_expired()
    assert not idempotency.delete_expired()
    assert kept(store) == 101

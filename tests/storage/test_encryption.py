"""Secrets: each is encrypted for its column and row, and nothing else decrypts it."""

import base64
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from portal_server.catalog.updates import Change
from portal_server.domain.errors import Precondition, Reason
from portal_server.domain.fields import Sealed
from portal_server.domain.provider import CredentialType, Provider, ProviderDraft, ProviderType
from portal_server.storage.encryption import (
    SecretColumn,
    SecretNotReadable,
    Vault,
    key_id,
    new_key,
    parse_key,
)
from portal_server.storage.rows.secrets import Piece
from portal_server.storage.sql.engine import open_engine, parse_url
from portal_server.storage.sql.migrations import migrate
from portal_server.storage.store import Store
from portal_server.storage.stored_secrets import KeyMissing, require_keys, unknown_key
from tests.support.catalog import CALL, KEY, VAULT, Catalog

OLD, NEW = KEY, bytes(32)
NO_KEY = Vault()
UID, OTHER_UID = "0193b1a6-8a54-7f3e-9c1d-2b7a4e5f6a7b", "0193b1a6-8a54-7f3e-9c1d-2b7a4e5f6a7c"
TOKEN, SECRET = "the-registration-token", "the-client-secret"
DRAFT = ProviderDraft(
    name="p",
    type=ProviderType.KEYCLOAK,
    well_known_uri="https://idp.test/x",
    registration_access_token=TOKEN,
    credential_type=CredentialType.CLIENT_CREDENTIALS,
    credential_client_id="portal",
    credential_client_secret=SECRET,
)


def opened(provider: Provider, vault: Vault = VAULT) -> tuple[str, str]:
    return (
        vault.open(SecretColumn.PROVIDER_TOKEN, provider.uid, provider.registration_access_token),
        vault.open(
            SecretColumn.PROVIDER_CLIENT_SECRET, provider.uid, provider.credential_client_secret
        ),
    )


def stored(engine: Engine, column: str = "registration_access_token") -> list[str]:
    with engine.connect() as connection:
        return list(connection.scalars(text(f"SELECT {column} FROM provider ORDER BY id")))  # noqa: S608


def overwrite(engine: Engine, id_: int, secret: str) -> None:
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE provider SET registration_access_token = :secret WHERE id = :id"),
            {"secret": secret, "id": id_},
        )


# The vault


@pytest.mark.parametrize(
    "secret", ["<secret>", "größe \N{GRINNING FACE}", "x" * 10_000, "enc:v1:00:"]
)
def test_what_was_sealed_opens_in_its_place(secret: str) -> None:
    sealed = VAULT.seal(SecretColumn.CLIENT_SECRET, UID, secret)

    assert VAULT.open(SecretColumn.CLIENT_SECRET, UID, sealed) == secret
    assert secret not in sealed
    assert sealed.startswith(f"enc:v1:{key_id(KEY)}:")


def test_an_empty_secret_stays_empty_and_needs_no_key() -> None:
    assert NO_KEY.seal(SecretColumn.CLIENT_SECRET, UID, "") == ""
    assert NO_KEY.open(SecretColumn.CLIENT_SECRET, UID, Sealed()) == ""


def test_one_secret_is_never_sealed_alike_twice() -> None:
    assert len({VAULT.seal(SecretColumn.CLIENT_SECRET, UID, "t") for _ in range(100)}) == 100


@pytest.mark.parametrize(
    ("column", "uid"), [(SecretColumn.CLIENT_TOKEN, UID), (SecretColumn.CLIENT_SECRET, OTHER_UID)]
)
def test_a_copy_in_another_column_or_row_does_not_open(column: SecretColumn, uid: str) -> None:
    copied = VAULT.seal(SecretColumn.CLIENT_SECRET, UID, "the secret")
    for use in (VAULT.open, VAULT.stored):
        with pytest.raises(SecretNotReadable, match=rf"{column} of {uid} ") as caught:
            use(column, uid, copied)
        assert "the secret" not in str(caught.value)


@pytest.mark.parametrize("change", ["", "A", "AAAA", "!", "é"])
def test_a_sealed_text_that_was_changed_does_not_open(change: str) -> None:
    sealed = VAULT.seal(SecretColumn.CLIENT_SECRET, UID, "t")
    changed = Sealed(sealed[:-4] + change)
    with pytest.raises(SecretNotReadable):
        VAULT.open(SecretColumn.CLIENT_SECRET, UID, changed)


def test_without_a_key_nothing_is_sealed() -> None:
    with pytest.raises(Precondition, match="PORTAL_ENCRYPTION_KEYS") as caught:
        NO_KEY.seal(SecretColumn.CLIENT_SECRET, UID, "the secret")

    assert caught.value.reason is Reason.NO_ENCRYPTION_KEY
    assert "the secret" not in str(caught.value)


def test_an_unknown_key_is_named_by_its_id() -> None:
    sealed = VAULT.seal(SecretColumn.CLIENT_SECRET, UID, "t")
    with pytest.raises(Precondition, match=rf"the key {key_id(KEY)}, which") as caught:
        Vault([NEW]).open(SecretColumn.CLIENT_SECRET, UID, sealed)

    assert caught.value.reason is Reason.NO_ENCRYPTION_KEY


def test_the_first_key_encrypts_and_all_decrypt() -> None:
    both = Vault([NEW, OLD])
    old, new = (
        VAULT.seal(SecretColumn.CLIENT_SECRET, UID, "t"),
        both.seal(SecretColumn.CLIENT_SECRET, UID, "t"),
    )

    assert new.startswith(f"enc:v1:{key_id(NEW)}:")
    assert [both.open(SecretColumn.CLIENT_SECRET, UID, one) for one in (old, new)] == ["t", "t"]


def test_a_stored_text_without_the_prefix_is_clear() -> None:
    assert NO_KEY.open(SecretColumn.PROVIDER_TOKEN, UID, Sealed("clear")) == "clear"


def test_what_was_not_stored_opens_as_it_is() -> None:
    assert VAULT.open(SecretColumn.PROVIDER_TOKEN, UID, "enc:v1:x") == "enc:v1:x"


def test_a_new_key_is_one_and_unlike_any_other() -> None:
    keys = {parse_key(new_key()) for _ in range(10)}

    assert {len(key) for key in keys} == {32}
    assert len(keys) == 10


def test_a_key_may_have_either_alphabet_of_base64() -> None:
    key = bytes([0xFB, 0xEF, 0xFF] * 10 + [0, 0])

    assert parse_key(base64.b64encode(key).decode()) == key
    assert parse_key(base64.urlsafe_b64encode(key).decode()) == key


@pytest.mark.parametrize("given", ["", "not-base64!", "AAAA", "é" * 44, "A" * 42 + "==", "A" * 48])
def test_what_is_not_a_key_is_rejected_without_quoting_it(given: str) -> None:
    with pytest.raises(ValueError, match="is not the base64 of 32 bytes") as caught:
        parse_key(given)

    assert not given or given not in str(caught.value)


# Rows


def test_a_secret_of_a_row_is_encrypted_and_read_sealed(engine: Engine, catalog: Catalog) -> None:
    created = catalog.providers.create(CALL, DRAFT)
    read = catalog.providers.get(CALL, created.id)

    assert created == read
    assert isinstance(created.registration_access_token, Sealed)
    assert isinstance(read.credential_client_secret, Sealed)
    assert opened(read) == (TOKEN, SECRET)
    assert stored(engine) == [read.registration_access_token]
    assert stored(engine)[0].startswith("enc:v1:")
    assert stored(engine, "credential_client_secret")[0].startswith("enc:v1:")


def test_many_rows_of_one_transaction_are_encrypted_too(store: Store, engine: Engine) -> None:
    catalog = Catalog(store)
    with ThreadPoolExecutor(8) as pool:
        created = list(pool.map(lambda _: catalog.providers.create(CALL, DRAFT), range(40)))

    assert {opened(one) for one in created} == {(TOKEN, SECRET)}
    assert len(set(stored(engine))) == 40
    assert TOKEN not in "".join(stored(engine))


def test_an_update_of_another_field_keeps_the_stored_text(engine: Engine, catalog: Catalog) -> None:
    created = catalog.providers.create(CALL, DRAFT)
    before = stored(engine)
    updated = catalog.providers.update(CALL, created.id, Change(DRAFT, {"name"}))

    assert stored(engine) == before
    assert opened(updated) == (TOKEN, SECRET)
    assert catalog.providers.get(CALL, created.id) == updated


def test_a_new_secret_replaces_the_stored_one(catalog: Catalog) -> None:
    created = catalog.providers.create(CALL, DRAFT)
    change = Change(
        replace(DRAFT, registration_access_token="new"),  # noqa: S106
        {"registration_access_token"},
    )

    assert opened(catalog.providers.update(CALL, created.id, change)) == ("new", SECRET)


def test_a_secret_copied_from_another_row_is_not_written(catalog: Catalog) -> None:
    one, other = (catalog.providers.create(CALL, DRAFT) for _ in range(2))
    copied = replace(DRAFT, registration_access_token=one.registration_access_token)
    with pytest.raises(SecretNotReadable):
        catalog.providers.update(CALL, other.id, Change(copied, {"registration_access_token"}))
    with pytest.raises(SecretNotReadable):
        catalog.providers.create(CALL, copied)

    assert catalog.providers.get(CALL, other.id) == other


def test_a_row_with_a_copied_secret_can_be_read_but_not_its_secret(
    engine: Engine, catalog: Catalog
) -> None:
    one, other = (catalog.providers.create(CALL, DRAFT) for _ in range(2))
    overwrite(engine, other.id, one.registration_access_token)
    read = catalog.providers.get(CALL, other.id)

    with pytest.raises(SecretNotReadable):
        opened(read)


def test_a_plain_text_secret_is_read_and_encrypted_by_the_next_write(
    engine: Engine, catalog: Catalog
) -> None:
    created = catalog.providers.create(CALL, DRAFT)
    overwrite(engine, created.id, "clear")
    read = catalog.providers.get(CALL, created.id)
    updated = catalog.providers.update(CALL, created.id, Change(DRAFT, {"name"}))

    assert opened(read)[0] == opened(updated)[0] == "clear"
    assert stored(engine)[0].startswith("enc:v1:")


def test_without_a_key_only_providers_without_secrets_are_stored(engine: Engine) -> None:
    catalog = Catalog(Store(engine))
    with pytest.raises(Precondition) as caught:
        catalog.providers.create(CALL, DRAFT)
    plain = ProviderDraft(name="p", type=ProviderType.OTHER, well_known_uri="https://idp.test/x")
    created = catalog.providers.create(CALL, plain)

    assert caught.value.reason is Reason.NO_ENCRYPTION_KEY
    assert catalog.providers.get(CALL, created.id) == created


def test_no_file_of_the_database_has_a_secret(tmp_path: Path) -> None:
    engine = open_engine(parse_url(f"sqlite:///{tmp_path}/portal.db"))
    migrate(engine)
    store = Store(engine, VAULT)
    catalog = Catalog(store)
    created = catalog.providers.create(CALL, DRAFT)
    catalog.providers.update(CALL, created.id, Change(DRAFT, {"registration_access_token"}))
    with_log = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    store.close()
    closed = b"".join(file.read_bytes() for file in tmp_path.iterdir())

    for found in (with_log, closed):
        assert created.uid.encode() in found
        assert TOKEN.encode() not in found
        assert SECRET.encode() not in found


# Another key


def rotate(store: Store, limit: int = 100) -> list[Piece]:
    pieces: list[Piece] = []
    while piece := store.write(
        CALL,
        lambda tx: tx.secrets.encrypt_again("provider", pieces[-1].last if pieces else 0, limit),
    ):
        pieces.append(piece)
    return pieces


def test_all_secrets_are_encrypted_again_under_the_first_key(
    engine: Engine, catalog: Catalog
) -> None:
    created = [catalog.providers.create(CALL, DRAFT) for _ in range(5)]
    overwrite(engine, created[0].id, "clear")
    both = Vault([NEW, OLD])
    store = Store(engine, both)
    pieces = rotate(store, limit=2)
    new_only = Vault([NEW])
    read = [Catalog(store).providers.get(CALL, one.id) for one in created]

    assert [piece.encrypted for piece in pieces] == [4, 4, 2]
    assert [opened(one, new_only) for one in read] == [("clear", SECRET)] + [(TOKEN, SECRET)] * 4
    assert [one.etag for one in read] == [one.etag for one in created]
    assert rotate(store) == []


def test_a_secret_that_cannot_be_read_does_not_stop_the_others(
    engine: Engine, catalog: Catalog
) -> None:
    created = [catalog.providers.create(CALL, DRAFT) for _ in range(3)]
    overwrite(engine, created[1].id, created[0].registration_access_token)
    [piece] = rotate(Store(engine, Vault([NEW, OLD])))

    # The whole row stays: 2 secrets of 2 rows.
    assert piece.encrypted == 4
    [problem] = piece.problems
    assert created[1].uid in problem


def test_rotation_without_the_old_key_names_it(engine: Engine, catalog: Catalog) -> None:
    catalog.providers.create(CALL, DRAFT)
    with pytest.raises(Precondition, match=f"the key {key_id(OLD)}"):
        rotate(Store(engine, Vault([NEW])))


# What a start requires


def test_a_database_without_secrets_needs_no_key(engine: Engine) -> None:
    require_keys(engine, NO_KEY)
    require_keys(engine, VAULT)


def test_a_database_without_a_schema_needs_no_key(database_url: str) -> None:
    engine = open_engine(parse_url(database_url))
    require_keys(engine, NO_KEY)
    engine.dispose()


def test_encrypted_secrets_need_their_key(engine: Engine, catalog: Catalog) -> None:
    catalog.providers.create(CALL, replace(DRAFT, registration_access_token=""))
    require_keys(engine, VAULT)
    require_keys(engine, Vault([NEW, OLD]))
    for vault in (NO_KEY, Vault([NEW])):
        with pytest.raises(KeyMissing, match=f"the key {key_id(OLD)}, which is not in"):
            require_keys(engine, vault)

    assert unknown_key(engine, NO_KEY) == key_id(OLD)


def test_plain_text_secrets_need_any_key(engine: Engine, catalog: Catalog) -> None:
    overwrite(engine, catalog.providers.create(CALL, DRAFT).id, "clear")
    with engine.begin() as connection:
        connection.execute(text("UPDATE provider SET credential_client_secret = ''"))
    require_keys(engine, Vault([NEW]))
    with pytest.raises(KeyMissing, match="no encryption key: set PORTAL_ENCRYPTION_KEYS"):
        require_keys(engine, NO_KEY)

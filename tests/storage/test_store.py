"""What the use cases and the store promise, on both databases."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from threading import Barrier
from uuid import UUID

import pytest
import trustme
from sqlalchemy import Engine, func, select, text, update

from portal_server.catalog.provider_details import ProviderDetail
from portal_server.catalog.updates import Change
from portal_server.domain.api_key import ApiKey
from portal_server.domain.client_type import CLIENT_TYPE as CLIENT_TYPE_FIELDS
from portal_server.domain.client_type import (
    ClientType,
    ClientTypeDraft,
    GrantType,
    OktaAppType,
    ResponseType,
    TokenEndpointAuthMethod,
)
from portal_server.domain.errors import Invalid, NotFound, PortalError, Precondition, Resource
from portal_server.domain.keys import Role
from portal_server.domain.lists import Comparison, Condition, PageRange
from portal_server.domain.provider import PROVIDER as PROVIDER_FIELDS
from portal_server.domain.provider import (
    CredentialType,
    Provider,
    ProviderDraft,
    ProviderType,
    check_provider,
)
from portal_server.storage.rows.client_types import ClientTypeRow
from portal_server.storage.sql.engine import open_engine
from portal_server.storage.store import Store, Transaction
from tests.support.catalog import CALL, Catalog, opened
from tests.support.keys import Keys

PROVIDER = ProviderDraft(name="p", type=ProviderType.KEYCLOAK, well_known_uri="https://idp.test/x")
CLIENT_TYPE = ClientTypeDraft(
    name="c", response_types=(ResponseType.CODE,), grant_types=(GrantType.PKCE,)
)
EQUALS, DIFFERS, HAS = Comparison.EQUALS, Comparison.DIFFERS, Comparison.HAS
EVERYTHING = PageRange(limit=1000)
GRIN = "\N{GRINNING FACE}"


def provider_of(catalog: Catalog) -> int:
    return catalog.providers.create(CALL, PROVIDER).id


def create(catalog: Catalog, provider_id: int, *drafts: ClientTypeDraft) -> list[int]:
    return [catalog.client_types.create(CALL, provider_id, draft).id for draft in drafts]


def named(catalog: Catalog, provider_id: int, *names: str) -> list[int]:
    return create(catalog, provider_id, *(replace(CLIENT_TYPE, name=name) for name in names))


def ids(
    catalog: Catalog,
    provider_id: int,
    *where: Condition,
    part: PageRange = EVERYTHING,
) -> list[int]:
    return [item.id for item in catalog.client_types.list(CALL, provider_id, where, part).items]


def names(catalog: Catalog, provider_id: int, *where: Condition) -> list[str]:
    page = catalog.client_types.list(CALL, provider_id, where, EVERYTHING)
    return [item.name for item in page.items]


# Ids and round trips


def test_an_id_is_never_used_again_even_after_the_newest_is_deleted(catalog: Catalog) -> None:
    provider = catalog.providers.create(CALL, PROVIDER)
    first = catalog.client_types.create(CALL, provider.id, CLIENT_TYPE)
    catalog.client_types.delete(CALL, provider.id, first.id)
    second = catalog.client_types.create(CALL, provider.id, CLIENT_TYPE)
    catalog.providers.delete(CALL, provider.id)

    assert second.id > first.id
    assert catalog.providers.create(CALL, PROVIDER).id > provider.id


def test_what_is_created_is_what_is_read(catalog: Catalog) -> None:
    provider = catalog.providers.create(CALL, PROVIDER)
    created = catalog.client_types.create(CALL, provider.id, CLIENT_TYPE)

    assert catalog.providers.get(CALL, provider.id) == provider
    assert catalog.client_types.get(CALL, provider.id, created.id) == created
    assert catalog.providers.list(CALL, (), EVERYTHING).items == [provider]
    assert catalog.client_types.list(CALL, provider.id, (), EVERYTHING).items == [created]
    assert catalog.providers.get_detail(CALL, provider.id) == ProviderDetail(provider, [created])


def test_each_field_of_a_provider_comes_back(catalog: Catalog) -> None:
    draft = ProviderDraft(
        name="a name",
        type=ProviderType.OKTA,
        well_known_uri="https://bücher.example/x",
        tls_insecure_skip_verify=True,
        registration_access_token="a secret",  # noqa: S106
        registration_endpoint="https://bücher.example/register",
        ca_certificate=trustme.CA().cert_pem.bytes().decode(),
        credential_type=CredentialType.CLIENT_CREDENTIALS,
        credential_client_id="portal",
        credential_client_secret="another secret",  # noqa: S106
    )
    read = opened(catalog.providers.get(CALL, catalog.providers.create(CALL, draft).id))

    assert {field: getattr(read, field) for field in PROVIDER_FIELDS} == {
        field: getattr(draft, field) for field in PROVIDER_FIELDS
    }
    assert UUID(read.uid).version == 7


def test_each_field_of_a_client_type_comes_back(catalog: Catalog) -> None:
    provider_id = provider_of(catalog)
    draft = ClientTypeDraft(
        name="a name",
        description="a text",
        response_types=(ResponseType.NONE, ResponseType.ID_TOKEN, ResponseType.CODE),
        grant_types=tuple(reversed(GrantType)),
        token_endpoint_auth_method=TokenEndpointAuthMethod.CLIENT_SECRET_POST,
        okta_app_type=OktaAppType.SERVICE,
    )
    [id_] = create(catalog, provider_id, draft)
    read = catalog.client_types.get(CALL, provider_id, id_)

    assert {field: getattr(read, field) for field in CLIENT_TYPE_FIELDS} == {
        field: getattr(draft, field) for field in CLIENT_TYPE_FIELDS
    }
    assert all(isinstance(word, ResponseType) for word in read.response_types)
    assert isinstance(read.okta_app_type, OktaAppType)
    assert read.provider_id == provider_id
    assert UUID(read.uid).version == 7


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("größe Ελλάδα 日本語", id="letters"),
        pytest.param(GRIN * 255, id="as many 4-byte characters as a name may have"),
        pytest.param("e\N{COMBINING ACUTE ACCENT} \N{LATIN SMALL LETTER E WITH ACUTE}", id="NFD"),
        pytest.param("100%_[a-z]*?", id="wildcards"),
        pytest.param('it\'s "so" `so`; DROP TABLE client_type; --', id="quotes"),
        pytest.param("a\\b\\\\c\\", id="backslashes"),
        pytest.param(":name %(name)s ? $1 {0}", id="parameters"),
        pytest.param(" \ta\r\nb\n ", id="blanks"),
        pytest.param("\x01\x1f\x7f\x80\N{ZERO WIDTH JOINER}\uffff", id="control characters"),
        pytest.param("null", id="null"),
    ],
)
def test_a_text_is_returned_unchanged_and_is_found_by_its_value(
    catalog: Catalog, text: str
) -> None:
    provider_id = provider_of(catalog)
    named(catalog, provider_id, "another")
    draft = replace(CLIENT_TYPE, name=text, description=text)
    [id_] = create(catalog, provider_id, draft)
    read = catalog.client_types.get(CALL, provider_id, id_)

    assert (read.name, read.description) == (text, text)
    assert ids(catalog, provider_id, Condition("name", EQUALS, text)) == [id_]
    assert ids(catalog, provider_id, Condition("name", HAS, text[1:-1] or text)) == [id_]
    assert names(catalog, provider_id, Condition("name", DIFFERS, text)) == ["another"]


def test_the_longest_texts_come_back(catalog: Catalog) -> None:
    draft = replace(
        PROVIDER,
        name=GRIN * 255,
        well_known_uri="https://idp.test/".ljust(2048, "x"),
        registration_access_token=GRIN * 4096,
    )
    provider = catalog.providers.create(CALL, draft)
    [id_] = create(catalog, provider.id, replace(CLIENT_TYPE, description=GRIN * 4096))

    assert catalog.providers.get(CALL, provider.id) == provider
    assert catalog.client_types.get(CALL, provider.id, id_).description == GRIN * 4096


def test_times_come_back_aware_in_utc_with_their_microseconds(
    store: Store, catalog: Catalog
) -> None:
    before = datetime.now(UTC)
    created = catalog.providers.create(CALL, PROVIDER)
    after = datetime.now(UTC)
    odd = datetime(2031, 7, 1, 1, 30, 59, 123457, timezone(timedelta(hours=2)))
    spec = check_provider(PROVIDER)
    id_ = store.write(CALL, lambda tx: tx.providers.add(spec, "u", odd)).id
    read = catalog.providers.get(CALL, id_)

    assert before <= catalog.providers.get(CALL, created.id).create_time <= after
    assert read.create_time == odd
    assert read.create_time.tzinfo is UTC
    assert read.create_time.isoformat() == "2031-06-30T23:30:59.123457+00:00"
    assert read.update_time.isoformat() == read.create_time.isoformat()


def test_a_row_that_something_else_has_changed_is_read_as_it_is(
    catalog: Catalog, engine: Engine
) -> None:
    """Objects are kept by all values of their rows, not by their ids and times."""
    provider = provider_of(catalog)
    [id_] = create(catalog, provider, CLIENT_TYPE)

    def read() -> list[ClientType]:
        [listed] = catalog.client_types.list(CALL, provider, (), EVERYTHING).items
        return [catalog.client_types.get(CALL, provider, id_), listed]

    assert {each.name for each in read()} == {"c"}
    table = ClientTypeRow.__table__  # type: ignore[attr-defined]
    changes = {"name": "other", "response_types": text("""'[ "id_token", "code" ]'""")}
    with engine.begin() as connection:
        connection.execute(update(table).values(changes))

    for changed in read():
        assert changed.name == "other"
        assert changed.response_types == (ResponseType.ID_TOKEN, ResponseType.CODE)


def test_a_name_may_be_given_twice(catalog: Catalog) -> None:
    provider_id = provider_of(catalog)
    made = named(catalog, provider_id, "same", "same")

    assert ids(catalog, provider_id, Condition("name", EQUALS, "same")) == made


# Not found


@pytest.mark.parametrize("id_", [0, -1, 12345, 2**31, 2**40, 2**63 - 1, -(2**63)])
def test_an_unknown_id_is_not_found_however_large_it_is(catalog: Catalog, id_: int) -> None:
    provider_id = provider_of(catalog)
    calls: list[Callable[[], object]] = [
        lambda: catalog.providers.get(CALL, id_),
        lambda: catalog.providers.get_detail(CALL, id_),
        lambda: catalog.providers.update(CALL, id_, Change(PROVIDER, PROVIDER_FIELDS)),
        lambda: catalog.providers.delete(CALL, id_),
        lambda: catalog.client_types.create(CALL, id_, CLIENT_TYPE),
        lambda: catalog.client_types.list(CALL, id_, (), EVERYTHING),
        lambda: catalog.client_types.get(CALL, id_, 1),
        lambda: catalog.client_types.get(CALL, provider_id, id_),
        lambda: catalog.client_types.update(
            CALL, provider_id, id_, Change(CLIENT_TYPE, CLIENT_TYPE_FIELDS)
        ),
        lambda: catalog.client_types.delete(CALL, provider_id, id_),
    ]

    if not id_:  # stands for "not given"
        del calls[4]
    for call in calls:
        with pytest.raises(NotFound) as error:
            call()
        assert error.value.id == id_
    assert catalog.providers.get(CALL, provider_id).id == provider_id


def test_a_create_without_a_provider_reports_this_with_all_other_violations(
    catalog: Catalog,
) -> None:
    with pytest.raises(Invalid) as error:
        catalog.client_types.create(CALL, 0, ClientTypeDraft(name=" "))

    fields = [violation.field for violation in error.value.violations]
    assert fields == ["provider_id", "name", "response_types", "grant_types"]


def test_a_client_type_is_reached_through_its_own_provider_alone(catalog: Catalog) -> None:
    owner, other = provider_of(catalog), provider_of(catalog)
    [id_] = create(catalog, owner, CLIENT_TYPE)
    before = catalog.client_types.get(CALL, owner, id_)

    with pytest.raises(NotFound, match=f"client type {id_} "):
        catalog.client_types.get(CALL, other, id_)
    with pytest.raises(NotFound, match=f"client type {id_} "):
        catalog.client_types.update(
            CALL, other, id_, Change(replace(CLIENT_TYPE, name="n"), {"name"})
        )
    with pytest.raises(NotFound, match=f"client type {id_} "):
        catalog.client_types.delete(CALL, other, id_)
    assert ids(catalog, other) == []
    assert catalog.client_types.get(CALL, owner, id_) == before


def test_deleting_a_provider_deletes_only_its_own_client_types(
    catalog: Catalog, engine: Engine
) -> None:
    gone, stays = provider_of(catalog), provider_of(catalog)
    [created] = create(catalog, gone, CLIENT_TYPE)
    [other] = create(catalog, stays, CLIENT_TYPE)
    catalog.providers.delete(CALL, gone)

    with pytest.raises(NotFound, match="provider"):
        catalog.client_types.get(CALL, gone, created)
    assert ids(catalog, stays) == [other]
    assert rows_of_client_types(engine) == 1


def rows_of_client_types(engine: Engine) -> int:
    with engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(ClientTypeRow)).scalar_one()


def test_what_is_deleted_is_not_found_again(catalog: Catalog) -> None:
    provider_id = provider_of(catalog)
    [id_] = create(catalog, provider_id, CLIENT_TYPE)
    catalog.client_types.delete(CALL, provider_id, id_)

    with pytest.raises(NotFound, match="client type"):
        catalog.client_types.delete(CALL, provider_id, id_)
    catalog.providers.delete(CALL, provider_id)
    with pytest.raises(NotFound, match="provider"):
        catalog.providers.delete(CALL, provider_id)


# Lists


def test_a_list_is_read_page_by_page_in_the_order_of_ids(catalog: Catalog) -> None:
    provider_id = provider_of(catalog)
    made = named(catalog, provider_id, *"zyxwvut")
    pages: list[list[int]] = []
    after: int | None = 0
    while after is not None:
        page = catalog.client_types.list(CALL, provider_id, (), PageRange(limit=3, after=after))
        pages.append([item.id for item in page.items])
        after = page.next_after

    assert made == sorted(made)
    assert pages == [made[:3], made[3:6], made[6:]]


def test_an_update_moves_no_row_in_a_list(catalog: Catalog) -> None:
    provider_id = provider_of(catalog)
    made = named(catalog, provider_id, *"abcdef")
    providers = [provider_id, *(provider_of(catalog) for _ in range(5))]
    for id_ in reversed(made[:4]):
        catalog.client_types.update(
            CALL, provider_id, id_, Change(replace(CLIENT_TYPE, name="n"), {"name"})
        )
    for id_ in reversed(providers[:4]):
        catalog.providers.update(CALL, id_, Change(PROVIDER, {"name"}))

    assert ids(catalog, provider_id) == made
    assert [p.id for p in catalog.providers.get_detail(CALL, provider_id).client_types] == made
    assert [p.id for p in catalog.providers.list(CALL, (), EVERYTHING).items] == providers


def test_the_last_page_reports_so_when_it_is_full(catalog: Catalog) -> None:
    made = [provider_of(catalog) for _ in range(4)]
    first = catalog.providers.list(CALL, (), PageRange(limit=2))
    last = catalog.providers.list(CALL, (), PageRange(limit=2, after=first.next_after or 0))

    assert first.next_after == made[1]
    assert [provider.id for provider in last.items] == made[2:]
    assert last.next_after is None


def test_an_empty_list_has_one_empty_page(catalog: Catalog) -> None:
    page = catalog.providers.list(CALL, (), EVERYTHING)

    assert page.items == []
    assert page.next_after is None


def test_rows_that_come_and_go_move_nothing_between_two_pages(catalog: Catalog) -> None:
    provider_id = provider_of(catalog)
    made = named(catalog, provider_id, *"abcd")
    first = catalog.client_types.list(CALL, provider_id, (), PageRange(limit=2))
    catalog.client_types.delete(CALL, provider_id, made[0])
    catalog.client_types.delete(CALL, provider_id, made[1])
    [new] = named(catalog, provider_id, "e")

    assert first.next_after == made[1]
    assert ids(catalog, provider_id, part=PageRange(limit=5, after=made[1])) == [*made[2:], new]


@pytest.mark.parametrize(
    ("limit", "offset", "expected"),
    [
        pytest.param(2, 0, [0, 1], id="the first rows"),
        pytest.param(2, 2, [2, 3], id="the next"),
        pytest.param(2, 4, [4], id="the rest"),
        pytest.param(2, 5, [], id="past the end"),
        pytest.param(1, 3, [3], id="one in the middle"),
        pytest.param(1000, 1, [1, 2, 3, 4], id="more than there are"),
        pytest.param(1000, 1000 * (2**31 - 2), [], id="the last page that can be asked for"),
    ],
)
def test_a_list_is_read_from_an_offset(
    catalog: Catalog, limit: int, offset: int, expected: list[int]
) -> None:
    provider_id, other = provider_of(catalog), provider_of(catalog)
    made = []
    for _ in range(5):
        made += create(catalog, provider_id, CLIENT_TYPE)
        create(catalog, other, CLIENT_TYPE)

    found = ids(catalog, provider_id, part=PageRange(limit=limit, offset=offset))
    assert found == [made[place] for place in expected]


@pytest.mark.parametrize("after", [2**31, 2**63 - 1])
def test_a_page_after_the_last_id_there_can_be_is_empty(catalog: Catalog, after: int) -> None:
    provider_id = provider_of(catalog)
    named(catalog, provider_id, "a")

    assert ids(catalog, provider_id, part=PageRange(limit=5, after=after)) == []


def test_pages_and_conditions_go_together(catalog: Catalog) -> None:
    provider_id = provider_of(catalog)
    made = named(catalog, provider_id, *"abababab")
    a = Condition("name", EQUALS, "a")
    page = catalog.client_types.list(CALL, provider_id, [a], PageRange(limit=2, after=made[0]))

    assert [item.id for item in page.items] == [made[2], made[4]]
    assert page.next_after == made[4]
    assert ids(catalog, provider_id, a, part=PageRange(limit=9, offset=3)) == [made[6]]


NAMES = ["alpha", "Alpha", "ALPHA", "100%", "1000", "a_c", "abc", "it's", '"q"', "a\\b", "ä", "Ä"]


@pytest.mark.parametrize(
    ("comparison", "value", "found"),
    [
        pytest.param(EQUALS, "alpha", ["alpha"], id="= keeps case"),
        pytest.param(EQUALS, "Ä", ["Ä"], id="= keeps case outside ASCII"),
        pytest.param(EQUALS, "alph", [], id="= is all of it"),
        pytest.param(EQUALS, "100%", ["100%"], id="= and %"),
        pytest.param(EQUALS, "a_c", ["a_c"], id="= and _"),
        pytest.param(EQUALS, "", [], id="= nothing"),
        pytest.param(DIFFERS, "alpha", [n for n in NAMES if n != "alpha"], id="!= keeps case"),
        pytest.param(DIFFERS, "", NAMES, id="!= nothing"),
        pytest.param(HAS, "lph", ["alpha", "Alpha"], id=": is a part"),
        pytest.param(HAS, "A", ["Alpha", "ALPHA"], id=": keeps case"),
        pytest.param(HAS, "ä", ["ä"], id=": keeps case outside ASCII"),
        pytest.param(HAS, "%", ["100%"], id=": and %"),
        pytest.param(HAS, "_", ["a_c"], id=": and _"),
        pytest.param(HAS, "0%", ["100%"], id=": and % at the end"),
        pytest.param(HAS, "'", ["it's"], id=": and a quote"),
        pytest.param(HAS, '"', ['"q"'], id=": and a double quote"),
        pytest.param(HAS, "\\", ["a\\b"], id=": and a backslash"),
        pytest.param(HAS, "a\\", ["a\\b"], id=": and a backslash at the end"),
        pytest.param(HAS, "/", [], id=": and a slash"),
        pytest.param(HAS, "alphabet", [], id=": and more than all"),
        pytest.param(HAS, GRIN, [], id=": and a wide character"),
        pytest.param(HAS, "", NAMES, id=": and nothing, which every text has"),
    ],
)
def test_a_condition_on_a_text(
    catalog: Catalog, comparison: Comparison, value: str, found: list[str]
) -> None:
    provider_id = provider_of(catalog)
    named(catalog, provider_id, *NAMES)

    assert names(catalog, provider_id, Condition("name", comparison, value)) == found


WORDS = [
    replace(CLIENT_TYPE, name="none"),
    replace(CLIENT_TYPE, name="web", okta_app_type=OktaAppType.WEB),
    replace(
        CLIENT_TYPE,
        name="native",
        okta_app_type=OktaAppType.NATIVE,
        response_types=(ResponseType.ID_TOKEN,),
        grant_types=(GrantType.DEVICE_CODE, GrantType.AUTHORIZATION_CODE),
        token_endpoint_auth_method=TokenEndpointAuthMethod.CLIENT_SECRET_BASIC,
    ),
    replace(
        CLIENT_TYPE,
        name="web too",
        okta_app_type=OktaAppType.WEB,
        response_types=(ResponseType.NONE, ResponseType.TOKEN),
        token_endpoint_auth_method=TokenEndpointAuthMethod.CLIENT_SECRET_POST,
    ),
]


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        pytest.param(("okta_app_type", EQUALS, "web"), ["web", "web too"], id="="),
        pytest.param(("okta_app_type", DIFFERS, "web"), ["none", "native"], id="!= has the unset"),
        pytest.param(("okta_app_type", EQUALS, None), ["none"], id="= unset"),
        pytest.param(("okta_app_type", DIFFERS, None), ["web", "native", "web too"], id="!= unset"),
        pytest.param(("okta_app_type", EQUALS, "service"), [], id="= what none has"),
        pytest.param(
            ("token_endpoint_auth_method", EQUALS, "client_secret_post"), ["web too"], id="method"
        ),
        pytest.param(("token_endpoint_auth_method", EQUALS, None), ["none", "web"], id="no method"),
        pytest.param(("response_types", HAS, "code"), ["none", "web"], id=": and no part of it"),
        pytest.param(("response_types", HAS, "token"), ["web too"], id=": token, not id_token"),
        pytest.param(("response_types", HAS, "id_token"), ["native"], id=": id_token"),
        pytest.param(("response_types", HAS, "none"), ["web too"], id=": the first of several"),
        pytest.param(("grant_types", HAS, "device_code"), ["native"], id=": and _"),
        pytest.param(("grant_types", HAS, "authorization_code"), ["native"], id=": the last"),
        pytest.param(("grant_types", HAS, "pkce"), ["none", "web", "web too"], id=": several rows"),
        pytest.param(("grant_types", HAS, "implicit"), [], id=": what none has"),
    ],
)
def test_a_condition_on_words(
    catalog: Catalog, condition: tuple[str, Comparison, str | None], found: list[str]
) -> None:
    provider_id = provider_of(catalog)
    create(catalog, provider_id, *WORDS)

    assert names(catalog, provider_id, Condition(*condition)) == found


def test_all_conditions_must_hold(catalog: Catalog) -> None:
    provider_id = provider_of(catalog)
    create(catalog, provider_id, *WORDS)
    web = Condition("okta_app_type", EQUALS, "web")
    too = Condition("name", HAS, "too")
    code = Condition("response_types", HAS, "code")

    assert names(catalog, provider_id, web, too) == ["web too"]
    assert names(catalog, provider_id, web, code) == ["web"]
    assert names(catalog, provider_id, web, too, code) == []


def test_conditions_find_providers_too(catalog: Catalog) -> None:
    for type_ in ProviderType:
        catalog.providers.create(CALL, replace(PROVIDER, name=f"the {type_}", type=type_))
    okta = Condition("type", EQUALS, "okta")
    not_okta = Condition("type", DIFFERS, "okta")
    with_k = Condition("name", HAS, "k")

    def found(*where: Condition) -> list[str]:
        return [provider.name for provider in catalog.providers.list(CALL, where, EVERYTHING).items]

    assert found(okta) == ["the okta"]
    assert found(not_okta) == ["the keycloak", "the gluu", "the other"]
    assert found(with_k, not_okta) == ["the keycloak"]
    assert found(Condition("type", EQUALS, None)) == []


# Updates


def test_an_update_writes_its_fields_and_keeps_uid_and_create_time(catalog: Catalog) -> None:
    provider_id = provider_of(catalog)
    [id_] = create(catalog, provider_id, replace(WORDS[2], description="d"))
    before = catalog.client_types.get(CALL, provider_id, id_)
    written = catalog.client_types.update(
        CALL,
        provider_id,
        id_,
        Change(ClientTypeDraft(name="new", grant_types=(GrantType.PASSWORD,)), {"name"}),
    )

    assert written == replace(before, name="new", update_time=written.update_time)
    assert written.update_time > before.update_time
    assert catalog.client_types.get(CALL, provider_id, id_) == written


def test_an_update_can_clear_what_is_optional(catalog: Catalog) -> None:
    provider_id = provider_of(catalog)
    [id_] = create(catalog, provider_id, replace(WORDS[2], description="d"))
    written = catalog.client_types.update(
        CALL, provider_id, id_, Change(CLIENT_TYPE, CLIENT_TYPE_FIELDS)
    )

    assert written.description == ""
    assert written.okta_app_type is None
    assert written.token_endpoint_auth_method is None
    assert catalog.client_types.get(CALL, provider_id, id_) == written


def test_an_update_touches_no_other_row(catalog: Catalog) -> None:
    provider_id, other = provider_of(catalog), provider_of(catalog)
    first, second = named(catalog, provider_id, "a", "b")
    untouched = catalog.client_types.get(CALL, provider_id, second)
    other_provider = catalog.providers.get(CALL, other)
    catalog.client_types.update(
        CALL, provider_id, first, Change(replace(CLIENT_TYPE, name="n"), {"name"})
    )
    catalog.providers.update(CALL, provider_id, Change(replace(PROVIDER, name="n"), {"name"}))

    assert catalog.client_types.get(CALL, provider_id, second) == untouched
    assert catalog.providers.get(CALL, other) == other_provider


def test_an_update_of_a_provider_returns_it_with_its_client_types(catalog: Catalog) -> None:
    provider = catalog.providers.create(CALL, replace(PROVIDER, registration_access_token="t"))  # noqa: S106
    made = named(catalog, provider.id, "a", "b")
    new = replace(PROVIDER, name="n", tls_insecure_skip_verify=True)
    detail = catalog.providers.update_detail(
        CALL, provider.id, Change(new, {"name", "tls_insecure_skip_verify"})
    )

    written = detail.provider
    assert written == replace(
        provider, name="n", tls_insecure_skip_verify=True, update_time=written.update_time
    )
    assert written.update_time > provider.update_time
    assert [client_type.id for client_type in detail.client_types] == made
    assert catalog.providers.get_detail(CALL, provider.id) == detail


def test_update_time_grows_with_each_update(catalog: Catalog) -> None:
    provider_id = provider_of(catalog)
    times = [
        catalog.providers.update(CALL, provider_id, Change(PROVIDER, {"name"})).update_time
        for _ in range(5)
    ]

    assert all(earlier < later for earlier, later in pairwise(times))


def test_an_update_that_is_rejected_changes_nothing(catalog: Catalog) -> None:
    provider_id = provider_of(catalog)
    [id_] = create(catalog, provider_id, CLIENT_TYPE)
    before = catalog.client_types.get(CALL, provider_id, id_)

    with pytest.raises(Invalid):
        catalog.client_types.update(
            CALL, provider_id, id_, Change(ClientTypeDraft(description="d"), {"name"})
        )
    assert catalog.client_types.get(CALL, provider_id, id_) == before


# Okta


def test_a_provider_becomes_okta_only_when_each_client_type_has_an_app_type(
    catalog: Catalog,
) -> None:
    provider_id, other = provider_of(catalog), provider_of(catalog)
    made = create(catalog, provider_id, *[CLIENT_TYPE] * 7, WORDS[1])
    create(catalog, other, CLIENT_TYPE)
    okta = replace(PROVIDER, type=ProviderType.OKTA)

    with pytest.raises(Precondition) as error:
        catalog.providers.update(CALL, provider_id, Change(okta, PROVIDER_FIELDS))
    assert str(error.value).endswith(": " + ", ".join(map(str, made[:5])))
    assert catalog.providers.get(CALL, provider_id).type is ProviderType.KEYCLOAK

    for id_ in made[:7]:
        catalog.client_types.update(CALL, provider_id, id_, Change(WORDS[1], {"okta_app_type"}))
    assert (
        catalog.providers.update(CALL, provider_id, Change(okta, {"type"})).type
        is ProviderType.OKTA
    )
    with pytest.raises(Invalid):
        catalog.client_types.create(CALL, provider_id, CLIENT_TYPE)
    with pytest.raises(Invalid):
        catalog.client_types.update(
            CALL, provider_id, made[0], Change(CLIENT_TYPE, {"okta_app_type"})
        )


# Transactions


class Broken(Exception):
    """What a work raises that has a bug."""


@pytest.mark.parametrize("error", [Broken(), NotFound(Resource.PROVIDER, 1)])
def test_a_job_that_raises_writes_nothing(store: Store, catalog: Catalog, error: Exception) -> None:
    spec = check_provider(PROVIDER)
    stays = catalog.providers.create(CALL, PROVIDER)

    def work(tx: Transaction) -> None:
        tx.providers.add(spec, "u", datetime.now(UTC))
        tx.providers.remove(stays.id)
        raise error

    with pytest.raises(type(error)) as raised:
        store.write(CALL, work)
    assert raised.value is error
    assert catalog.providers.list(CALL, (), EVERYTHING).items == [stays]
    assert catalog.providers.create(CALL, PROVIDER).id > stays.id


def test_a_job_that_raises_among_others_writes_nothing_and_fails_no_other(
    store: Store, catalog: Catalog
) -> None:
    spec = check_provider(PROVIDER)
    errors: list[Exception] = [Broken(), NotFound(Resource.PROVIDER, 1), Broken()]

    def writer(name: str, *errors: Exception) -> Callable[[], object]:
        def work(tx: Transaction) -> int:
            added = tx.providers.add(replace(spec, name=name), name, datetime.now(UTC))
            for error in errors:
                raise error
            return added.id

        def call() -> object:
            try:
                return store.write(CALL, work)
            except Broken as error:
                return error

        return call

    for n in range(8):
        good = [writer(f"good {n}.{number}") for number in range(5)]
        responses = at_once(*good, *(writer(f"bad {n}", error) for error in errors))
        made = {p.name: p.id for p in catalog.providers.list(CALL, (), EVERYTHING).items}
        catalog.providers.create(CALL, replace(PROVIDER, name=f"after {n}"))

        assert responses[5:] == errors
        assert responses[:5] == [made[f"good {n}.{number}"] for number in range(5)]
        assert not [name for name in made if name.startswith("bad")]


def test_a_write_is_visible_only_after_its_commit(store: Store, catalog: Catalog) -> None:
    spec = check_provider(PROVIDER)
    seen: list[int] = []

    def work(tx: Transaction) -> None:
        tx.providers.add(spec, "u", datetime.now(UTC))
        seen.append(len(tx.providers.list((), EVERYTHING).items))
        seen.append(len(catalog.providers.list(CALL, (), EVERYTHING).items))

    store.write(CALL, work)

    assert seen == [1, 0]
    assert len(catalog.providers.list(CALL, (), EVERYTHING).items) == 1


def test_a_read_sees_one_snapshot_despite_concurrent_writes(store: Store, catalog: Catalog) -> None:
    provider_id = provider_of(catalog)

    def work(tx: Transaction) -> tuple[list[ClientType], list[ClientType]]:
        before = tx.client_types.list(provider_id, (), PageRange(limit=1000)).items
        create(catalog, provider_id, CLIENT_TYPE)
        return before, tx.client_types.list(provider_id, (), PageRange(limit=1000)).items

    before, after = store.read_snapshot(CALL, work)

    assert (before, after) == ([], [])
    assert len(ids(catalog, provider_id)) == 1


# At once


def at_once(*works: Callable[[], object]) -> list[object]:
    """The result or the error of each work; they all start at the same time."""
    barrier = Barrier(len(works))

    def run(work: Callable[[], object]) -> object:
        barrier.wait()
        try:
            return work()
        except PortalError as error:
            return error

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(run, works))


def test_creates_in_8_threads_lose_nothing_and_get_different_ids(catalog: Catalog) -> None:
    provider_id = provider_of(catalog)

    def creator(thread: int) -> Callable[[], object]:
        return lambda: named(catalog, provider_id, *(f"{thread}/{n}" for n in range(15)))

    responses = at_once(*map(creator, range(8)))
    got = [id_ for response in responses if isinstance(response, list) for id_ in response]
    page = catalog.client_types.list(CALL, provider_id, (), EVERYTHING)

    assert len(got) == len(set(got)) == 8 * 15
    assert [item.id for item in page.items] == sorted(got)
    assert {item.name for item in page.items} == {f"{t}/{n}" for t in range(8) for n in range(15)}
    assert len({item.uid for item in page.items}) == 8 * 15


def test_updates_at_once_of_different_fields_are_all_kept(catalog: Catalog) -> None:
    provider_id = provider_of(catalog)
    for _ in range(10):
        [id_] = create(catalog, provider_id, CLIENT_TYPE)
        new = replace(WORDS[2], name="new", description="new", response_types=(ResponseType.NONE,))

        def updater(id_: int, new: ClientTypeDraft, field: str) -> Callable[[], object]:
            return lambda: catalog.client_types.update(CALL, provider_id, id_, Change(new, {field}))

        at_once(*(updater(id_, new, field) for field in CLIENT_TYPE_FIELDS))
        read = catalog.client_types.get(CALL, provider_id, id_)
        assert {f: getattr(read, f) for f in CLIENT_TYPE_FIELDS} == {
            f: getattr(new, f) for f in CLIENT_TYPE_FIELDS
        }


def test_a_client_type_created_while_its_provider_is_deleted_is_not_an_orphan(
    catalog: Catalog, engine: Engine
) -> None:
    responses: list[object] = []
    for _ in range(15):
        provider_id = provider_of(catalog)

        def creator(id_: int) -> Callable[[], object]:
            return lambda: catalog.client_types.create(CALL, id_, CLIENT_TYPE)

        def deleter(id_: int) -> Callable[[], object]:
            return lambda: catalog.providers.delete(CALL, id_)

        create_ = creator(provider_id)
        responses += at_once(create_, deleter(provider_id), create_, create_)

    assert rows_of_client_types(engine) == 0
    assert {type(response) for response in responses} <= {ClientType, NotFound, type(None)}
    assert catalog.providers.list(CALL, (), EVERYTHING).items == []


def test_no_client_type_without_app_type_slips_in_while_its_provider_becomes_okta(
    catalog: Catalog,
) -> None:
    okta = replace(PROVIDER, type=ProviderType.OKTA)
    for _ in range(15):
        provider_id = provider_of(catalog)

        def creator(id_: int) -> Callable[[], object]:
            return lambda: catalog.client_types.create(CALL, id_, CLIENT_TYPE)

        def changer(id_: int) -> Callable[[], object]:
            return lambda: catalog.providers.update(CALL, id_, Change(okta, {"type"}))

        create_ = creator(provider_id)
        responses = at_once(create_, changer(provider_id), create_)
        detail = catalog.providers.get_detail(CALL, provider_id)
        assert {type(a) for a in responses} <= {ClientType, Provider, Invalid, Precondition}
        assert detail.provider.type is not ProviderType.OKTA or detail.client_types == []


def test_one_of_two_deletions_at_once_finds_it_and_the_other_does_not(
    catalog: Catalog,
) -> None:
    for _ in range(10):
        provider_id = provider_of(catalog)

        def deleter(id_: int) -> Callable[[], object]:
            return lambda: catalog.providers.delete(CALL, id_)

        responses = at_once(deleter(provider_id), deleter(provider_id))
        assert sorted(type(response).__name__ for response in responses) == ["NoneType", "NotFound"]


# Keys


def test_a_key_is_stored_as_its_digest_and_is_valid_until_it_is_revoked(store: Store) -> None:
    keyring = Keys(store)
    text = keyring.create(Role.VIEWER, "a note")
    [kept] = keyring.list()

    assert text not in repr(kept)
    assert text.encode() not in kept.digest
    assert len(kept.digest) == 32
    assert (kept.role, kept.note, kept.revoke_time) == (Role.VIEWER, "a note", None)
    assert keyring.authenticate(CALL, [text]).role is Role.VIEWER

    revoked = keyring.revoke(kept.id)
    assert keyring.revoke(kept.id) == revoked
    with pytest.raises(PortalError, match="valid API key"):
        keyring.authenticate(CALL, [text])
    assert keyring.list() == [revoked]
    assert revoked.revoke_time
    assert revoked.revoke_time.tzinfo is UTC
    assert replace(revoked, revoke_time=None, update_time=kept.update_time) == kept


def test_keys_are_listed_oldest_first(store: Store) -> None:
    keyring = Keys(store)
    for number in range(6):
        keyring.create(Role.ADMIN, str(number))

    assert [key.note for key in keyring.list()] == list("012345")


def test_revoking_an_unknown_key_changes_nothing(store: Store) -> None:
    keyring = Keys(store)
    text = keyring.create(Role.ADMIN, "")

    for unknown in ("nosuchky", "", "settings", "x\0xxxxxx", "x" * 10_000):
        with pytest.raises(NotFound):
            keyring.revoke(unknown)
    assert keyring.authenticate(CALL, [text]).role is Role.ADMIN


def test_the_first_key_is_created_once(store: Store) -> None:
    keyring = Keys(store)
    first = keyring.create_first("first")

    assert first
    assert keyring.authenticate(CALL, [first]).role is Role.ADMIN
    assert keyring.create_first("second") is None
    assert [key.note for key in keyring.list()] == ["first"]


def test_the_first_key_is_created_once_even_by_two_processes_at_once(
    store: Store, engine: Engine
) -> None:
    other = open_engine(engine.url)
    rival = Keys(Store(other))
    time = datetime.now(UTC)
    key = ApiKey(
        id="aaaaaaaa",
        digest=b"digest",
        role=Role.ADMIN,
        note="first",
        create_time=time,
        update_time=time,
    )
    rivals: list[Future[str | None]] = []

    def work(tx: Transaction) -> list[ApiKey]:
        tx.api_keys.lock()
        before = tx.api_keys.all()
        rivals.append(pool.submit(rival.create_first, "second"))
        wait(rivals, 0.5)
        tx.api_keys.add(key)
        return before

    with ThreadPoolExecutor(1) as pool:
        before = store.write(CALL, work)
        made_by_rival = rivals[0].result()
    other.dispose()

    assert before == []
    assert made_by_rival is None
    assert [made.note for made in Keys(store).list()] == ["first"]

"""Page tokens, masks, required ids and times of the native requests."""

from base64 import urlsafe_b64encode
from datetime import UTC, datetime

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from portal.oauth.v1 import client_type_pb2, provider_pb2
from portal_server.domain import client_type
from portal_server.domain.errors import Invalid, Rule
from portal_server.domain.lists import PageRange
from portal_server.wire.oauth_v1 import client_types, providers
from portal_server.wire.oauth_v1.codec import timestamp
from portal_server.wire.oauth_v1.paging import page_range, page_token, required_ids

List = client_type_pb2.ListClientTypesRequest
CLIENT_TYPE = client_type_pb2.ClientType(name="n", provider_id=1, id=2)
PROVIDER = provider_pb2.Provider(id=3)


@given(st.integers(0, 2**63 - 1), st.text(max_size=50), st.integers(1, 2**31 - 1))
def test_a_page_token_leads_to_the_rows_after_the_last_one(
    after: int, filter_: str, provider_id: int
) -> None:
    token = page_token(after, List(filter=filter_, page_size=7), provider_id)
    next_page = page_range(List(filter=filter_, page_size=7, page_token=token), provider_id)

    assert next_page == PageRange(limit=7, after=after)


def test_there_is_no_page_token_after_the_last_page() -> None:
    assert page_token(None, List(), 1) == ""


def test_without_a_page_token_a_list_starts_at_its_first_row() -> None:
    assert page_range(List(page_size=7), 1) == PageRange(limit=7, after=0)


@pytest.mark.parametrize(("requested", "size"), [(0, 50), (1, 1), (200, 200), (2**31 - 1, 200)])
def test_a_page_has_the_requested_size_with_or_without_a_token(requested: int, size: int) -> None:
    token = page_token(1, List(), 1)

    assert page_range(List(page_size=requested), 1).limit == size
    assert page_range(List(page_size=requested, page_token=token), 1).limit == size


def test_the_size_may_change_from_page_to_page() -> None:
    token = page_token(9, List(page_size=3), 1)

    assert page_range(List(page_size=5, page_token=token), 1) == PageRange(limit=5, after=9)


def test_a_page_token_is_safe_in_a_url() -> None:
    tokens = {page_token(after, List(filter=str(after)), 1) for after in range(500)}

    assert len(tokens) == 500
    assert all(token.replace("-", "").replace("_", "").isalnum() for token in tokens)
    assert all(token.isascii() for token in tokens)


VALID_TOKEN = page_token(9, List(filter="name = a"), 1)


@pytest.mark.parametrize(
    ("filter_", "provider_id", "token"),
    [
        pytest.param("name = a", 2, VALID_TOKEN, id="a token of another provider"),
        pytest.param("name = b", 1, VALID_TOKEN, id="a token of another filter"),
        pytest.param("", 1, VALID_TOKEN, id="a token of a filter and no filter"),
        pytest.param("name = a", 1, page_token(9, List(), 1), id="a filter and a token without"),
        pytest.param("name = a", 1, VALID_TOKEN[:-1], id="a truncated token"),
        pytest.param("name = a", 1, VALID_TOKEN + "AAAA", id="a token with a suffix"),
        pytest.param("name = a", 1, VALID_TOKEN[:-2] + "__", id="a token changed"),
        pytest.param("name = a", 1, "2", id="a number"),
        pytest.param("name = a", 1, "a", id="a character"),
        pytest.param("name = a", 1, "=", id="padding alone"),
        pytest.param("name = a", 1, "!!!!", id="not base 64"),
        pytest.param("name = a", 1, "\0", id="NUL"),
        pytest.param("name = a", 1, "ü", id="not ASCII"),
        pytest.param("name = a", 1, "A" * 16, id="zeros"),
        pytest.param("name = a", 1, "A" * 100_000, id="a token too long"),
    ],
)
def test_a_token_of_another_list_and_an_invalid_token_are_rejected(
    filter_: str, provider_id: int, token: str
) -> None:
    with pytest.raises(Invalid) as error:
        page_range(List(filter=filter_, page_token=token), provider_id)

    [violation] = error.value.violations
    assert (violation.field, violation.rule) == ("page_token", Rule.MALFORMED)
    assert len(violation.message) < 200


def test_a_token_of_the_list_of_providers_is_rejected_by_the_list_of_client_types() -> None:
    token = page_token(9, provider_pb2.ListProvidersRequest())
    with pytest.raises(Invalid) as error:
        page_range(List(page_token=token), 1)

    assert error.value.violations[0].field == "page_token"


def test_a_negative_size_and_an_invalid_token_are_reported_together() -> None:
    with pytest.raises(Invalid) as error:
        page_range(List(page_size=-1, page_token="x"), 1)  # noqa: S106

    assert [v.field for v in error.value.violations] == ["page_size", "page_token"]


@given(
    st.text(min_size=1)
    | st.binary(min_size=1, max_size=20).map(lambda b: urlsafe_b64encode(b).decode().rstrip("="))
)
def test_any_other_token_is_rejected_without_a_crash(token: str) -> None:
    with pytest.raises(Invalid) as error:
        page_range(List(page_token=token), 1)

    assert [v.field for v in error.value.violations] == ["page_token"]


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        pytest.param(client_type_pb2.ClientType(), set(), id="nothing"),
        pytest.param(CLIENT_TYPE, {"name"}, id="a field, and ids, which say which one"),
        pytest.param(client_type_pb2.ClientType(name=""), set(), id="an empty field is absent"),
        pytest.param(client_type_pb2.ClientType(uid="u"), set(), id="output only"),
        pytest.param(
            client_type_pb2.ClientType(
                name="n",
                response_types=[client_type_pb2.RESPONSE_TYPE_CODE],
                okta_app_type=client_type_pb2.OKTA_APP_TYPE_WEB,
            ),
            {"name", "response_types", "okta_app_type"},
            id="several",
        ),
    ],
)
def test_without_a_mask_an_update_writes_the_fields_that_are_set(
    message: client_type_pb2.ClientType, fields: set[str]
) -> None:
    assert client_types.CODEC.masked_fields(FieldMask(), message) == fields


@pytest.mark.parametrize(
    ("paths", "fields"),
    [
        pytest.param(["name"], {"name"}, id="a field"),
        pytest.param(["description"], {"description"}, id="a field that is not set"),
        pytest.param(["name", "name"], {"name"}, id="a field twice"),
        pytest.param(["uid", "create_time", "id", "provider_id"], set(), id="output only fields"),
        pytest.param(["uid", "name"], {"name"}, id="one of each"),
        pytest.param(["*"], set(client_type.CLIENT_TYPE), id="all"),
        pytest.param(["name", "*"], set(client_type.CLIENT_TYPE), id="all and one"),
    ],
)
def test_an_update_writes_the_fields_of_the_mask(paths: list[str], fields: set[str]) -> None:
    assert client_types.CODEC.masked_fields(FieldMask(paths=paths), CLIENT_TYPE) == fields


@pytest.mark.parametrize(
    "path",
    ["nome", "Name", "", " name", "client_type.name", "name.x", "**", "grantTypes", "grant_type"],
)
@pytest.mark.parametrize("beside", [[], ["name"], ["*"]], ids=["alone", "beside one", "beside *"])
def test_an_unknown_field_in_a_mask_is_rejected_with_the_allowed_fields(
    path: str, beside: list[str]
) -> None:
    with pytest.raises(Invalid) as error:
        client_types.CODEC.masked_fields(FieldMask(paths=[*beside, path]), CLIENT_TYPE)

    [violation] = error.value.violations
    assert (violation.field, violation.rule) == ("update_mask", Rule.UNKNOWN_FIELD)
    assert f'"{path}"' in violation.message
    assert all(field in violation.message for field in client_type.CLIENT_TYPE)


def test_an_error_quotes_little_of_a_long_mask() -> None:
    paths = [f"{number}" + "x" * 5000 for number in range(500)]
    with pytest.raises(Invalid) as error:
        providers.CODEC.masked_fields(FieldMask(paths=paths), PROVIDER)

    assert len(error.value.violations[0].message) < 1000


def test_ids_that_are_set_are_accepted() -> None:
    required_ids(provider_id=1, id=-1)

    with pytest.raises(Invalid) as error:
        required_ids(provider_id=1, id=0)
    assert [(v.field, v.rule) for v in error.value.violations] == [("id", Rule.REQUIRED)]


def test_all_missing_ids_are_reported_together() -> None:
    with pytest.raises(Invalid) as error:
        required_ids(provider_id=0, id=0)

    assert [v.field for v in error.value.violations] == ["provider_id", "id"]


@given(st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1)))  # noqa: DTZ001
def test_a_time_is_converted_without_loss(time: datetime) -> None:
    aware = time.replace(tzinfo=UTC)
    message = Timestamp(**timestamp(aware))

    assert message.ToDatetime(UTC) == aware


@pytest.mark.parametrize(
    ("requested", "size"), [(0, 50), (1, 1), (50, 50), (199, 199), (200, 200), (201, 200)]
)
def test_a_page_size_has_a_default_and_a_cap(requested: int, size: int) -> None:
    assert page_range(List(page_size=requested)).limit == size


@pytest.mark.parametrize("requested", [-1, -(2**31)])
def test_a_page_size_is_not_negative(requested: int) -> None:
    with pytest.raises(Invalid) as error:
        page_range(List(page_size=requested))

    [violation] = error.value.violations
    assert (violation.field, violation.rule) == ("page_size", Rule.OUT_OF_RANGE)

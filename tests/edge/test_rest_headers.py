"""`Idempotency-Key`, `ETag` and `If-Match` through the real Envoy."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.support.stack import Stack

PROVIDER = {"Name": "Idp", "Type": "Keycloak", "WellKnownURL": "https://idp.test/x"}
CLIENT_TYPE = {"Name": "x", "ResponseTypes": "code", "GrantType": "pkce"}


@pytest.fixture
def provider(rest: httpx.Client) -> str:
    return f"/oauth-providers/{rest.post('/oauth-providers', json=PROVIDER).json()['ID']}"


@pytest.fixture(params=["provider", "client type"])
def resource(request: pytest.FixtureRequest, rest: httpx.Client, provider: str) -> str:
    """The path of a resource of each kind."""
    if request.param == "provider":
        return provider
    created = rest.post(f"{provider}/client-types", json=CLIENT_TYPE)
    return f"{provider}/client-types/{created.json()['ID']}"


def body_of(resource: str, **changes: str) -> dict[str, str]:
    return (CLIENT_TYPE if "client-types" in resource else PROVIDER) | changes


def key() -> str:
    return str(uuid4())


def errors(response: httpx.Response) -> list[str]:
    assert response.headers["content-type"] == "application/json"
    assert list(response.json()) == ["errors"]
    found: list[str] = response.json()["errors"]
    return found


def same(one: httpx.Response, other: httpx.Response) -> bool:
    return (one.status_code, one.content, one.headers.get("etag")) == (
        other.status_code,
        other.content,
        other.headers.get("etag"),
    )


# Idempotency-Key


def test_a_retried_post_gets_the_first_response_and_creates_no_second_row(
    rest: httpx.Client, provider: str
) -> None:
    headers = {"Idempotency-Key": key()}
    path = f"{provider}/client-types"
    first, second = (rest.post(path, json=CLIENT_TYPE, headers=headers) for _ in range(2))

    assert first.status_code == 200
    assert same(first, second)
    assert len(rest.get(path).json()) == 1


def test_how_the_json_is_written_does_not_matter(rest: httpx.Client, provider: str) -> None:
    headers = {"Idempotency-Key": key(), "Content-Type": "application/json"}
    path = f"{provider}/client-types"
    first = rest.post(path, json=CLIENT_TYPE, headers=headers)
    text = '{ "GrantType" : "pkce",\n "ResponseTypes":"co\\u0064e", "Name":"x" }'

    assert same(first, rest.post(path, content=text, headers=headers))


def test_the_key_in_quotes_is_the_same_key(rest: httpx.Client, provider: str) -> None:
    bare, path = key(), f"{provider}/client-types"
    first = rest.post(path, json=CLIENT_TYPE, headers={"Idempotency-Key": bare})
    quoted = rest.post(path, json=CLIENT_TYPE, headers={"Idempotency-Key": f'"{bare}"'})

    assert same(first, quoted)


def test_another_body_with_a_used_key_is_rejected(rest: httpx.Client, provider: str) -> None:
    headers = {"Idempotency-Key": key()}
    path = f"{provider}/client-types"
    rest.post(path, json=CLIENT_TYPE, headers=headers)
    rejected = rest.post(path, json=CLIENT_TYPE | {"Name": "y"}, headers=headers)

    assert rejected.status_code == 400
    assert errors(rejected) == ["Idempotency-Key: was used for another request"]
    assert len(rest.get(path).json()) == 1


def test_another_path_with_a_used_key_is_rejected(rest: httpx.Client, provider: str) -> None:
    headers = {"Idempotency-Key": key()}
    other = f"/oauth-providers/{rest.post('/oauth-providers', json=PROVIDER).json()['ID']}"
    rest.post(f"{provider}/client-types", json=CLIENT_TYPE, headers=headers)
    rejected = rest.post(f"{other}/client-types", json=CLIENT_TYPE, headers=headers)

    assert rejected.status_code == 400
    assert rest.get(f"{other}/client-types").json() == []


def test_a_put_and_a_delete_again_get_their_first_responses(
    rest: httpx.Client, resource: str
) -> None:
    def twice(method: str, json: Any) -> tuple[httpx.Response, httpx.Response]:
        headers = {"Idempotency-Key": key()}
        one, two = (rest.request(method, resource, json=json, headers=headers) for _ in range(2))
        return one, two

    put, put_again = twice("PUT", body_of(resource, Name="new"))
    deleted, deleted_again = twice("DELETE", None)

    assert put.json()["Name"] == "new"
    assert same(put, put_again)
    assert deleted.json() == {"status": "ok"}
    assert same(deleted, deleted_again)
    assert rest.get(resource).status_code == 404


def test_a_rejected_request_may_be_corrected_and_sent_again(
    rest: httpx.Client, provider: str
) -> None:
    headers = {"Idempotency-Key": key()}
    path = f"{provider}/client-types"

    assert rest.post(path, json=CLIENT_TYPE | {"Name": ""}, headers=headers).status_code == 400
    assert rest.post(path, json=CLIENT_TYPE, headers=headers).status_code == 200


@pytest.mark.parametrize("bad", ["", '""', "x" * 256, b"caf\xc3\xa9"], ids=repr)
def test_a_bad_key_is_rejected(rest: httpx.Client, provider: str, bad: str | bytes) -> None:
    headers = [(b"Idempotency-Key", bad if isinstance(bad, bytes) else bad.encode())]
    rejected = rest.post(f"{provider}/client-types", json=CLIENT_TYPE, headers=headers)

    assert rejected.status_code == 400
    assert errors(rejected) == ["Idempotency-Key: must be 1 to 255 printable ASCII characters"]
    assert rest.get(f"{provider}/client-types").json() == []


def test_two_keys_are_rejected(rest: httpx.Client, provider: str) -> None:
    headers = [("Idempotency-Key", "one"), ("Idempotency-Key", "two")]
    rejected = rest.post(f"{provider}/client-types", json=CLIENT_TYPE, headers=headers)

    assert rejected.status_code == 400
    assert rest.get(f"{provider}/client-types").json() == []


def test_a_get_ignores_an_idempotency_key(rest: httpx.Client, resource: str) -> None:
    headers = {"Idempotency-Key": key()}
    first = rest.get(resource, headers=headers)
    rest.put(resource, json=body_of(resource, Name="new"))

    assert rest.get(resource, headers=headers).json()["Name"] == "new"
    assert first.json()["Name"] != "new"


def test_twins_at_the_same_time_get_one_response(stack: Stack, provider: str) -> None:
    together, name = Barrier(8), key()

    def post(_number: int) -> httpx.Response:
        with stack.client() as client:
            together.wait()
            return client.post(
                f"{provider}/client-types", json=CLIENT_TYPE, headers={"Idempotency-Key": name}
            )

    with ThreadPoolExecutor(8) as pool:
        responses = list(pool.map(post, range(8)))

    assert responses[0].status_code == 200
    assert all(same(response, responses[0]) for response in responses)


# ETag and If-Match


def test_a_resource_is_served_with_its_etag(rest: httpx.Client, resource: str) -> None:
    got = rest.get(resource)
    put = rest.put(resource, json=body_of(resource, Name="new"))

    assert got.headers["etag"] != put.headers["etag"]
    assert rest.get(resource).headers["etag"] == put.headers["etag"]


def test_a_created_resource_has_its_etag_at_once(rest: httpx.Client, provider: str) -> None:
    created = rest.post(f"{provider}/client-types", json=CLIENT_TYPE)
    path = f"{provider}/client-types/{created.json()['ID']}"
    made = rest.post("/oauth-providers", json=PROVIDER)

    assert rest.get(path).headers["etag"] == created.headers["etag"]
    assert rest.get(f"/oauth-providers/{made.json()['ID']}").headers["etag"] == made.headers["etag"]


def test_a_stale_etag_changes_nothing(rest: httpx.Client, resource: str) -> None:
    stale = {"If-Match": rest.get(resource).headers["etag"]}
    changed = rest.put(resource, json=body_of(resource, Name="new"))
    put = rest.put(resource, json=body_of(resource, Name="mine"), headers=stale)
    deleted = rest.delete(resource, headers=stale)

    assert (put.status_code, deleted.status_code) == (412, 412)
    assert errors(put) == errors(deleted)
    assert "etag" in errors(put)[0]
    assert same(rest.get(resource), changed)


@pytest.mark.parametrize("form", ["{}", "*", '"other", {}', '{}, "other"', ',,{},, W/"weak"'])
def test_the_stored_etag_lets_a_change_pass(rest: httpx.Client, resource: str, form: str) -> None:
    def match() -> dict[str, str]:
        return {"If-Match": form.format(rest.get(resource).headers["etag"])}

    put = rest.put(resource, json=body_of(resource, Name="new"), headers=match())

    assert (put.status_code, put.json()["Name"]) == (200, "new")
    assert rest.delete(resource, headers=match()).status_code == 200


def test_the_etag_may_be_in_a_second_header(rest: httpx.Client, resource: str) -> None:
    etag = rest.get(resource).headers["etag"]
    headers = [("If-Match", '"other"'), ("If-Match", etag)]

    assert rest.delete(resource, headers=headers).status_code == 200


def test_a_weak_etag_matches_nothing(rest: httpx.Client, resource: str) -> None:
    weak = "W/" + rest.get(resource).headers["etag"]

    assert rest.delete(resource, headers={"If-Match": weak}).status_code == 412


@pytest.mark.parametrize("bad", ["", "0a1b", '"a" "b"', '"a', '*, "a"', 'w/"a"', "**"])
def test_what_is_not_an_etag_is_rejected(rest: httpx.Client, resource: str, bad: str) -> None:
    rejected = rest.delete(resource, headers={"If-Match": bad})

    assert rejected.status_code == 400
    assert errors(rejected)[0].startswith("If-Match: must be * or entity tags in quotes")
    assert rest.get(resource).status_code == 200


def test_a_resource_that_is_not_there_is_404_before_its_etag_counts(
    rest: httpx.Client, resource: str
) -> None:
    rest.delete(resource)

    assert rest.delete(resource, headers={"If-Match": '"x"'}).status_code == 404


def test_a_retry_whose_etag_has_become_stale_gets_the_first_response(
    rest: httpx.Client, resource: str
) -> None:
    headers = {"If-Match": rest.get(resource).headers["etag"], "Idempotency-Key": key()}
    first, second = (
        rest.put(resource, json=body_of(resource, Name="new"), headers=headers) for _ in range(2)
    )

    assert first.status_code == 200
    assert same(first, second)


def test_a_list_has_no_etag(rest: httpx.Client, provider: str) -> None:
    assert "etag" not in rest.get(f"{provider}/client-types").headers


def test_text_of_a_caller_does_not_cause_a_412(rest: httpx.Client, provider: str) -> None:
    trick = 'x","reason":"ETAG_MISMATCH","x":"'
    rejected = rest.post(f"{provider}/client-types", json=CLIENT_TYPE | {"GrantType": trick})

    assert rejected.status_code == 400


# Headers that are nobody's


@pytest.mark.parametrize(
    "name",
    [
        *("x|y", "|", "x'", "grpc-timeout", "grpc-encoding", "grpc-previous-rpc-attempts"),
        *("x-bin", "grpc-trace-bin"),
    ],
)
def test_a_header_that_grpc_cannot_take_is_ignored(rest: httpx.Client, name: str) -> None:
    assert rest.get("/oauth-providers", headers={name: "?"}).status_code == 200


@pytest.mark.parametrize("value", [b"\x80\xff", "é".encode(), b"a\x01b"])
def test_a_value_that_grpc_cannot_take_is_ignored_and_not_logged(
    stack: Stack, value: bytes
) -> None:
    logged = stack.err.stat().st_size
    with stack.client() as client:
        response = client.get("/oauth-providers", headers={b"User-Agent": value, b"X-Any": value})
    log = stack.err.read_bytes()[logged:]

    assert response.status_code in {200, 400}  # HTTP itself has no control characters
    assert b"Traceback" not in log


def test_an_idempotency_key_that_is_not_ascii_is_rejected(stack: Stack) -> None:
    with stack.client() as client:
        response = client.post(
            "/oauth-providers", json={}, headers={b"Idempotency-Key": b"\x80\xff"}
        )

    assert response.status_code == 400
    assert errors(response) == ["Idempotency-Key: must be 1 to 255 printable ASCII characters"]

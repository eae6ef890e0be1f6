"""Each REST method with each kind of API key, and the limit of a key over REST."""

import json
import time
from datetime import datetime, timedelta

import httpx
import pytest
from google.api.annotations_pb2 import http  # type: ignore[import-untyped]

from portal.rest.v1 import portal_rest_pb2
from portal_server.domain.keys import Role
from tests.support.stack import ADMIN_KEY, Stack, portal
from tests.support.walk import role_of

PROVIDERS = "/oauth-providers"
PROVIDER = {"Name": "p", "Type": "Other", "WellKnownURL": "https://idp.test/x"}
[SERVICE] = portal_rest_pb2.DESCRIPTOR.services_by_name.values()
NO_KEY = ("expired", "revoked", "mistyped", "none")


@pytest.fixture(scope="module")
def keys(stack: Stack) -> dict[str, str | None]:
    """A key of each kind; `limited` is an editor of another provider than the one that is used."""
    with stack.client() as client:
        other = client.post(PROVIDERS, json=PROVIDER).json()["ID"]

    def create(*options: str) -> str:
        made = portal("keys", "create", *options, **stack.settings)
        assert made.returncode == 0, made.stderr
        return made.stdout.strip()

    expired, end = create("--role=admin", "--expires=8s"), time.monotonic() + 8
    revoked = create("--role=admin")
    portal("keys", "revoke", revoked.split("_")[1], **stack.settings)
    found: dict[str, str | None] = {role: create(f"--role={role}") for role in Role}
    mistyped = create("--role=admin")
    limited = create("--role=editor", f"--providers={other}")
    time.sleep(max(0.0, end - time.monotonic()))
    return found | {
        "limited": limited,
        "revoked": revoked,
        "expired": expired,
        "mistyped": mistyped[:20] + ("x" if mistyped[20] != "x" else "y") + mistyped[21:],
        "none": None,
    }


def requests() -> dict[str, tuple[str, str]]:
    """The verb and the path of each method."""
    found = {}
    for method in SERVICE.methods:
        rule = method.GetOptions().Extensions[http]
        verb = rule.WhichOneof("pattern")
        path = getattr(rule, verb).removeprefix("/portal-api")
        found[method.full_name] = (verb.upper(), path)
    return found


@pytest.mark.parametrize("name", requests())
def test_each_method_accepts_the_keys_that_may_call_it(
    stack: Stack, keys: dict[str, str | None], name: str
) -> None:
    with stack.client() as admin:
        own = admin.post(PROVIDERS, json=PROVIDER).json()["ID"]
    verb, path = requests()[name]
    path = path.replace("{provider_id}", str(own)).replace("{client_type_id}", "1")
    path = path.replace("{client_id}", "1")
    order = list(Role)
    statuses = {}
    for kind, key in keys.items():
        with stack.client(key) as client:
            body: dict[str, str] | None = {} if verb in ("POST", "PUT") else None
            statuses[kind] = client.request(verb, path, json=body).status_code

    for kind in NO_KEY:
        assert statuses[kind] == 401, kind
    for role in Role:
        accepted = order.index(role) >= order.index(Role(role_of(name)))
        assert (statuses[role] not in (401, 403)) is accepted, role
    # The list has the own providers only; a create is rejected before its fields are.
    limited = {"ListProviders": 200, "CreateProvider": 403}.get(name.rpartition(".")[2], 404)
    assert statuses["limited"] == limited


def test_a_key_is_rejected_within_a_second_after_it_expires(stack: Stack) -> None:
    made = portal("keys", "create", "--role=viewer", "--expires=8s", "-o", "json", **stack.settings)
    key = json.loads(made.stdout)
    end = datetime.fromisoformat(key["expire_time"])
    with stack.client(key["key"]) as client:
        while client.get(PROVIDERS).status_code == 200:
            assert datetime.now(end.tzinfo) < end + timedelta(seconds=1)
            time.sleep(0.02)
        rejected = datetime.now(end.tzinfo)

    assert end <= rejected < end + timedelta(seconds=1)


def test_more_than_its_rate_is_rejected_with_retry_after(stack: Stack) -> None:
    options = ("--role=viewer", "--requests-per-second=1", "--burst=2")
    key = portal("keys", "create", *options, **stack.settings).stdout.strip()
    with stack.client(key) as client:
        found = [client.get(PROVIDERS) for _ in range(8)]
        [first, *_] = rejected = [one for one in found if one.status_code != 200]
        time.sleep(int(first.headers["retry-after"]) + 0.1)
        after = client.get(PROVIDERS)

    assert {one.status_code for one in rejected} == {429}
    assert first.headers["retry-after"] == "1"
    assert first.json()["errors"] == [
        "the API key sends more requests a second than it may; retry later"
    ]
    assert after.status_code == 200


def test_the_admin_key_of_the_settings_has_no_limit_by_default(stack: Stack) -> None:
    with httpx.Client(base_url=stack.client().base_url, headers={"authorization": ADMIN_KEY}) as c:
        found = {c.get(PROVIDERS).status_code for _ in range(200)}

    assert found == {200}

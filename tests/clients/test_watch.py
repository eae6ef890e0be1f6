"""The Python clients and the command line watch changes through Envoy, and read the audit log."""

import asyncio
import json
import threading
from collections.abc import Iterator
from itertools import islice

import pytest

from portal_client import (
    CHANGE_TYPE_CREATED,
    CHANGE_TYPE_DELETED,
    PROVIDER_TYPE_OTHER,
    RESOURCE_KIND_PROVIDER,
    AsyncPortal,
    Change,
    OutOfRange,
    Portal,
    Provider,
    Unauthenticated,
)
from tests.support.stack import ADMIN_KEY, Stack, portal, soon

PROVIDER = Provider(
    name="watched", type=PROVIDER_TYPE_OTHER, well_known_uri="https://idp.test/.well-known"
)


@pytest.fixture
def client(stack: Stack) -> Iterator[Portal]:
    with Portal(f"127.0.0.1:{stack.grpc_port}", key=ADMIN_KEY) as client:
        yield client


def restarted(stack: Stack) -> None:
    """Replace the server, as an operator does."""
    before = stack.children()["server"]
    assert stack.process
    stack.process.send_signal(1)
    assert soon(lambda: not set(before) & set(stack.children()["server"]), 30)


def test_a_watch_goes_on_when_its_server_is_replaced(stack: Stack, client: Portal) -> None:
    changes = client.watch(kinds=[RESOURCE_KIND_PROVIDER])
    found: list[Change] = []
    first = client.create_provider(PROVIDER)
    for change in changes:
        found.append(change)
        if change.uid == first.uid:
            break
    thread = threading.Thread(target=restarted, args=(stack,))
    thread.start()
    created = [client.create_provider(PROVIDER) for _ in range(20)]
    thread.join()
    created.append(client.create_provider(PROVIDER))
    found = list(islice(changes, len(created)))
    changes.close()  # type: ignore[attr-defined]

    assert [change.uid for change in found] == [provider.uid for provider in created]


def test_a_watch_continues_after_a_token_in_an_event_loop(stack: Stack, client: Portal) -> None:
    async def watch(token: str, count: int) -> list[Change]:
        async with AsyncPortal(f"127.0.0.1:{stack.grpc_port}", key=ADMIN_KEY) as loop_client:
            changes = loop_client.watch(resume_token=token)
            return [await anext(changes) for _ in range(count)]

    created = client.create_provider(PROVIDER)
    token = next(c.resume_token for c in client.watch() if c.uid == created.uid)
    client.delete_provider(created.id)
    [change] = asyncio.run(watch(token, 1))

    assert (change.uid, change.type) == (created.uid, CHANGE_TYPE_DELETED)


def test_an_error_that_would_recur_is_raised(stack: Stack, client: Portal) -> None:
    with pytest.raises(OutOfRange):
        next(client.watch(resume_token="AAAAAAAAJxD_____AAAAAA"))  # noqa: S106
    with (
        Portal(f"127.0.0.1:{stack.grpc_port}", key="wrong") as stranger,
        pytest.raises(Unauthenticated),
    ):
        next(stranger.watch())


def test_the_command_line_watches_and_reads_the_log(stack: Stack, client: Portal) -> None:
    settings = {
        "PORTAL_TARGET": f"127.0.0.1:{stack.grpc_port}",
        "PORTAL_KEY": ADMIN_KEY,
        **stack.settings,
    }
    created = client.create_provider(PROVIDER)
    token = next(c.resume_token for c in client.watch() if c.uid == created.uid)
    client.delete_provider(created.id)
    uid = f'uid = "{created.uid}"'
    watched = portal("watch", "--count", "1", "--resume-token", token, **settings)
    wrong = portal("watch", "providerz", **settings)
    listed = portal("audit", "list", "--filter", uid, "-o", "json", **settings)
    table = portal("audit", "list", "--since", "1h", **settings)
    exported = portal("audit", "export", "--filter", uid, **settings)
    verified = portal("audit", "verify", **settings)
    again = portal("audit", "verify", "--expect", verified.stdout.strip(), **settings)
    invalid = portal("audit", "verify", "--expect", "1:x", **settings)
    pruned = portal("audit", "prune", "--before", "1d", **settings)

    change = json.loads(watched.stdout)
    assert (change["type"], change["uid"]) == ("CHANGE_TYPE_DELETED", created.uid)
    assert (wrong.returncode, "providerz" in wrong.stderr) == (64, True)
    assert [event["action"] for event in json.loads(listed.stdout)] == ["create", "delete"]
    assert "DeleteProvider" in table.stdout
    lines = [json.loads(line) for line in exported.stdout.splitlines()]
    assert [line["action"] for line in lines] == ["AUDIT_ACTION_CREATE", "AUDIT_ACTION_DELETE"]
    assert (verified.returncode, again.returncode, invalid.returncode) == (0, 0, 1)
    assert "the audit log is unchanged" in verified.stderr
    assert "no event is older" in pruned.stderr


def test_a_created_provider_is_in_its_change(client: Portal) -> None:
    created = client.create_provider(PROVIDER)
    change = next(c for c in client.watch() if c.uid == created.uid)

    assert (change.type, change.provider) == (CHANGE_TYPE_CREATED, created)

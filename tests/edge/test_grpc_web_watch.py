"""Changes over gRPC-Web, as a page in a browser gets them: a stream, and one that continues it."""

import base64
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from portal.oauth.v1.provider_pb2 import PROVIDER_TYPE_OTHER, Provider
from portal.oauth.v1.watch_pb2 import (
    CHANGE_TYPE_CREATED,
    CHANGE_TYPE_DELETED,
    Change,
    WatchRequest,
    WatchResponse,
)
from portal_client import Portal
from tests.support.stack import ADMIN_KEY, Stack

PROVIDER = Provider(name="web", type=PROVIDER_TYPE_OTHER, well_known_uri="https://idp.test/x")
TYPES = {False: "application/grpc-web+proto", True: "application/grpc-web-text"}


@pytest.fixture
def portal(stack: Stack) -> Iterator[Portal]:
    with Portal(f"127.0.0.1:{stack.grpc_port}", key=ADMIN_KEY) as portal:
        yield portal


@contextmanager
def watching(stack: Stack, request: WatchRequest, *, text: bool) -> Iterator[Iterator[bytes]]:
    """An open stream; its parts as they arrive."""
    message = request.SerializeToString()
    body = b"\0" + struct.pack(">I", len(message)) + message
    headers = {"Content-Type": TYPES[text], "X-Grpc-Web": "1", "Authorization": ADMIN_KEY}
    url = f"http://127.0.0.1:{stack.http_port}/portal.oauth.v1.WatchService/Watch"
    with (
        httpx.Client(timeout=20) as client,
        client.stream(
            "POST", url, content=base64.b64encode(body) if text else body, headers=headers
        ) as response,
    ):
        assert response.status_code == 200
        assert "grpc-status" not in response.headers
        yield response.iter_raw()


def responses(parts: Iterator[bytes]) -> Iterator[WatchResponse]:
    """The messages of a stream. Envoy sends them in binary, also as a response to text."""
    received = b""
    for part in parts:
        received += part
        while len(received) >= 5:
            flags, length = struct.unpack(">BI", received[:5])
            if len(received) < 5 + length:
                break
            assert flags == 0, received
            yield WatchResponse.FromString(received[5 : 5 + length])
            received = received[5 + length :]


def change_of(found: Iterator[WatchResponse], uid: str) -> Change:
    """The next change of this resource; other tests use the same portal."""
    return next(change for one in found for change in one.changes if change.uid == uid)


@pytest.mark.parametrize("text", [False, True], ids=["binary", "text"])
def test_a_page_follows_changes_and_continues(stack: Stack, portal: Portal, text: bool) -> None:  # noqa: FBT001
    with watching(stack, WatchRequest(), text=text) as parts:
        found = responses(parts)
        assert next(found).resume_token
        provider = portal.create_provider(PROVIDER)
        created = change_of(found, provider.uid)
    portal.delete_provider(provider.id)  # while no stream is open
    with watching(stack, WatchRequest(resume_token=created.resume_token), text=text) as parts:
        deleted = change_of(responses(parts), provider.uid)

    assert created.type == CHANGE_TYPE_CREATED
    assert created.provider == provider
    assert deleted.type == CHANGE_TYPE_DELETED

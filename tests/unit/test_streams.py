"""How a stream of changes ends whose caller does not read, or whose changes are gone."""

from collections.abc import Sequence
from dataclasses import replace
from time import monotonic
from types import SimpleNamespace
from typing import Any, cast

import grpc
import pytest

from portal_server.catalog.audit_log import EventPage
from portal_server.domain.audit import START, Place, Placed
from portal_server.domain.calls import Call, Origin
from portal_server.domain.errors import Unauthenticated
from portal_server.domain.keys import Caller, Role
from portal_server.wire.events import Sender
from portal_server.wire.streams import HEARTBEAT_S, MAX_SENDING_S, Stream, Streams


class FakeSender:
    """Notes what it gets."""

    def __init__(self, *, busy: bool) -> None:
        self.busy = busy
        self.sent: list[bytes] = []
        self.ended: list[Any] = []
        self.cancelled = 0

    def send(self, message: bytes) -> None:
        self.sent.append(message)

    def end(self, status: Any) -> None:
        self.ended.append(status)

    def cancel(self) -> None:
        self.cancelled += 1


class FakeLog:
    """A log with one page."""

    def __init__(self, page: EventPage | Exception) -> None:
        self.page = page

    def list(self, _call: Call, _after: Place, _limit: int) -> EventPage:
        if isinstance(self.page, Exception):
            raise self.page
        return self.page


EMPTY = EventPage([], Place(7, "x"), more=False, complete=True)
ONE_CHANGE = replace(EMPTY, items=[cast(Placed, SimpleNamespace(event=SimpleNamespace()))])


def encode(changes: Sequence[Placed], last: Place) -> bytes:
    return f"{len(changes)} {last.position}".encode()


def new_stream() -> Stream:
    return Stream(
        caller=Caller("k", Role.VIEWER),
        origin=Origin("Watch", "0123"),
        wants=lambda _placed: True,
        authenticate=lambda: Caller("k", Role.VIEWER),
        at=START,
    )


def serve(page: EventPage | Exception, *, busy: bool, since: float) -> tuple[FakeSender, Stream]:
    """Look once at a stream whose last message was sent that long ago."""
    sender = FakeSender(busy=busy)
    stream = new_stream()
    stream.sender = cast(Sender, sender)
    look(page, stream, since)
    return sender, stream


def look(page: EventPage | Exception, stream: Stream, since: float) -> None:
    stream.since = monotonic() - since
    Streams(FakeLog(page), encode)._serve([stream])  # noqa: SLF001


def test_a_caller_that_does_not_read_gets_a_status_and_then_the_end() -> None:
    sender, stream = serve(EMPTY, busy=True, since=MAX_SENDING_S - 1)
    assert not sender.ended
    look(EMPTY, stream, MAX_SENDING_S + 1)
    [status] = sender.ended
    assert status.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert sender.cancelled == 0
    look(EMPTY, stream, MAX_SENDING_S + 1)

    assert (len(sender.ended), sender.cancelled, sender.sent) == (1, 1, [])


@pytest.mark.parametrize(("since", "sent"), [(0.0, []), (HEARTBEAT_S + 1, [b"0 7"])])
def test_a_stream_without_changes_has_a_heartbeat(since: float, sent: list[bytes]) -> None:
    sender, stream = serve(EMPTY, busy=False, since=since)

    assert sender.sent == sent
    assert stream.at.position == 7


@pytest.mark.parametrize("seen", [True, False], ids=["its key", "an invalid key"])
def test_changes_are_sent_only_to_a_key_that_is_valid_after_they_were_read(*, seen: bool) -> None:
    sender, stream = FakeSender(busy=False), new_stream()
    stream.sender = cast(Sender, sender)
    read: list[bool] = []

    def authenticate() -> Caller:
        assert read
        if not seen:
            raise Unauthenticated
        return Caller("k", Role.VIEWER)

    class Read(FakeLog):
        def list(self, call: Call, after: Place, limit: int) -> EventPage:
            read.append(True)
            return super().list(call, after, limit)

    stream.authenticate = authenticate
    stream.since = monotonic()
    Streams(Read(ONE_CHANGE), encode)._serve([stream])  # noqa: SLF001

    assert sender.sent == ([b"1 7"] if seen else [])
    assert [status.code for status in sender.ended] == (
        [] if seen else [grpc.StatusCode.UNAUTHENTICATED]
    )


def test_streams_at_the_same_place_share_what_is_read() -> None:
    streams = [new_stream() for _ in range(3)]
    streams[2].at = Place(3, "y")
    asked: list[Place] = []

    class Read(FakeLog):
        def list(self, call: Call, after: Place, limit: int) -> EventPage:
            asked.append(after)
            return super().list(call, after, limit)

    for stream in streams:
        stream.sender = cast(Sender, FakeSender(busy=False))
        stream.since = monotonic()
    Streams(Read(ONE_CHANGE), encode)._serve(streams)  # noqa: SLF001

    assert asked == [START, Place(3, "y")]
    assert [cast(Any, stream.sender).sent for stream in streams] == [[b"1 7"]] * 3


def test_a_stream_ends_when_its_next_changes_were_removed() -> None:
    page = EventPage([], Place(7, "x"), more=False, complete=False)
    [status] = serve(page, busy=False, since=0)[0].ended

    assert status.code is grpc.StatusCode.OUT_OF_RANGE


def test_a_bug_ends_only_the_stream() -> None:
    [status] = serve(ValueError("a bug"), busy=False, since=0)[0].ended

    assert status.code is grpc.StatusCode.INTERNAL
    assert status.details == "internal error 0123"

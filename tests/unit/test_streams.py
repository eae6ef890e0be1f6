"""How a stream of changes ends whose caller does not read, or whose changes are gone."""

from collections.abc import Sequence
from time import monotonic
from typing import Any, cast

import grpc
import pytest

from portal_server.catalog.audit_log import EventPage
from portal_server.domain.audit import START, Place, Placed
from portal_server.domain.calls import Call, Origin
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


def encode(changes: Sequence[Placed], last: Place) -> bytes:
    return f"{len(changes)} {last.position}".encode()


def serve(page: EventPage | Exception, *, busy: bool, since: float) -> tuple[FakeSender, Stream]:
    """Look once at a stream whose last message was sent that long ago."""
    sender = FakeSender(busy=busy)
    stream = Stream(
        caller=Caller("k", Role.VIEWER),
        origin=Origin("Watch", "0123"),
        wants=lambda _placed: True,
        authenticate=lambda: Caller("k", Role.VIEWER),
        at=START,
    )
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


def test_a_stream_ends_when_its_next_changes_were_removed() -> None:
    page = EventPage([], Place(7, "x"), more=False, complete=False)
    [status] = serve(page, busy=False, since=0)[0].ended

    assert status.code is grpc.StatusCode.OUT_OF_RANGE


def test_a_bug_ends_only_the_stream() -> None:
    [status] = serve(ValueError("a bug"), busy=False, since=0)[0].ended

    assert status.code is grpc.StatusCode.INTERNAL
    assert status.details == "internal error 0123"

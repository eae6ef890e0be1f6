"""Open streams of changes: one thread sends them all, so a stream needs none.

At most one message of a stream is in flight. A stream that is behind continues when its message
has left, from the audit log: nothing is buffered for it, and a slow caller delays no other. All
streams that are at the same place share what was read. Changes are sent only to a caller whose key
is valid after they were read.
"""

import logging
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import Protocol

from google.rpc.status_pb2 import Status

from portal_server.catalog.audit_log import EventPage, expired
from portal_server.domain.audit import Place, Placed
from portal_server.domain.calls import Call, Origin
from portal_server.domain.errors import Exhausted, PortalError, Reason, Unavailable
from portal_server.domain.keys import Caller
from portal_server.wire.calls import CallContext
from portal_server.wire.events import Sender
from portal_server.wire.interceptors.errors import PLAIN, grpc_status
from portal_server.wire.status import internal, to_status

log = logging.getLogger("portal.streams")

MAX_STREAMS = 128
"""How many streams a server has open."""
MAX_STREAMS_OF_KEY = 16
"""How many of them one API key has."""
HEARTBEAT_S = 10.0
"""How long a stream is silent at most. Envoy ends one that is silent for 20 seconds."""
MAX_SENDING_S = 30.0
"""How long a caller may take to read a response."""
_POLL_S = 0.25
PAGE_SIZE = 100
"""How many events are read at once; the largest of them take 26 MiB."""
# After each page, so that streams that read old changes leave most of the interpreter to calls.
_PAUSE_S = 0.02
_CALL = Call(origin=Origin("streams"))


class Log(Protocol):
    """The sealed audit events."""

    def list(self, call: Call, after: Place, limit: int) -> EventPage:
        """The events after a place."""


@dataclass(slots=True, kw_only=True, eq=False)
class Stream:
    """An open stream. `at` is the place after which it continues."""

    caller: Caller
    origin: Origin
    wants: Callable[[Placed], bool]
    authenticate: Callable[[], Caller]
    """The caller as it is now. Raises: PortalError."""
    at: Place
    sender: Sender = field(init=False)
    since: float = 0.0
    """When the last message was sent."""
    ending: bool = False

    def gets(self, placed: Placed) -> bool:
        """Whether its caller wants this change, and may see it."""
        visible = self.caller.provider_ids
        return self.wants(placed) and (not visible or placed.event.provider_id in visible)


class Streams:
    """The open streams of one server."""

    def __init__(self, log_: Log, encode: Callable[[Sequence[Placed], Place], bytes]) -> None:
        self.rejected = 0
        """How many streams were rejected."""
        self._log = log_
        self._encode = encode
        self._lock = threading.Lock()
        self._streams: set[Stream] = set()
        self._woken = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="streams", daemon=True)

    @property
    def count(self) -> int:
        """How many streams are open."""
        return len(self._streams)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def open(self, stream: Stream, context: CallContext) -> None:
        """Add a stream; it gets its first message at once.

        Raises:
            Exhausted: there are too many.
            Unavailable: the server is stopping.
        """
        with self._lock:
            self._admit(stream.caller.key_id)
            self._streams.add(stream)
        sender = context.stay_open(self._woken.set, lambda: self._forget(stream))
        if sender is None:
            self._forget(stream)
            return
        # Before the thread sees the sender: the first token must not follow a later one.
        stream.since = monotonic()
        sender.send(self._encode((), stream.at))
        stream.sender = sender

    def _admit(self, key_id: str) -> None:
        if self._stopped:
            raise _stopping("retry")
        count = Counter(stream.caller.key_id for stream in self._streams)
        for open_, limit, whose in (
            (count[key_id], MAX_STREAMS_OF_KEY, "this API key"),
            (count.total(), MAX_STREAMS, "the server"),
        ):
            if open_ >= limit:
                self.rejected += 1
                text = f"{whose} has {open_} open streams, which is the maximum; close some"
                raise Exhausted(Reason.TOO_MANY_STREAMS, text)

    def end(self) -> None:
        """End all streams, because the server is stopping; no other is opened."""
        with self._lock:
            self._stopped = True
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join()
        error = _stopping("continue with the last resume_token")
        for stream in self._open_now():
            self._end(stream, to_status(error, PLAIN))

    def cancel(self) -> None:
        """End the streams that are still open, because their callers read nothing."""
        for stream in self._open_now():
            stream.sender.cancel()

    def _open_now(self) -> list[Stream]:
        """The streams that have got their sender."""
        with self._lock:
            return [stream for stream in self._streams if hasattr(stream, "sender")]

    def _forget(self, stream: Stream) -> None:
        with self._lock:
            self._streams.discard(stream)

    def _run(self) -> None:
        while not self._stopped:
            self._woken.wait(_POLL_S)
            self._woken.clear()
            streams = self._open_now()
            if streams:
                self._serve(streams)

    def _serve(self, streams: Iterable[Stream]) -> None:
        now = monotonic()
        ready = defaultdict[Place, list[Stream]](list)
        for stream in streams:
            if not (stream.ending or stream.sender.busy):
                ready[stream.at].append(stream)
            elif now - stream.since > MAX_SENDING_S:
                self._give_up(stream)
        # One page at a time: the pages of all streams could take a GiB.
        for at, some in ready.items():
            self._serve_at(at, some, now)

    def _serve_at(self, at: Place, streams: Iterable[Stream], now: float) -> None:
        page: EventPage | None = None
        for stream in streams:
            try:
                page = page or self._read(at)
                self._continue(stream, page, now)
            except PortalError as error:
                self._end(stream, to_status(error, PLAIN))
            except Exception:
                log.exception("call %s: its stream ends", stream.origin.trace_id)
                self._end(stream, internal(stream.origin.trace_id))

    def _read(self, at: Place) -> EventPage:
        page = self._log.list(_CALL, at, PAGE_SIZE)
        sleep(_PAUSE_S)
        return page

    def _continue(self, stream: Stream, page: EventPage, now: float) -> None:
        if not page.complete:
            raise expired()
        silent = now - stream.since > HEARTBEAT_S
        if page.items or silent:
            stream.caller = stream.authenticate()
        wanted = [placed for placed in page.items if stream.gets(placed)]
        stream.at = page.last
        if wanted or silent:
            self._send(stream, wanted)
        if page.more:
            self._woken.set()

    def _send(self, stream: Stream, wanted: Sequence[Placed]) -> None:
        stream.since = monotonic()
        stream.sender.send(self._encode(wanted, stream.at))

    def _give_up(self, stream: Stream) -> None:
        """End a stream whose caller does not read; cancel it if it does not read that either."""
        if stream.ending:
            stream.sender.cancel()
            return
        text = f"a response was not read for {MAX_SENDING_S:g} s"
        error = Exhausted(Reason.STREAM_NOT_READ, f"{text}; continue with the last resume_token")
        self._end(stream, to_status(error, PLAIN))

    def _end(self, stream: Stream, status: Status) -> None:
        stream.ending = True
        stream.since = monotonic()
        stream.sender.end(grpc_status(status, stream.origin))


def _stopping(what: str) -> Unavailable:
    return Unavailable(Reason.SERVER_STOPPING, f"the server is stopping; {what}")

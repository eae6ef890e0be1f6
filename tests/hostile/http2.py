"""A client of HTTP/2 (RFC 9113) that may break every rule: frames are bytes on a socket."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from hpack import Decoder, Encoder
from hpack.exceptions import HPACKError
from hyperframe.exceptions import HyperframeError
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tests.hostile.sockets import ADDRESSES, Socket

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
Header = tuple[str, str | bytes]
Headers = Sequence[Header]


def message(payload: bytes = b"", flag: int = 0, length: int | None = None) -> bytes:
    """A gRPC message in its frame; `length` is what the frame claims."""
    claimed = len(payload) if length is None else length
    return bytes([flag]) + claimed.to_bytes(4) + payload


def rpc(
    path: str, *more: Header, key: str | None = None, kind: str = "application/grpc"
) -> Headers:
    """The headers of a gRPC call."""
    found: list[Header] = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "portal.test"),
        ("content-type", kind),
        ("te", "trailers"),
    ]
    if key is not None:
        found.append(("authorization", key))
    return [*found, *more]


def http(method: str, path: str, *more: Header, key: str | None = None) -> Headers:
    """The headers of a REST call."""
    found: list[Header] = [
        (":method", method),
        (":scheme", "http"),
        (":path", path),
        (":authority", "portal.test"),
    ]
    if key is not None:
        found.append(("authorization", key))
    return [*found, *more]


@dataclass
class Reply:
    """What came back on a stream so far. `status` is 0 and `grpc` is None until they are known."""

    headers: dict[str, str] = field(default_factory=dict)
    data: bytearray = field(default_factory=bytearray)
    ended: bool = False
    reset: int | None = None

    @property
    def status(self) -> int:
        return int(self.headers.get(":status", 0))

    @property
    def grpc(self) -> int | None:
        text = self.headers.get("grpc-status")
        return None if text is None else int(text)

    @property
    def over(self) -> bool:
        return self.ended or self.reset is not None


class Connection(Socket):
    """One connection. What is sent to a closed one is dropped: being cut off is a fair respond."""

    def __init__(
        self,
        port: int,
        *,
        source: str = ADDRESSES[0],
        preface: bool = True,
        settings: dict[int, int] | None = None,
        reads_data: bool = True,
    ) -> None:
        """Connect. `reads_data=False` never grants the peer more of its window."""
        self.goaway: int | None = None
        self.pongs = 0
        self.replies: dict[int, Reply] = {}
        self.encoder, self._decoder = Encoder(), Decoder()
        self._reads_data = reads_data
        # What the peer lets us send (RFC 9113, section 5.2): in total, and on a new stream.
        self._window, self._initial_window = 65_535, 65_535
        self._windows: dict[int, int] = {}
        self._buffer = b""
        self._next = 1
        super().__init__(port, source, seconds=5)
        if preface:
            self.send(PREFACE + SettingsFrame(0, settings=settings or {}).serialize())

    @property
    def open_streams(self) -> int:
        return 0 if self.closed else sum(not reply.over for reply in self.replies.values())

    def send(self, data: bytes) -> None:
        """Send these bytes, whatever they are."""
        if self.closed:
            return
        try:
            self._socket.sendall(data)
        except OSError:
            self.close()

    def begin(self, headers: Headers, *, end: bool = False) -> int:
        """Open a stream with these headers; returns its number."""
        number, self._next = self._next, self._next + 2
        self.replies[number] = Reply()
        self.send(self.headers_frame(number, headers, end=end))
        return number

    def headers_frame(self, stream: int, headers: Headers, *, end: bool = False) -> bytes:
        """A HEADERS frame, with CONTINUATION frames when it is longer than one may be."""
        # hpack's Huffman coding takes quadratic time, minutes for a header of 1 MB.
        block = self.encoder.encode([(name, value) for name, value in headers], huffman=False)
        first, rest = block[:16384], block[16384:]
        flags = 0x1 * end | 0x4 * (not rest)
        frames = [raw_frame(0x1, flags, stream, first)]
        while rest:
            part, rest = rest[:16384], rest[16384:]
            frames.append(raw_frame(0x9, 0x4 * (not rest), stream, part))
        return b"".join(frames)

    def data(self, stream: int, data: bytes, *, end: bool = False, seconds: float = 5) -> None:
        """Send DATA; waits so long for the peer's window, then drops what is left."""
        parts = [data[at : at + 16384] for at in range(0, len(data), 16384)] or [b""]
        until = time.monotonic() + seconds
        for part in parts:
            while len(part) > min(self._window, self._window_of(stream)):
                if self.closed or self.replies[stream].over or time.monotonic() > until:
                    return
                self.pump(0.05)
            self._window -= len(part)
            self._windows[stream] = self._window_of(stream) - len(part)
            self.send(raw_frame(0x0, 0x1 * (end and part is parts[-1]), stream, part))

    def _window_of(self, stream: int) -> int:
        return self._windows.get(stream, self._initial_window)

    def call(self, headers: Headers, body: bytes = b"", seconds: float = 5) -> Reply:
        """A whole request and its reply."""
        stream = self.begin(headers, end=not body)
        if body:
            self.data(stream, body, end=True)
        return self.wait(stream, seconds)

    def wait(self, stream: int, seconds: float = 5) -> Reply:
        """The reply on a stream; what there is of it after so long."""
        until = time.monotonic() + seconds
        reply = self.replies[stream]
        # After a GOAWAY with an error nothing comes, but Envoy closes a second later.
        while not (reply.over or self.closed or self.goaway) and time.monotonic() < until:
            self.pump(0.05)
        return reply

    def pump(self, seconds: float = 0) -> None:
        """Read what has come, wait at most so long for the first of it."""
        if self.closed:
            return
        self._socket.settimeout(seconds or 0.0001)
        try:
            data = self._socket.recv(1 << 20)
            if not data:
                self.close()
            self._buffer += data
        except TimeoutError:
            pass
        except OSError:
            self.close()
        finally:
            if not self.closed:
                self._socket.settimeout(5)
        self._take_frames()

    def _take_frames(self) -> None:
        while len(self._buffer) >= 9:
            length = int.from_bytes(self._buffer[:3])
            if len(self._buffer) < 9 + length:
                return
            head, body = self._buffer[:9], self._buffer[9 : 9 + length]
            self._buffer = self._buffer[9 + length :]
            try:
                frame, _ = Frame.parse_frame_header(memoryview(head))
                frame.parse_body(memoryview(body))
                self._on(frame)
            except (HyperframeError, HPACKError):
                self.close()

    def _on(self, frame: Frame) -> None:
        if frame.stream_id:
            self._on_stream(frame, self.replies.setdefault(frame.stream_id, Reply()))
        elif isinstance(frame, WindowUpdateFrame):
            self._window += frame.window_increment
        elif isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
            new = frame.settings.get(SettingsFrame.INITIAL_WINDOW_SIZE, self._initial_window)
            for stream, left in self._windows.items():
                self._windows[stream] = left + new - self._initial_window
            self._initial_window = new
            self.send(SettingsFrame(0, flags=["ACK"]).serialize())
        elif isinstance(frame, PingFrame):
            self.pongs += "ACK" in frame.flags
        elif isinstance(frame, GoAwayFrame):
            self.goaway = frame.error_code

    def _on_stream(self, frame: Frame, reply: Reply) -> None:
        if isinstance(frame, HeadersFrame):
            for name, value in self._decoder.decode(frame.data, raw=True):
                reply.headers[name.decode("latin-1")] = value.decode("latin-1")
        elif isinstance(frame, DataFrame):
            reply.data += frame.data
            self._grant(frame)
        elif isinstance(frame, WindowUpdateFrame):
            left = self._window_of(frame.stream_id)
            self._windows[frame.stream_id] = left + frame.window_increment
        elif isinstance(frame, RstStreamFrame):
            reply.reset = frame.error_code
        if "END_STREAM" in frame.flags:
            reply.ended = True

    def _grant(self, frame: DataFrame) -> None:
        """Give the peer back the window that a frame took."""
        size = frame.flow_controlled_length
        if not self._reads_data or not size:
            return
        self.send(WindowUpdateFrame(0, window_increment=size).serialize())
        if "END_STREAM" not in frame.flags:
            self.send(WindowUpdateFrame(frame.stream_id, window_increment=size).serialize())


def raw_frame(kind: int, flags: int, stream: int, body: bytes, length: int | None = None) -> bytes:
    """A frame (RFC 9113, section 4.1); `length` is what it claims."""
    claimed = len(body) if length is None else length
    return claimed.to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + body


def random_headers(texts: Iterable[str]) -> list[Header]:
    """Headers that push everything else out of a peer's table of headers (RFC 7541)."""
    return [(f"x-{at}", text) for at, text in enumerate(texts)]

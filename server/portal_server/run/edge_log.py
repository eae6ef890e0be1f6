"""The edge's log: Envoy's lines, on the standard error of `portal up`.

Envoy writes a line for each call that it ended itself. Anyone can cause these, so the log has a
limited number a second, and the number of the others.

Envoy writes into a named pipe: standard error may be a socket, which Envoy cannot open, or a file,
in which two writers would overwrite each other's lines.
"""

import logging
import os
import select
import sys
import threading
import time
from pathlib import Path

from portal_server.limited_lines import LimitedLines

log = logging.getLogger(__name__)

_CHUNK = 1 << 16
_REPORT_S = 1.0
# Longer than any line: envoy.yaml limits the fields that a caller chooses.
_MAX_LINE = 1 << 16


class EdgeLog:
    """Passes the lines on. `path` is the pipe; it exists until `close`."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path, 0o600)
        self._pipe = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        # So that the pipe is never at its end while Envoy is replaced.
        self._writer = os.open(path, os.O_WRONLY)
        os.set_blocking(self._pipe, True)
        self._rest = b""
        self._limited = LimitedLines()
        self._reported = time.monotonic()
        self._thread = threading.Thread(target=self._copy, name="edge-log", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Pass the last lines on, once Envoy has ended."""
        os.close(self._writer)
        self._thread.join(1)

    def _copy(self) -> None:
        chunk: bytes | None = None
        while chunk != b"":
            ready, _, _ = select.select([self._pipe], [], [], 1)
            self._report_sometimes()
            chunk = os.read(self._pipe, _CHUNK) if ready else None
            if chunk:
                *lines, rest = (self._rest + chunk).split(b"\n")
                self._rest = rest[:_MAX_LINE]
                self._pass_on(lines)
        os.close(self._pipe)
        self._report()

    def _report_sometimes(self) -> None:
        now = time.monotonic()
        if now - self._reported >= _REPORT_S:
            self._reported = now
            self._report()

    def _report(self) -> None:
        if unlogged := self._limited.take_unlogged():
            log.warning("%d more calls rejected by the edge are not in the log", unlogged)

    def _pass_on(self, lines: list[bytes]) -> None:
        allowed = lines[: self._limited.allow(len(lines))]
        if allowed:
            sys.stderr.write("".join(line.decode(errors="replace") + "\n" for line in allowed))
            sys.stderr.flush()

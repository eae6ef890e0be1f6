"""Fuzzer of the whole system: `make fuzz`, for ten minutes; FUZZ='--seconds 60' is shorter.

A case is a list of steps on one connection, made by Hypothesis. After each case
callers with a key must be served, the probes must respond, no reply may be an
internal error, and no process may have died. What breaks this is made smaller
by Hypothesis, printed, and written to tests/hostile/cases/, where a test
replays it for ever after.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.hostile.grammar import CASE, Step, bytes_of
from tests.hostile.http2 import Connection, Header, Reply, http, rpc
from tests.hostile.system import System, end, start_system
from tests.hostile.victims import Victims

CASES = Path(__file__).parent / "cases"

# Internal errors, in the words of each surface: a caller must not be able to cause them.
_INTERNAL = {2: "UNKNOWN", 13: "INTERNAL"}


class Found(AssertionError):
    """The oracle's judgment against the system."""


def _headers(step: Step, system: System) -> list[Header]:
    key = {"viewer": system.greedy_viewer, "admin": system.greedy_admin}.get(step["key"])
    make = rpc if step["kind"] == "rpc" else http
    first = (step["path"],) if step["kind"] == "rpc" else (step["method"], step["path"])
    more = [(name, bytes_of(value)) for name, value in step["headers"]]
    return list(make(*first, *more, key=key))


def run(case: Sequence[Step], system: System, port: int) -> list[Reply]:
    """Do these steps on a connection; returns the replies."""
    with Connection(port) as connection:
        for step in case:
            if step["kind"] == "raw":
                connection.send(bytes_of(step["bytes"]))
                continue
            body = bytes_of(step["body"])
            stream = connection.begin(_headers(step, system), end=step["end"] and not body)
            if body:
                connection.data(stream, body, end=step["end"])
        for stream in list(connection.replies):
            connection.wait(stream, 0.3)
        return list(connection.replies.values())


@dataclass
class Oracle:
    """What must hold after each case."""

    system: System

    def __post_init__(self) -> None:
        self._children = self.system.stack.children()
        self._logged = self.system.stack.err.stat().st_size

    def judge(self, replies: Sequence[Reply]) -> None:
        """Raise Found when something does not hold."""
        for reply in replies:
            if reply.grpc in _INTERNAL or reply.status == 500:
                raise Found(f"an internal error: {reply.headers} {bytes(reply.data[:300])!r}")
        start = time.monotonic()
        try:
            self.system.require_served()
            for port in self.system.ports.values():
                with Connection(port, source="127.0.0.1") as connection:
                    found = connection.call(http("GET", "/healthz"))
                    assert found.status == 200, f"/healthz: {found}"
            self.system.require_quiet_log(self._logged)
        except AssertionError as error:
            raise Found(str(error)) from None
        if (taken := time.monotonic() - start) > 1:
            raise Found(f"good calls took {taken:.1f} s")
        if (now := self.system.stack.children()) != self._children:
            raise Found(f"processes died: {self._children} became {now}")


def write(case: Sequence[Step], why: str) -> Path:
    """Keep a case as a file that the tests replay."""
    name = f"{sha256(json.dumps(case).encode()).hexdigest()[:8]}.json"
    path = CASES / name
    path.write_text(json.dumps({"why": why[:2000], "steps": list(case)}, indent=1) + "\n")
    return path


def fuzz(system: System, seconds: float, start: int) -> int:
    """Run cases for this long; returns how many there were. Raises Found, after the shrinking."""
    until: float | None = None  # Hypothesis takes its time before the first case.
    count = 0
    smallest: tuple[list[Step], str] | None = None
    oracle = Oracle(system)

    def once(case: list[Step]) -> None:
        nonlocal count, smallest, until
        until = until or time.monotonic() + seconds
        if time.monotonic() > until and smallest is None:
            return
        count += 1
        try:
            for port in system.ports.values():
                oracle.judge(run(case, system, port))
        except Found as error:
            smallest = case, str(error)
            raise

    batch = start
    while (until is None or time.monotonic() < until) and smallest is None:
        batch += 1
        tried = settings(
            max_examples=200,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )(seed(batch)(given(CASE)(once)))
        try:
            tried()
        except BaseException as error:
            if smallest is None or isinstance(error, KeyboardInterrupt):
                raise
    if smallest:
        case, why = smallest
        raise Found(
            f"{why}\nkept as {write(case, why)}; seed {batch}\n{json.dumps(case, indent=1)}"
        )
    return count


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    chosen = parser.parse_args()
    victims = Victims()
    try:
        with TemporaryDirectory(prefix="portal-fuzz-") as folder:
            system = start_system(Path(folder), victims, PORTAL_WORKERS="2")
            try:
                count = fuzz(system, chosen.seconds, chosen.seed)
            finally:
                end(system.stack)
    except Found as error:
        sys.stdout.write(f"{error}\n")
        return 1
    finally:
        victims.end()
    sys.stdout.write(f"{count} cases, nothing found (seed {chosen.seed})\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A long load with a fixed rate, during which nothing may grow, fail or be lost: `make soak`.

It starts the portal as its users do, with two servers on PostgreSQL and with one on SQLite. The
responses of writes are kept for a short time, so that their expiry is part of the load. It exits
with 1 and a line for each criterion (`bench.growth`) that was missed.
"""

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench import systems
from bench.check import check_and_seed
from bench.connection import percentile
from bench.databases import DATABASES, Database, running
from bench.growth import Run, Sample, Usage, differences, missed, warm_up
from bench.markdown import table
from bench.mix import RATE, Mix, Tally
from bench.processes import open_files, resident_mib, threads
from bench.surfaces import Native
from bench.systems import System
from tests.support.stack import ROOT

_HOUR = 3600.0
# The warm-up takes half of it.
_SHORTEST = 30.0
# Shorter loads have no history worth a file.
_SHORTEST_RECORDED = 600.0
_FILE = ROOT / "bench" / "results" / "soak.md"

_SERVERS = {"sqlite": 1, "postgresql": 2}
# Responses expire several times in the shortest load, and every minute in long ones.
_KEPT_MOST_S, _KEPT_SHARE = 60.0, 1 / 8
# A p99 needs some hundred calls, and a load some samples.
_PERIOD_LEAST_S, _PERIOD_MOST_S, _PERIOD_SHARE = 1.0, 10.0, 1 / 100
# The callers connect before the load begins.
_CONNECT_S = 1.0
_ROWS = 12


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to do."""

    databases: list[str]
    seconds: float
    judge_latency: bool
    folder: Path | None

    @property
    def kept_seconds(self) -> float:
        """How long responses are kept for retries."""
        return min(_KEPT_MOST_S, self.seconds * _KEPT_SHARE)

    @property
    def period(self) -> float:
        """The seconds between two samples."""
        return min(_PERIOD_MOST_S, max(_PERIOD_LEAST_S, self.seconds * _PERIOD_SHARE))


def _plan() -> Plan:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=_HOUR, help=f"at least {_SHORTEST:g}; default: %(default)g"
    )
    parser.add_argument(
        "--database",
        nargs="+",
        choices=DATABASES,
        default=["sqlite"],
        help="one after the other; default: sqlite",
    )
    parser.add_argument(
        "--ignore-latency",
        action="store_true",
        help="print the p99, but do not judge it: other programs use the machine, too",
    )
    parser.add_argument("--folder", type=Path, help="where the data goes; default: /tmp")
    given = parser.parse_args()
    if given.seconds < _SHORTEST:
        parser.error(f"--seconds must be at least {_SHORTEST:g}: the warm-up takes half of that")
    return Plan(
        databases=given.database,
        seconds=given.seconds,
        judge_latency=not given.ignore_latency,
        folder=given.folder,
    )


class _Sampler:
    """Takes the samples."""

    def __init__(self, system: System, database: Database, tally: Tally) -> None:
        self._system = system
        self._database = database
        self._tally = tally
        self._names = {
            pid: f"{part} {number}" if len(pids) > 1 else part
            for part, pids in system.processes().items()
            for number, pid in enumerate(pids, 1)
        }

    def sample(self, seconds: float) -> Sample:
        """The system now."""
        latencies = self._tally.take_latencies()
        parts, owner = self._system.processes(), self._system.owner
        return Sample(
            seconds=seconds,
            processes={
                self._names.get(pid, f"{part} with process ID {pid}"): Usage(
                    memory_mib=resident_mib(pid), threads=threads(pid), files=len(open_files(pid))
                )
                for part, pids in parts.items()
                for pid in pids
            },
            connections=self._database.connections(owner, parts["server"]),
            wal_mib=self._database.wal_bytes(owner) / 2**20,
            responses=self._database.responses(owner),
            calls=len(latencies),
            p99_ms=percentile(latencies, 0.99) * 1e3,
        )


def _samples(sampler: _Sampler, begin: float, plan: Plan) -> Iterator[Sample]:
    """A sample after each period; the last one is at the end."""
    number = 0
    while number * plan.period < plan.seconds:
        number += 1
        seconds = min(number * plan.period, plan.seconds)
        time.sleep(max(0.0, begin + seconds - time.perf_counter()))
        sample = sampler.sample(seconds)
        if number % max(1, round(plan.seconds / plan.period / _ROWS)) == 0:
            _say(_progress(sample))
        yield sample


def _progress(sample: Sample) -> str:
    memory = ", ".join(f"{name} {use.memory_mib:.0f}" for name, use in sample.processes.items())
    return f"{sample.seconds:>6.0f} s  MiB: {memory}  p99 {sample.p99_ms:.1f} ms"


def _load(plan: Plan, database: Database, folder: Path) -> Run:
    """Start the portal, load it, and compare what is stored at the end."""
    settings = {
        "PORTAL_WORKERS": str(_SERVERS[database.name]),
        "PORTAL_REQUEST_ID_SECONDS": f"{plan.kept_seconds:g}",
    }
    with systems.portal(database, folder, **settings) as (rest, native, _):
        check_and_seed(rest)
        before = _stored(native)
        begin = time.perf_counter() + _CONNECT_S
        mix = Mix(rest, native, begin, plan.seconds)
        sampler = _Sampler(rest, database, mix.tally)
        mix.start()
        samples = list(_samples(sampler, begin, plan))
        expected = before | mix.join()
        return Run(
            database=database.name,
            seconds=plan.seconds,
            rate=RATE,
            kept_seconds=plan.kept_seconds,
            samples=samples,
            writes=mix.tally.writes,
            errors=mix.tally.errors,
            differences=differences(expected, _stored(native)),
        )


def _stored(system: System) -> dict[int, str]:
    surface = Native(system)
    surface.connect()
    try:
        return surface.etags()
    finally:
        surface.close()


def _condensed(samples: Sequence[Sample]) -> str:
    """A table of about `_ROWS` rows, each of several samples."""
    names = list(samples[0].processes)
    head = (
        "until, s",
        *(f"{name}, MiB" for name in names),
        *("threads", "open files", "connections", "WAL, MiB", "kept responses", "calls", "p99, ms"),
    )
    size = max(1, round(len(samples) / _ROWS))
    groups = (samples[at : at + size] for at in range(0, len(samples), size))
    return table(head, (_row(names, group) for group in groups))


def _row(names: Sequence[str], group: Sequence[Sample]) -> tuple[str, ...]:
    """Medians of memory and p99, the largest of the other values, the sum of the calls."""

    def largest(values: Iterator[float]) -> str:
        return f"{max(values):.0f}"

    return (
        f"{group[-1].seconds:.0f}",
        *(
            _median(one.processes[name].memory_mib for one in group if name in one.processes)
            for name in names
        ),
        largest(sum(use.threads for use in one.processes.values()) for one in group),
        largest(sum(use.files for use in one.processes.values()) for one in group),
        largest(one.connections for one in group),
        f"{max(one.wal_mib for one in group):.1f}",
        largest(one.responses for one in group),
        str(sum(one.calls for one in group)),
        _median(one.p99_ms for one in group),
    )


def _median(values: Iterator[float]) -> str:
    found = list(values)
    return f"{median(found):.1f}" if found else ""


def _report(run: Run, lines: Sequence[str]) -> str:
    servers = _SERVERS[run.database]
    text = (
        f"### {DATABASES[run.database]}, {servers} server{'s' if servers > 1 else ''}\n\n"
        f"{run.seconds:.0f} s, {run.rate:.0f} calls a second, {run.writes:,} writes;"
        f" the first {warm_up(run.seconds):.0f} s are the warm-up;"
        f" responses are kept for {run.kept_seconds:g} s.\n\n"
        "Each row has medians of memory and p99, maxima of the other values, and all calls.\n\n"
        f"{_condensed(run.samples)}\n"
    )
    return text + ("\n".join(f"Missed: {line}" for line in lines) or "All criteria are met.") + "\n"


def _say(text: str) -> None:
    print(text, flush=True)


def soak(plan: Plan) -> list[str]:
    """Load each database, and report; returns a line for each criterion that was missed."""
    sections, found = [], list[str]()
    with tempfile.TemporaryDirectory(prefix="portal-soak-", dir=plan.folder) as home:
        # root runs PostgreSQL as another user, who needs access.
        Path(home).chmod(0o755)
        for name in plan.databases:
            folder = Path(home) / name
            folder.mkdir()
            _say(f"{DATABASES[name]}, {plan.seconds:.0f} s:")
            with running(name, folder) as database:
                run = _load(plan, database, folder)
            lines = missed(run, judge_latency=plan.judge_latency)
            sections.append(_report(run, lines))
            found += lines
            _say("\n" + sections[-1])
    if plan.seconds >= _SHORTEST_RECORDED:
        _FILE.write_text("\n".join(sections))
        _say(f"Written: {_FILE.relative_to(ROOT)}")
    return found


def main() -> None:
    """Run it; the exit status is 1 if a criterion was missed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    sys.exit(bool(soak(_plan())))


if __name__ == "__main__":
    main()

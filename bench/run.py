"""Measures every system on every database, alternating, and writes the report."""

import argparse
import json
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench import disk, go_peer, machine, registrations, scale, systems
from bench.check import check_and_seed
from bench.databases import DATABASES, Database, running
from bench.figures import Figures, targets
from bench.load import Job
from bench.measure import Measured, measure
from bench.plot import plot
from bench.report import errors, put_between_markers, report
from bench.systems import EMPTY_RPCS, System
from bench.workloads import EMPTY, WORKLOADS
from tests.support.stack import ROOT

_DATABASES = tuple(DATABASES)
_SYSTEMS = ("portal", "tutorial", "tuned", "bare", "go", "empty")
# Workloads, callers, rounds, seconds.
_FULL = WORKLOADS, (1, 16, 64, 256), 3, 2.0
_QUICK = ("create", "get"), (1, 16, 256), 1, 1.0
_RESULTS = ROOT / "bench" / "results"
_PAGE = ROOT / "docs" / "benchmarks.md"
_PLOT = ROOT / "docs" / "benchmarks.svg"
_WARM_UP_SECONDS = 0.3


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to measure."""

    databases: list[str]
    systems: list[str]
    workloads: list[str]
    callers: list[int]
    rounds: int
    seconds: float
    tuned_workers: list[int]
    folder: Path | None
    scale: int | None
    registrations: bool

    @property
    def is_full(self) -> bool:
        """Whether its figures may go into the documentation."""
        measured = tuple(self.workloads), tuple(self.callers), self.rounds, self.seconds
        everything = tuple(self.databases), tuple(self.systems)
        return measured == _FULL and everything == (_DATABASES, _SYSTEMS)


def _plan() -> Plan:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--database", nargs="+", choices=_DATABASES, default=list(_DATABASES))
    parser.add_argument("--system", nargs="+", choices=_SYSTEMS, default=list(_SYSTEMS))
    parser.add_argument("--workload", nargs="+", choices=WORKLOADS, help="default: all")
    parser.add_argument("--callers", nargs="+", type=int, help="default: 1 16 64 256")
    parser.add_argument("--rounds", type=int, help="default: 3")
    parser.add_argument("--seconds", type=float, help="of each measurement; default: 2")
    parser.add_argument("--quick", action="store_true", help="one short round of fewer cases")
    parser.add_argument(
        "--scale",
        nargs="?",
        type=int,
        const=scale.LARGE,
        metavar="ROWS",
        help="instead, measure what could grow with the table: with this many client types"
        f" and with {scale.SMALL:,}; default: {scale.LARGE:,}",
    )
    parser.add_argument(
        "--registrations",
        action="store_true",
        help="instead, measure registrations at an identity provider; needs Node and npm",
    )
    parser.add_argument(
        "--tuned-workers",
        nargs="+",
        type=int,
        default=[1, 2],
        help="numbers of processes of the tuned peer to try; the best one is used",
    )
    parser.add_argument(
        "--folder", type=Path, help="where the data goes, on the disk to measure; default: /tmp"
    )
    given = parser.parse_args()
    workloads, callers, rounds, seconds = _QUICK if given.quick else _FULL
    return Plan(
        databases=given.database,
        systems=given.system,
        workloads=given.workload or list(workloads),
        callers=given.callers or list(callers),
        rounds=given.rounds or rounds,
        seconds=given.seconds or seconds,
        tuned_workers=given.tuned_workers,
        folder=given.folder,
        scale=given.scale,
        registrations=given.registrations,
    )


def _say(text: str) -> None:
    print(text, flush=True)


@dataclass(frozen=True, kw_only=True)
class _Case:
    """A measurement that is repeated for each system."""

    workload: str
    callers: int
    seconds: float


# The measurement that determines the number of the tuned peer's workers.
_TRIAL = _Case(workload="create", callers=16, seconds=2.0)


def _measure(system: System, ids: list[int], database: Database, case: _Case) -> Measured:
    job = Job(
        protocol=system.protocol,
        port=system.port,
        workload=case.workload,
        callers=case.callers,
        seconds=case.seconds,
        warm_up_seconds=_WARM_UP_SECONDS,
        key=system.key,
        ids=ids,
    )
    measured = measure(system, database, job)
    result = measured.result
    _say(
        f"{database.name:<11}{job.workload:<7}{job.callers:>4} callers  {system.name:<16}"
        f"{result.calls_per_second:>8.0f}/s  p99 {result.p99_ms:>7.1f} ms  "
        f"{sum(result.errors.values())} errors"
    )
    return measured


def _best_number_of_workers(plan: Plan, database: Database, folder: Path) -> int:
    if len(plan.tuned_workers) == 1 or not {"tuned", "bare"} & set(plan.systems):
        return plan.tuned_workers[0]
    speeds = {}
    for workers in plan.tuned_workers:
        with systems.tuned(database, folder, workers) as peer:
            ids = check_and_seed(peer)
            _say(f"the tuned peer with {workers} workers:")
            trial = _measure(peer, ids, database, _TRIAL)
            speeds[workers] = trial.result.calls_per_second
    return max(speeds, key=lambda workers: speeds[workers])


@contextmanager
def _systems(
    plan: Plan, database: Database, folder: Path, workers: int, program: Path | None
) -> Iterator[list[tuple[System, list[int]]]]:
    """The systems on a database, each checked and with IDs that exist in it."""
    with ExitStack() as stack:
        started: list[System] = []
        if "portal" in plan.systems:
            started += stack.enter_context(systems.portal(database, folder))
        if "tutorial" in plan.systems:
            started.append(stack.enter_context(systems.tutorial(database, folder)))
        for name in (systems.TUNED, systems.BARE):
            if name in plan.systems:
                started.append(stack.enter_context(systems.tuned(database, folder, workers, name)))
        if program:
            started += stack.enter_context(systems.go(database, folder, program))
        checked = [(system, check_and_seed(system)) for system in started]
        if "empty" in plan.systems:
            empty = [stack.enter_context(systems.empty_rpc(folder, name)) for name in EMPTY_RPCS]
            checked += [(system, [1]) for system in empty]
        yield checked


def _go_peer(plan: Plan, facts: dict[str, str]) -> Path | None:
    """The program of the Go peer; a reason in the facts if it is left out."""
    if "go" not in plan.systems:
        return None
    try:
        program = go_peer.build()
    except go_peer.NotBuilt as reason:
        facts["Go"] = f"the Go peer is left out: {reason}"
        _say(facts["Go"])
        return None
    facts["Go"] = go_peer.version()
    return program


def _cases(plan: Plan) -> Iterator[_Case]:
    """The cases of a round; the empty RPC is measured together with the creates."""
    for workload in plan.workloads:
        turns = (workload, EMPTY) if workload == "create" else (workload,)
        for callers in plan.callers:
            for turn in turns:
                yield _Case(workload=turn, callers=callers, seconds=plan.seconds)


def _measure_database(
    plan: Plan, name: str, folder: Path, program: Path | None
) -> tuple[list[Measured], int]:
    """All measurements on one database, and how many workers the tuned peer had."""
    found = []
    with running(name, folder) as database:
        workers = _best_number_of_workers(plan, database, folder)
        with _systems(plan, database, folder, workers, program) as started:
            for number in range(plan.rounds):
                _say(f"{name}, round {number + 1} of {plan.rounds}")
                for case in _cases(plan):
                    found += [
                        _measure(system, ids, database, case)
                        for system, ids in started
                        if case.workload in system.workloads
                    ]
    return found, workers


def _write(plan: Plan, figures: Figures, facts: dict[str, str]) -> None:
    text = report(figures, facts)
    _RESULTS.mkdir(exist_ok=True)
    record = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "rounds": plan.rounds,
        "seconds": plan.seconds,
        "facts": facts,
        "targets": [asdict(one) for one in targets(figures)],
        "figures": figures.as_json(),
    }
    (_RESULTS / "latest.json").write_text(json.dumps(record, indent=1) + "\n")
    (_RESULTS / "latest.md").write_text(text)
    _say("\n" + text)
    if kinds := errors(figures):
        _say(f"Errors, by kind:\n{kinds}\n")
    if plan.is_full:
        _PAGE.write_text(put_between_markers(_PAGE.read_text(), text))
        plot(figures, _PLOT)
        _say(f"Written: {_RESULTS.relative_to(ROOT)}, docs/benchmarks.md, docs/benchmarks.svg")
    else:
        _say(f"Written: {_RESULTS.relative_to(ROOT)} (the documentation keeps its full run)")


def main() -> None:
    """Run it all."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    plan = _plan()
    if plan.scale:
        scale.measure(plan.databases, plan.scale, plan.folder)
        return
    if plan.registrations:
        for database in plan.databases:
            registrations.run(database, plan.rounds, plan.seconds, plan.folder)
        return
    measured: list[Measured] = []
    with tempfile.TemporaryDirectory(prefix="portal-bench-", dir=plan.folder) as name:
        folder = Path(name)
        # root runs PostgreSQL as another user, who needs access.
        folder.chmod(0o755)
        facts = machine.describe(folder)
        if facts["file system of the data"] == "tmpfs":
            _say("The data is in memory: nothing here is durable. Give --folder on a disk.")
        program = _go_peer(plan, facts)
        facts["SQLite commits of 200 bytes a second"] = f"{disk.sqlite_commits(folder):.0f}"
        facts["fdatasync of 200 bytes a second"] = f"{disk.fdatasyncs(folder):.0f}"
        facts["load before"] = f"{os.getloadavg()[0]:.1f}"
        for database in plan.databases:
            home = folder / database
            home.mkdir()
            found, workers = _measure_database(plan, database, home, program)
            measured += found
            facts[f"workers of the tuned peer, {database}"] = str(workers)
    facts["rounds"] = f"{plan.rounds} of {plan.seconds:g} s"
    _write(plan, Figures(measured), facts)

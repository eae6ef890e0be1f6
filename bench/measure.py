"""One measurement: a load, its cost, and whether all acknowledged writes are stored."""

import dataclasses
import json
import subprocess
import sys
import time
from dataclasses import dataclass

from bench.connection import NO_RESPONSE
from bench.databases import Database
from bench.load import Job, Result
from bench.processes import cpu_seconds, peak_mib, reset_peak
from bench.systems import System
from tests.support.stack import ENVIRONMENT, ROOT

# A system is idle when it uses less than this share of a core.
_REST_SHARE = 0.05
_REST_LOOK_SECONDS = 0.2
_REST_SECONDS = 40.0


class LostRows(Exception):
    """Fewer rows are stored than were acknowledged."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A result and its circumstances; by part of the system, µs of CPU a call and MiB of memory."""

    database: str
    system: str
    workload: str
    callers: int
    result: Result
    cpu_us: dict[str, float]
    peak_mib: dict[str, float]


def measure(system: System, database: Database, job: Job) -> Measured:
    """Load a system.

    Raises:
        LostRows: the database has fewer new rows than were acknowledged.
    """
    parts = _parts(system, database)
    for pids in parts.values():
        reset_peak(pids)
    before = database.rows(system.owner) if system.owner else 0
    cpu = {part: cpu_seconds(pids) for part, pids in parts.items()}
    result = _load(job)
    parts = _parts(system, database)
    cpu = {part: cpu_seconds(pids) - cpu[part] for part, pids in parts.items()}
    if system.owner:
        stored = database.rows(system.owner) - before
        if stored < result.created:
            raise LostRows(f"{system.name}: {result.created} acknowledged, {stored} stored")
    measured = Measured(
        database=database.name,
        system=system.name,
        workload=job.workload,
        callers=job.callers,
        result=result,
        cpu_us={part: seconds / max(1, result.calls) * 1e6 for part, seconds in cpu.items()},
        peak_mib={part: peak_mib(pids) for part, pids in parts.items()},
    )
    if NO_RESPONSE in result.errors:
        # Its remaining work must not slow down the next measurement.
        system.restart()
    _await_rest(system, database)
    return measured


def _parts(system: System, database: Database) -> dict[str, list[int]]:
    parts = system.processes()
    if system.owner and (pids := database.processes()):
        parts["database"] = pids
    return parts


def _load(job: Job) -> Result:
    done = subprocess.run(
        [sys.executable, "-m", "bench.load"],
        cwd=ROOT,
        env=ENVIRONMENT,
        input=json.dumps(dataclasses.asdict(job)),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return Result(**json.loads(done.stdout))


def _await_rest(system: System, database: Database) -> None:
    """Wait until abandoned work is done, so that it does not slow down the next measurement."""

    def cpu() -> float:
        return sum(map(cpu_seconds, _parts(system, database).values()))

    deadline = time.monotonic() + _REST_SECONDS
    before = cpu()
    while time.monotonic() < deadline:
        time.sleep(_REST_LOOK_SECONDS)
        after = cpu()
        if after - before < _REST_SHARE * _REST_LOOK_SECONDS + 1e-9:
            return
        before = after

"""The criteria of a long load: nothing grows, nothing fails, nothing is lost.

After the warm-up the rest of the load is divided into quarters. The second one is the reference for
the last one: the first one may still start threads and fill caches.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

# Until then caches fill and pools start their threads and connections.
WARM_UP_SHARE = 0.1
WARM_UP_LEAST_S = 15.0

# glibc returns free memory in pieces and Envoy's allocator caches some: both vary by a few MiB. A
# leak of 100 bytes a call, at 150 calls a second, is 24 MiB in the half hour between the quarters.
MEMORY_TIMES = 1.1
MEMORY_MORE_MIB = 8.0

# A pool starts a thread, and opens a connection, the first time that so many calls run at once.
# That may be late, if other programs delay calls: one for each of 8 callers, in the pool of reads
# and in that of writes. A leak in each call or each connection would be thousands.
MORE_THREADS = 16
MORE_CONNECTIONS = 16

# Each of 8 callers may have a new connection before its old one is closed. A connection of a server
# to SQLite is two files: the database and its log.
MORE_FILES = 8 + 2 * MORE_CONNECTIONS

# A busy moment of the machine is not growth; a list or a lookup that becomes slower is.
P99_TIMES = 2.0
P99_MORE_MS = 10.0

# A response is kept for the time of the setting, and then until the server looks for expired ones
# again: after the same time, at most a minute. They are deleted in pieces, beside other writes.
EXPIRY_PERIOD_MOST_S = 60.0
KEPT_TIMES = 1.25

# SQLite checkpoints after 1,000 pages, 4 MiB, and uses the file again: it grows only if a reader
# never ends. PostgreSQL checkpoints every 5 minutes, in which this load writes less than 100 MiB.
WAL_MOST_MIB = {"sqlite": 16.0, "postgresql": 256.0}

# With fewer calls than these the rate was not reached, and the figures are those of another load.
CALLS_LEAST = 0.95


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What a process uses at one time."""

    memory_mib: float
    threads: int
    files: int


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The system at one time.

    `seconds` counts from the start of the load; `processes` are by name. `responses` are those kept
    for retries. `calls` and their `p99_ms` are those since the sample before.
    """

    seconds: float
    processes: Mapping[str, Usage]
    connections: int
    wal_mib: float
    responses: int
    calls: int
    p99_ms: float


@dataclass(frozen=True, kw_only=True)
class Run:
    """A load that has ended.

    `rate` is in calls a second; `writes` are those whose response is kept, for `kept_seconds`.
    `errors` are counted by kind, without those that were wanted. `differences` are lines about
    stored rows that are not what the responses reported.
    """

    database: str
    seconds: float
    rate: float
    kept_seconds: float
    samples: Sequence[Sample]
    writes: int
    errors: Mapping[str, int]
    differences: Sequence[str]

    @property
    def calls(self) -> int:
        """The calls of all samples."""
        return sum(sample.calls for sample in self.samples)


def warm_up(seconds: float) -> float:
    """How many seconds of a load of this length are its warm-up."""
    return max(WARM_UP_LEAST_S, seconds * WARM_UP_SHARE)


def differences(expected: Mapping[int, str], stored: Mapping[int, str]) -> list[str]:
    """A line for each kind of difference between the etags that were acknowledged and stored."""
    kinds = {
        "acknowledged but not stored": expected.keys() - stored.keys(),
        "stored but deleted or not acknowledged": stored.keys() - expected.keys(),
        "stored with another etag than acknowledged": {
            one for one in expected.keys() & stored.keys() if expected[one] != stored[one]
        },
    }
    return [
        f"client types {what}: {len(ids)}, the first has ID {min(ids)}"
        for what, ids in kinds.items()
        if ids
    ]


def missed(run: Run, *, judge_latency: bool = True) -> list[str]:
    """A line for each criterion that the load did not meet."""
    second, last = (_quarter(run, number) for number in (2, 4))
    found = [*_other_processes(run), *_usage(second, last), *_connections(second, last)]
    if judge_latency:
        found += _latency(second, last)
    return [*found, *_responses(run), *_wal(run), *_calls(run), *_errors(run), *run.differences]


def _quarter(run: Run, number: int) -> list[Sample]:
    """The samples of a quarter of the time after the warm-up; the quarters count from 1."""
    begin = warm_up(run.seconds)
    length = (run.seconds - begin) / 4
    after, until = begin + (number - 1) * length, begin + number * length
    return [sample for sample in run.samples if after < sample.seconds <= until]


def _other_processes(run: Run) -> Iterator[str]:
    """A process that ended took with it what it had leaked."""
    names = set(run.samples[0].processes)
    for sample in run.samples:
        if changed := names ^ set(sample.processes):
            text = ", ".join(sorted(changed))
            yield f"processes: started or ended before {sample.seconds:.0f} s: {text}"
            return


def _usage(second: list[Sample], last: list[Sample]) -> Iterator[str]:
    for name in second[0].processes:
        before, after = (_of_process(name, samples) for samples in (second, last))
        if before and after:
            yield from _memory(name, before, after)
            counts = [[use.threads for use in uses] for uses in (before, after)]
            yield from _counted(f"threads of {name}", *counts, more=MORE_THREADS)
            counts = [[use.files for use in uses] for uses in (before, after)]
            yield from _counted(f"open files of {name}", *counts, more=MORE_FILES)


def _of_process(name: str, samples: Iterable[Sample]) -> list[Usage]:
    return [sample.processes[name] for sample in samples if name in sample.processes]


def _memory(name: str, second: list[Usage], last: list[Usage]) -> Iterator[str]:
    before, after = (median(use.memory_mib for use in uses) for uses in (second, last))
    most = max(before * MEMORY_TIMES, before + MEMORY_MORE_MIB)
    if after > most:
        yield f"memory of {name}: {before:.1f} became {after:.1f} MiB, more than {most:.1f}"


def _connections(second: list[Sample], last: list[Sample]) -> Iterator[str]:
    counts = [[sample.connections for sample in samples] for samples in (second, last)]
    yield from _counted("connections to the database", *counts, more=MORE_CONNECTIONS)


def _counted(what: str, second: list[int], last: list[int], *, more: int) -> Iterator[str]:
    before, after = max(second), max(last)
    if after > before + more:
        yield f"{what}: {before} became {after}, more than {before + more}"


def _latency(second: list[Sample], last: list[Sample]) -> Iterator[str]:
    before, after = (median(sample.p99_ms for sample in samples) for samples in (second, last))
    most = before * P99_TIMES + P99_MORE_MS
    if after > most:
        yield f"p99: {before:.1f} became {after:.1f} ms, more than {most:.1f}"


def _responses(run: Run) -> Iterator[str]:
    longest = run.kept_seconds + min(run.kept_seconds, EXPIRY_PERIOD_MOST_S)
    most = run.writes / run.seconds * longest * KEPT_TIMES
    found = max(sample.responses for sample in run.samples)
    if found > most:
        yield f"kept responses: {found}, more than {most:.0f}"


def _wal(run: Run) -> Iterator[str]:
    most = WAL_MOST_MIB[run.database]
    found = max(sample.wal_mib for sample in run.samples)
    if found > most:
        yield f"write-ahead log: {found:.1f} MiB, more than {most:.0f}"


def _calls(run: Run) -> Iterator[str]:
    least = run.rate * run.seconds * CALLS_LEAST
    if run.calls < least:
        yield f"calls: {run.calls}, fewer than {least:.0f}: the rate was not reached"


def _errors(run: Run) -> Iterator[str]:
    for kind, count in run.errors.items():
        yield f"error: {kind} ({count}x)"

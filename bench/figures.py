"""Computes the figures of the report from all measurements: medians over the rounds."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from bench.databases import DATABASES
from bench.measure import Measured
from bench.systems import (
    EMPTY_RPC,
    EMPTY_RPCS,
    GO_GRPC,
    GO_REST,
    GRPC,
    GRPC_DIRECT,
    PLAIN_EMPTY_RPC,
    REST,
    TUNED,
    TUTORIAL,
)
from bench.workloads import EMPTY

# The systems of the portal and the one of the Go peer with the same protocol.
GO_COUNTERPARTS = {REST: GO_REST, GRPC: GO_GRPC, GRPC_DIRECT: GO_GRPC}


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One case: medians over its rounds, the sum of errors, the maximum of memory."""

    database: str
    system: str
    workload: str
    callers: int
    calls_per_second: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    errors: dict[str, int]
    cpu_us: dict[str, float]
    peak_mib: dict[str, float]
    load_us: float

    @property
    def error_count(self) -> int:
        """Errors of any kind."""
        return sum(self.errors.values())

    @property
    def own_cpu_us(self) -> float:
        """The CPU of a call without that of the database's processes."""
        return sum(cost for part, cost in self.cpu_us.items() if part != "database")


def _figure(rounds: list[Measured]) -> Figure:
    first, results = rounds[0], [one.result for one in rounds]
    errors: Counter[str] = Counter()
    for result in results:
        errors.update(result.errors)
    return Figure(
        database=first.database,
        system=first.system,
        workload=first.workload,
        callers=first.callers,
        calls_per_second=median(result.calls_per_second for result in results),
        p50_ms=median(result.p50_ms for result in results),
        p95_ms=median(result.p95_ms for result in results),
        p99_ms=median(result.p99_ms for result in results),
        errors=dict(errors),
        cpu_us={part: median(one.cpu_us[part] for one in rounds) for part in first.cpu_us},
        peak_mib={part: max(one.peak_mib[part] for one in rounds) for part in first.peak_mib},
        load_us=median(result.load_us for result in results),
    )


class Figures:
    """The figures of a run, found by case."""

    def __init__(self, measured: Iterable[Measured]) -> None:
        cases: dict[tuple[str, str, str, int], list[Measured]] = {}
        for one in measured:
            case = one.database, one.system, one.workload, one.callers
            cases.setdefault(case, []).append(one)
        self._figures = {case: _figure(rounds) for case, rounds in cases.items()}

    def get(self, database: str, system: str, workload: str, callers: int) -> Figure | None:
        """The figure of a case, if it was measured."""
        if system in EMPTY_RPCS:
            workload = EMPTY
        return self._figures.get((database, system, workload, callers))

    def distinct(self, field: str) -> list[Any]:
        """The values that a field of the case takes, in the order of measuring."""
        return list(dict.fromkeys(getattr(figure, field) for figure in self._figures.values()))

    def as_json(self) -> list[dict[str, Any]]:
        """All of them."""
        return [asdict(figure) for figure in self._figures.values()]


@dataclass(frozen=True)
class OverGo:
    """A figure of the portal divided by that of the Go peer: calls a second, and CPU a call."""

    speed: float
    cpu: float


def over_go(
    figures: Figures, database: str, system: str, workload: str, callers: int
) -> OverGo | None:
    """The comparison with the Go peer, where both were measured."""
    ours = figures.get(database, system, workload, callers)
    theirs = figures.get(database, GO_COUNTERPARTS[system], workload, callers)
    if not ours or not theirs or not theirs.calls_per_second or not theirs.own_cpu_us:
        return None
    return OverGo(
        ours.calls_per_second / theirs.calls_per_second, ours.own_cpu_us / theirs.own_cpu_us
    )


@dataclass(frozen=True)
class Target:
    """What a figure is for: a sentence and its value, as text."""

    what: str
    value: str


def targets(figures: Figures) -> list[Target]:
    """The comparisons that are the goals of the project."""

    def ratio(database: str, system: str, other: str, callers: int, form: str = "{:.2f}") -> str:
        ours = figures.get(database, system, "create", callers)
        theirs = figures.get(database, other, "create", callers)
        if not ours or not theirs or not theirs.calls_per_second:
            return "not measured"
        return form.format(ours.calls_per_second / theirs.calls_per_second)

    def times_go(database: str, system: str, workload: str) -> str:
        found = over_go(figures, database, system, workload, 16)
        return f"{found.speed:.2f}, CPU {found.cpu:.1f}" if found else "not measured"

    def at_256(text: str) -> str:
        figure = figures.get("sqlite", REST, "create", 256)
        if not figure:
            return "not measured"
        memory = figure.peak_mib["server"]
        return text.format(figure=figure, memory=memory)

    return [
        Target(
            "REST create, 16 callers, SQLite: times the tutorial",
            ratio("sqlite", REST, TUTORIAL, 16),
        ),
        Target(
            "REST create, 1 caller, SQLite: times the tutorial",
            ratio("sqlite", REST, TUTORIAL, 1),
        ),
        Target(
            "REST create, 16 callers, SQLite: times the tuned peer",
            ratio("sqlite", REST, TUNED, 16),
        ),
        Target(
            "REST create, 16 callers, PostgreSQL: times the tuned peer",
            ratio("postgresql", REST, TUNED, 16),
        ),
        *(
            Target(
                f"gRPC create, 16 callers, {label}: times the tuned peer",
                ratio(database, GRPC, TUNED, 16),
            )
            for database, label in DATABASES.items()
        ),
        *(
            Target(
                f"direct gRPC create, 16 callers, SQLite: share of the {empty}",
                ratio("sqlite", GRPC_DIRECT, empty, 16, "{:.0%}"),
            )
            for empty in (PLAIN_EMPTY_RPC, EMPTY_RPC)
        ),
        *(
            Target(
                f"{protocol} {workload}, 16 callers, {DATABASES[database]}: times the Go peer",
                times_go(database, system, workload),
            )
            for database in DATABASES
            for workload in ("create", "get")
            for protocol, system in (("REST", REST), ("gRPC", GRPC))
        ),
        Target("REST create, 256 callers, SQLite: errors", at_256("{figure.error_count}")),
        Target("REST create, 256 callers, SQLite: p99", at_256("{figure.p99_ms:.0f} ms")),
        Target("memory of the gRPC server, 256 callers, SQLite", at_256("{memory:.0f} MiB")),
    ]

"""The report of a run, in Markdown."""

from bench.databases import DATABASES
from bench.figures import GO_COUNTERPARTS, Figure, Figures, over_go, targets
from bench.markdown import table
from bench.systems import EMPTY_RPCS, TUTORIAL
from bench.workloads import EMPTY

_BEGIN = "<!-- written by `make bench`: begin -->"
_END = "<!-- written by `make bench`: end -->"


def report(figures: Figures, facts: dict[str, str]) -> str:
    """All tables."""
    callers = figures.distinct("callers")
    sections = [
        "### In short\n",
        table(("what", "measured"), [(one.what, one.value) for one in targets(figures)]),
    ]
    for database in figures.distinct("database"):
        title = DATABASES[database]
        for workload in figures.distinct("workload"):
            if workload != EMPTY:
                sections += [
                    f"### {title}: {workload}\n",
                    _speed(figures, database, workload, callers),
                ]
        if over := _over_go(figures, database, callers):
            sections += [f"### {title}: the portal over the Go peer\n", over]
        sections += [
            f"### {title}: CPU a call, in µs\n",
            _cost(figures, database),
            f"### {title}: most memory of the server's processes while creating, in MiB\n",
            _memory(figures, database, callers),
        ]
    sections += ["### Measured on\n", table(("", ""), list(facts.items()))]
    return "\n".join(sections)


def _speed(figures: Figures, database: str, workload: str, callers: list[int]) -> str:
    rows = []
    for system in figures.distinct("system"):
        if system in EMPTY_RPCS and workload != "create":
            continue
        cells = []
        for number in callers:
            figure = figures.get(database, system, workload, number)
            tutorial = figures.get(database, TUTORIAL, workload, number)
            cells.append(_cell(figure, tutorial) if figure else "")
        rows.append((system, *cells))
    head = ("calls/s (times the tutorial), p99", *map(_callers, callers))
    return table(head, rows)


def _callers(number: int) -> str:
    return f"{number} caller{'s' if number > 1 else ''}"


def _cell(figure: Figure, tutorial: Figure | None) -> str:
    text = f"{figure.calls_per_second:.0f}"
    if tutorial and tutorial.calls_per_second:
        text += f" ({figure.calls_per_second / tutorial.calls_per_second:.1f}x)"
    text += f", {figure.p99_ms:.1f} ms"
    if figure.errors:
        text += f", **{figure.error_count} errors**"
    return text


def _over_go(figures: Figures, database: str, callers: list[int]) -> str:
    """Calls a second over those of the Go peer, and CPU a call over its; "" without it."""
    rows = []
    for workload in figures.distinct("workload"):
        for system in GO_COUNTERPARTS:
            cases = [over_go(figures, database, system, workload, number) for number in callers]
            if any(cases):
                cells = [f"{one.speed:.2f}x, CPU {one.cpu:.1f}x" if one else "" for one in cases]
                rows.append((f"{workload}: {system}", *cells))
    head = ("calls/s, CPU a call", *map(_callers, callers))
    return table(head, rows) if rows else ""


def _cost(figures: Figures, database: str) -> str:
    workloads = figures.distinct("workload")
    # Fixed costs dominate with few callers, waiting with many: 16 is in between.
    callers = min(figures.distinct("callers"), key=lambda number: abs(number - 16))
    rows = []
    for system in figures.distinct("system"):
        found = [figures.get(database, system, name, callers) for name in workloads]
        shown = [
            _cpu(figure) if figure and figure.workload == workload else ""
            for figure, workload in zip(found, workloads, strict=True)
        ]
        rows.append((system, *shown))
    return table((_callers(callers), *workloads), rows)


def _cpu(figure: Figure) -> str:
    own = {part: cost for part, cost in figure.cpu_us.items() if part != "database"}
    text = f"{figure.own_cpu_us:.0f}"
    if len(own) > 1:
        text += f" ({', '.join(f'{part} {cost:.0f}' for part, cost in own.items())})"
    if "database" in figure.cpu_us:
        text += f" + {figure.cpu_us['database']:.0f}"
    return text


def _memory(figures: Figures, database: str, callers: list[int]) -> str:
    rows = []
    for system in figures.distinct("system"):
        cells = []
        for number in callers:
            figure = figures.get(database, system, "create", number)
            cells.append(f"{figure.peak_mib['server']:.0f}" if figure else "")
        rows.append((system, *cells))
    return table(("", *map(_callers, callers)), rows)


def errors(figures: Figures) -> str:
    """One line for each kind of error, for the terminal."""
    lines = (
        f"{one['database']} {one['system']} {one['workload']} {one['callers']}: {one['errors']}"
        for one in figures.as_json()
        if one["errors"]
    )
    return "\n".join(lines)


def put_between_markers(page: str, text: str) -> str:
    """The page with this text between its markers."""
    before, _, rest = page.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}\n\n{text}\n{_END}{after}"

"""The criteria of `make soak` can fail."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bench.growth import Run, Sample, Usage, differences, missed

SECONDS = 100
WRITES = 4000  # 40 a second, each kept for at most 2 * 10 s: 800 responses
Change = Callable[[Sample], dict[str, Any]]


def sample(seconds: int) -> Sample:
    """A sample of a system that does not grow."""
    return Sample(
        seconds=seconds,
        processes={
            "envoy": Usage(memory_mib=35, threads=9, files=60),
            "server": Usage(memory_mib=100, threads=30, files=40),
        },
        connections=8,
        wal_mib=4,
        responses=800,
        calls=150,
        p99_ms=12,
    )


def run(change: Change = lambda _: {}, **other: Any) -> Run:
    samples = [sample(seconds) for seconds in range(1, SECONDS + 1)]
    values: dict[str, Any] = {
        "database": "sqlite",
        "seconds": SECONDS,
        "rate": 150,
        "kept_seconds": 10,
        "samples": [replace(one, **change(one)) for one in samples],
        "writes": WRITES,
        "errors": {},
        "differences": [],
    }
    return Run(**values | other)


def server(**values: float) -> dict[str, Any]:
    usage: dict[str, Any] = {"memory_mib": 100, "threads": 30, "files": 40}
    processes = sample(0).processes
    return {"processes": {**processes, "server": Usage(**usage | values)}}


GROWING: dict[str, tuple[Change, str]] = {
    "memory": (
        lambda one: server(memory_mib=100 + one.seconds / 3),
        "memory of server: 115.7 became 129.8 MiB, more than 127.2",
    ),
    "threads": (
        lambda one: server(threads=30 + int(one.seconds) // 2),
        "threads of server: 58 became 80, more than 74",
    ),
    "open files": (
        lambda one: server(files=40 + 2 * int(one.seconds)),
        "open files of server: 154 became 240, more than 194",
    ),
    "connections": (
        lambda one: {"connections": 8 + int(one.seconds) // 2},
        "connections to the database: 36 became 58, more than 52",
    ),
    "the p99": (
        lambda one: {"p99_ms": one.seconds**2 / 50},
        "p99: 44.2 became 160.2 ms, more than 98.4",
    ),
    "kept responses": (
        lambda one: {"responses": int(one.seconds) * 12},
        "kept responses: 1200, more than 1000",
    ),
    "the write-ahead log": (
        lambda one: {"wal_mib": one.seconds / 5},
        "write-ahead log: 20.0 MiB, more than 16",
    ),
}


def test_a_load_that_does_not_grow_meets_all_criteria() -> None:
    assert missed(run()) == []


@pytest.mark.parametrize(("change", "line"), GROWING.values(), ids=GROWING.keys())
def test_growth_is_one_line(change: Change, line: str) -> None:
    assert missed(run(change)) == [line]


def test_the_p99_counts_only_on_a_machine_that_does_nothing_else() -> None:
    change, _ = GROWING["the p99"]

    assert missed(run(change), judge_latency=False) == []


def test_memory_that_grew_in_the_warm_up_and_one_slow_sample_are_not_growth() -> None:
    def change(one: Sample) -> dict[str, Any]:
        if one.seconds <= 20:
            return server(memory_mib=60)
        return {"p99_ms": 900} if one.seconds == 95 else {}

    assert missed(run(change)) == []


def test_a_server_that_was_replaced_is_one_line() -> None:
    def change(one: Sample) -> dict[str, Any]:
        usage = dict(one.processes)
        if one.seconds >= 60:
            usage["server with process ID 7"] = usage.pop("server")
        return {"processes": usage}

    [line] = missed(run(change))

    assert line == "processes: started or ended before 60 s: server, server with process ID 7"


def test_a_rate_that_was_not_reached_is_one_line() -> None:
    [line] = missed(run(lambda _: {"calls": 140}))

    assert line == "calls: 14000, fewer than 14250: the rate was not reached"


def test_each_kind_of_error_and_of_lost_rows_is_one_line() -> None:
    lost = differences({1: "a", 2: "b", 3: "c"}, {1: "a", 2: "x", 4: "d"})

    assert missed(run(errors={"REST, get: 503": 2}, differences=lost)) == [
        "error: REST, get: 503 (2x)",
        "client types acknowledged but not stored: 1, the first has ID 3",
        "client types stored but deleted or not acknowledged: 1, the first has ID 4",
        "client types stored with another etag than acknowledged: 1, the first has ID 2",
    ]


def test_nothing_is_lost_when_all_that_was_acknowledged_is_stored() -> None:
    assert differences({1: "a"}, {1: "a"}) == []

"""A load generator: each caller waits for a response before it sends the next request.

It runs in its own process, `python -m bench.load`: a `Job` as JSON on standard input, a
`Result` as JSON on standard output.
"""

import asyncio
import dataclasses
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import uvloop

from bench.connection import Caller, Measurement, percentile
from bench.grpc2 import GrpcCaller
from bench.http1 import HttpCaller
from bench.workloads import Request, grpc_requests, http_requests

# How long to wait for outstanding responses at the end.
DRAIN_SECONDS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to measure. `ids` are client types that exist; `key` is an API key that may write."""

    protocol: str
    port: int
    workload: str
    callers: int
    seconds: float
    warm_up_seconds: float
    key: str
    ids: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The result of a job.

    `calls_per_second` counts successful responses only. Latencies, in milliseconds, are those of
    all calls that did not end in the warm-up, including those that ended after the measurement; an
    abandoned call counts with the time until then. `created` and `calls` count from the first call
    of the warm-up to the last response. `load_us` is the cost of a call in the load generator, in
    microseconds of CPU.
    """

    calls_per_second: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    errors: dict[str, int]
    calls: int
    created: int
    load_us: float


async def measure(job: Job) -> Result:
    """Run the callers and wait for their responses."""
    measurement = Measurement()
    make: Callable[[], Caller]
    requests: Callable[[int], list[Request]]
    if job.protocol == "grpc":
        make = lambda: GrpcCaller(measurement)  # noqa: E731 - one of two ways
        requests = lambda seed: grpc_requests(job.workload, job.key, job.ids, seed)  # noqa: E731
    else:
        make = lambda: HttpCaller(measurement)  # noqa: E731
        requests = lambda seed: http_requests(job.workload, job.key, job.ids, seed)  # noqa: E731
    callers = [make() for _ in range(job.callers)]
    for number, caller in enumerate(callers):
        caller.requests = requests(number)
        await caller.connect(job.port)
    begin = time.perf_counter() + job.warm_up_seconds
    measurement.begin, measurement.end = begin, begin + job.seconds
    cpu = time.process_time()
    for caller in callers:
        caller.call()
    await asyncio.sleep(measurement.end - time.perf_counter())
    patience = measurement.end + DRAIN_SECONDS
    # This is rare, and simpler than an event that each of hundreds of callers could set.
    while any(caller.busy for caller in callers) and time.perf_counter() < patience:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    cpu = time.process_time() - cpu
    for caller in callers:
        caller.close()
    latencies = sorted(measurement.latencies)
    return Result(
        calls_per_second=measurement.good / job.seconds,
        p50_ms=percentile(latencies, 0.50) * 1e3,
        p95_ms=percentile(latencies, 0.95) * 1e3,
        p99_ms=percentile(latencies, 0.99) * 1e3,
        errors=dict(measurement.errors),
        calls=measurement.calls,
        created=measurement.created,
        load_us=cpu / max(1, measurement.calls) * 1e6,
    )


def main() -> None:
    """Do the job of standard input."""
    result = uvloop.run(measure(Job(**json.load(sys.stdin))))
    json.dump(dataclasses.asdict(result), sys.stdout)


if __name__ == "__main__":
    main()

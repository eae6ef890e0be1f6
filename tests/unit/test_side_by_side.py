"""Calls that share a thread."""

import sys
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar

from portal_server.side_by_side import Calls, pause


def test_calls_begin_before_any_goes_on_and_then_each_does_in_turn() -> None:
    steps: list[str] = []

    def call(name: str, pauses: int) -> None:
        for number in range(pauses):
            steps.append(f"{name}{number}")
            pause()
        steps.append(f"{name} ends")

    calls = Calls()
    calls.begin(call, "a", 1)
    calls.begin(call, "b", 2)
    calls.begin(call, "c", 0)
    assert steps == ["a0", "b0", "c ends"]
    assert len(calls) == 2

    calls.go_on()
    assert steps[3:] == ["a ends", "b1"]
    calls.go_on()
    assert steps[5:] == ["b ends"]
    assert not calls


def test_without_other_calls_a_thread_does_not_pause() -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(pause).result(5)
    pause()


def test_each_call_has_its_own_context_and_exception() -> None:
    name = ContextVar("name", default="none")
    seen: list[tuple[str, str]] = []

    def call(text: str) -> None:
        name.set(text)
        try:
            int(text)
        except ValueError:
            pause()
            seen.append((name.get(), str(sys.exc_info()[1])))

    calls = Calls()
    calls.begin(call, "a")
    calls.begin(call, "b")
    calls.go_on()

    assert [text for text, _ in seen] == ["a", "b"]
    assert "'a'" in seen[0][1]
    assert "'b'" in seen[1][1]
    assert name.get() == "none"

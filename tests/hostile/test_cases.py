"""What the fuzzer has found, replayed; and that the fuzzer works at all."""

import json
import secrets

import pytest

from tests.hostile.fuzz import CASES, Found, Oracle, fuzz, run
from tests.hostile.http2 import Reply
from tests.hostile.system import System


@pytest.mark.parametrize("name", sorted(path.name for path in CASES.glob("*.json")))
def test_inputs_that_the_fuzzer_found_are_harmless(each: System, name: str) -> None:
    case = json.loads((CASES / name).read_text())
    oracle = Oracle(each)
    for port in each.ports.values():
        oracle.judge(run(case["steps"], each, port))


@pytest.mark.attack
def test_some_seconds_of_fuzzing_find_nothing(two: System, seconds: float) -> None:
    assert fuzz(two, seconds + 3, secrets.randbelow(2**31)) > 5


def test_an_internal_error_is_judged_to_be_one(two: System) -> None:
    for headers in ({"grpc-status": "13"}, {"grpc-status": "2"}, {":status": "500"}):
        with pytest.raises(Found):
            Oracle(two).judge([Reply(headers=headers)])

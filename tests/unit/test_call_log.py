"""The log of calls cannot be filled by callers without a valid API key."""

import logging
from time import perf_counter

import pytest
from google.rpc.code_pb2 import Code

from portal_server.domain.calls import Origin
from portal_server.domain.errors import Reason
from portal_server.limited_lines import LINES_PER_SECOND
from portal_server.wire.interceptors.log import NOBODY, Ongoing, log_error, report_rejections

MANY = 10 * LINES_PER_SECOND


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What is logged, from a state without lines that were not."""
    report_rejections()
    caplog.clear()
    caplog.set_level(logging.INFO, "portal.calls")
    return caplog


def errors(key_id: str, code: "Code.ValueType", reason: Reason) -> None:
    for _ in range(MANY):
        log_error(Ongoing(Origin("/service/method"), perf_counter(), key_id), code, reason)


# UNAVAILABLE: an API key cannot be looked up, or the keys of an issuer are not known.
@pytest.mark.parametrize(
    ("key_id", "code", "reason"),
    [
        (NOBODY, Code.UNAUTHENTICATED, Reason.KEY_INVALID),
        (NOBODY, Code.UNAVAILABLE, Reason.ISSUER_UNAVAILABLE),
        (NOBODY, Code.UNAVAILABLE, Reason.STORAGE_UNAVAILABLE),
        ("abcdefgh", Code.RESOURCE_EXHAUSTED, Reason.TOO_MANY_CALLS),
    ],
)
def test_errors_that_anyone_can_cause_are_counted_beyond_a_rate(
    lines: pytest.LogCaptureFixture, key_id: str, code: "Code.ValueType", reason: Reason
) -> None:
    errors(key_id, code, reason)
    logged = len(lines.records)
    report_rejections()

    # The calls may take until the next second.
    assert logged <= 2 * LINES_PER_SECOND
    assert f"{MANY - logged} more rejected calls are not in the log" in lines.text


def test_each_error_of_a_valid_key_is_logged(lines: pytest.LogCaptureFixture) -> None:
    errors("abcdefgh", Code.UNAVAILABLE, Reason.STORAGE_UNAVAILABLE)

    assert len(lines.records) == MANY

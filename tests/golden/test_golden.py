"""What the portal responds, as the golden files have it: a change on the wire is seen in review."""

from difflib import unified_diff
from pathlib import Path

import pytest

from tests.golden import conversation
from tests.support.stack import Stack

RESPONSES = Path(__file__).parent / "answers"


@pytest.fixture(scope="module")
def responses(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> dict[str, str]:
    """Content of each golden file now, by name; updates the files on request."""
    fresh = Stack(tmp_path_factory.mktemp("golden")).start()
    try:
        expected = conversation.hold(fresh)
    finally:
        fresh.stop()
    if request.config.getoption("--update-golden"):
        for file in RESPONSES.iterdir():
            file.unlink()
        for name, text in expected.items():
            (RESPONSES / name).write_text(text)
    return expected


def difference(name: str, golden: str, today: str) -> str:
    """How today's text differs from the golden one, line by line; nothing if it does not."""
    lines = unified_diff(
        golden.splitlines(), today.splitlines(), f"golden {name}", f"today's {name}", lineterm=""
    )
    return "\n".join(lines)


@pytest.mark.parametrize("name", conversation.names())
def test_the_portal_returns_what_the_golden_file_has(responses: dict[str, str], name: str) -> None:
    file = RESPONSES / name
    golden = file.read_text() if file.exists() else ""
    if found := difference(name, golden, responses[name]):
        pytest.fail(
            f"{found}\n\nIf it is meant: pytest tests/golden --update-golden", pytrace=False
        )


def test_every_golden_file_is_of_a_case(responses: dict[str, str]) -> None:
    assert {file.name for file in RESPONSES.iterdir()} == set(responses)
    assert len(responses) == len(conversation.names())


def test_a_changed_response_is_shown(responses: dict[str, str]) -> None:
    name = "rest-create-client-type.txt"
    changed = responses[name].replace('"GrantType"', '"GrantTypes"')

    shown = difference(name, responses[name], changed).splitlines()

    assert '-  "GrantType": "authorization_code,refresh_token,password",' in shown
    assert '+  "GrantTypes": "authorization_code,refresh_token,password",' in shown

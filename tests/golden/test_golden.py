"""What the portal answers, as the golden files have it: a change on the wire is seen in review."""

from difflib import unified_diff
from pathlib import Path

import pytest

from tests.golden import conversation
from tests.support.stack import Stack

ANSWERS = Path(__file__).parent / "answers"


@pytest.fixture(scope="module")
def answers(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> dict[str, str]:
    """What is said today, by the name of its golden file; the files follow if that is asked for."""
    fresh = Stack(tmp_path_factory.mktemp("golden")).start()
    try:
        said = conversation.hold(fresh)
    finally:
        fresh.stop()
    if request.config.getoption("--update-golden"):
        for file in ANSWERS.iterdir():
            file.unlink()
        for name, text in said.items():
            (ANSWERS / name).write_text(text)
    return said


def difference(name: str, golden: str, today: str) -> str:
    """How today's text differs from the golden one, line by line; nothing if it does not."""
    lines = unified_diff(
        golden.splitlines(), today.splitlines(), f"golden {name}", f"today's {name}", lineterm=""
    )
    return "\n".join(lines)


@pytest.mark.parametrize("name", conversation.names())
def test_the_portal_answers_as_ever(answers: dict[str, str], name: str) -> None:
    file = ANSWERS / name
    golden = file.read_text() if file.exists() else ""
    if found := difference(name, golden, answers[name]):
        pytest.fail(
            f"{found}\n\nIf it is meant: pytest tests/golden --update-golden", pytrace=False
        )


def test_every_golden_file_is_of_a_case(answers: dict[str, str]) -> None:
    assert {file.name for file in ANSWERS.iterdir()} == set(answers)
    assert len(answers) == len(conversation.names())


def test_a_changed_answer_is_shown(answers: dict[str, str]) -> None:
    name = "rest-create-client-type.txt"
    changed = answers[name].replace('"GrantType"', '"GrantTypes"')

    shown = difference(name, answers[name], changed).splitlines()

    assert '-  "GrantType": "authorization_code,refresh_token,password",' in shown
    assert '+  "GrantTypes": "authorization_code,refresh_token,password",' in shown

"""The check of the project's language."""

import pytest

from tools.language.check import Finding, check, find, phrases, tracked


@pytest.mark.needs("git")
def test_no_file_has_a_phrase_of_the_list() -> None:
    assert not [str(finding) for finding in check(tracked())]


@pytest.mark.parametrize(
    ("text", "line", "phrase"),
    [
        pytest.param("x\nThe request is refused.\n", 2, "refused", id="prose"),
        pytest.param("def test_it_is_refused() -> None:\n", 1, "refused", id="a name"),
        pytest.param("all keys but for\n# the last\n", 1, "but for", id="one line"),
        pytest.param("# all keys but\n    # for the last\n", 1, "but # for", id="two lines"),
        pytest.param("all_but_for_one = 1\n", 1, "but_for", id="inside a name"),
        pytest.param('    """Take the store."""\n', 1, '"""Take the', id="a docstring"),
        pytest.param(
            '    """Answer with it."""\n', 1, "Answer", id="the first word of a docstring"
        ),
        pytest.param("What is no number\n", 1, "is no", id="a negation"),
    ],
)
def test_a_phrase_is_found_with_its_line(text: str, line: int, phrase: str) -> None:
    [found] = find("x", text)

    assert (found.line, found.text) == (line, phrase)


@pytest.mark.parametrize(
    "text",
    [
        "connection refused",
        "ConnectionRefusedError",
        "REFUSED_STREAM",
        "the recommended fix",
        "there is no provider",
        "is no longer valid",
    ],
)
def test_plain_english_is_not_found(text: str) -> None:
    assert not list(find("x", text))


def test_a_finding_names_the_replacement() -> None:
    found = Finding("docs/rest.md", 7, "mend", "fix, correct")

    assert str(found) == 'docs/rest.md:7: "mend": write: fix, correct'


def test_each_phrase_has_a_replacement() -> None:
    assert all(replacement for _, replacement in phrases())

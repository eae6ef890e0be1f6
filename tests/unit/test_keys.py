"""API keys: their format, what is stored of them, and their roles."""

import re
from datetime import UTC, datetime
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal_server.domain import keys
from portal_server.domain.errors import Forbidden
from portal_server.domain.keys import Caller, Key, Role

GOOD = "oap_abcDEF12_" + "aB3" * 10 + "xy"


def test_a_key_is_its_prefix_its_name_and_its_secret() -> None:
    key_id, text = keys.generate()

    assert re.fullmatch(r"oap_[A-Za-z0-9]{8}_[A-Za-z0-9]{32}", text)
    assert text.split("_")[1] == key_id
    assert keys.key_id_of(text) == key_id


def test_no_two_keys_share_a_name_or_a_secret() -> None:
    made = [keys.generate() for _ in range(2000)]

    assert len({key_id for key_id, _ in made}) == 2000
    assert len({text.split("_")[2] for _, text in made}) == 2000


def test_a_key_may_have_each_character_of_its_alphabet() -> None:
    seen = {character for _ in range(500) for character in keys.generate()[1][4:]}

    assert len(seen - {"_"}) == 62


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("oap", id="half a prefix"),
        pytest.param(GOOD[4:], id="no prefix"),
        pytest.param("OAP" + GOOD[3:], id="the prefix in capitals"),
        pytest.param(GOOD[:-1], id="one character short"),
        pytest.param(GOOD + "x", id="one character long"),
        pytest.param(GOOD + "\n", id="a newline after"),
        pytest.param(" " + GOOD, id="a space before"),
        pytest.param("oap_abcDEF1_" + "a" * 33, id="a name too short"),
        pytest.param(GOOD[:-1] + "-", id="another character"),
        pytest.param(GOOD[:-1] + "ä", id="a letter that is not ASCII"),
        pytest.param(GOOD[:-1] + "\N{ARABIC-INDIC DIGIT ONE}", id="a digit that is not ASCII"),
        pytest.param(GOOD.replace("_", "-"), id="other separators"),
    ],
)
def test_any_other_text_is_not_a_key_and_has_no_name(text: str) -> None:
    assert keys.key_id_of(GOOD) == "abcDEF12"
    assert keys.key_id_of(text) is None


def test_a_key_is_stored_as_its_sha_256() -> None:
    _, text = keys.generate()

    assert keys.digest(text) == sha256(text.encode()).digest()


def test_a_key_matches_its_digest_and_nothing_else_does() -> None:
    _, text = keys.generate()
    kept = keys.digest(text)

    assert keys.matches(keys.digest(text), kept)
    assert not keys.matches(keys.digest(keys.generate()[1]), kept)
    assert not keys.matches(keys.digest(text[:-1]), kept)
    assert not keys.matches(keys.digest(text + " "), kept)
    assert not keys.matches(keys.digest(text.swapcase()), kept)
    assert not keys.matches(keys.digest(""), kept)
    assert not keys.matches(keys.digest(text), kept[:-1])
    assert not keys.matches(keys.digest(text), b"")


@given(st.text(), st.text())
def test_only_the_same_text_matches(text: str, other: str) -> None:
    assert keys.matches(keys.digest(text), keys.digest(other)) == (text == other)


def test_a_printed_key_does_not_show_its_digest() -> None:
    key_id, text = keys.generate()
    kept = keys.digest(text)
    shown = repr(Key(key_id, kept, Role.ADMIN, "a note", datetime.now(UTC), None))

    assert key_id in shown
    assert repr(kept) not in shown
    assert "digest" not in shown


@pytest.mark.parametrize(
    ("role", "write"),
    [
        pytest.param(Role.ADMIN, True, id="an admin writes"),
        pytest.param(Role.ADMIN, False, id="an admin reads"),
        pytest.param(Role.VIEWER, False, id="a viewer reads"),
    ],
)
def test_a_role_allows(role: Role, write: bool) -> None:  # noqa: FBT001
    Caller("abcDEF12", role).require(write=write)

    assert set(Role) == {Role.ADMIN, Role.VIEWER}, "a new role needs rows here"


def test_a_viewer_may_not_write() -> None:
    with pytest.raises(Forbidden, match="viewer") as error:
        Caller("abcDEF12", Role.VIEWER).require(write=True)

    assert error.value.reason == "ROLE_NOT_ALLOWED"
    assert "abcDEF12" not in str(error.value)

"""API keys: their format, what is stored of them, and their roles."""

import re
import string
from datetime import UTC, datetime
from hashlib import sha256
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal_server.domain import keys
from portal_server.domain.api_key import ApiKey, PreviousSecret
from portal_server.domain.errors import Forbidden
from portal_server.domain.keys import Caller, Role

OLD = "oap_abcDEF12_" + "aB3" * 10 + "xy"
"""A key of an earlier version, without a checksum."""
GOOD = OLD + "3ZihLa"


def test_a_key_is_its_prefix_its_name_its_secret_and_a_checksum() -> None:
    key_id, text = keys.generate()

    assert re.fullmatch(r"oap_[A-Za-z0-9]{8}_[A-Za-z0-9]{38}", text)
    assert text.split("_")[1] == key_id
    assert keys.key_id_of(text) == key_id


def test_the_checksum_is_the_crc_32_of_the_rest_in_base_62() -> None:
    digits = string.digits + string.ascii_uppercase + string.ascii_lowercase
    for _ in range(200):
        _, text = keys.generate()
        number = sum(digits.index(one) * 62**place for place, one in enumerate(text[:-7:-1]))

        assert number == crc32(text[:-6].encode())


def test_a_key_with_one_wrong_character_is_not_a_key() -> None:
    for place in range(4, len(GOOD)):
        if place != len("oap_abcDEF12"):
            wrong = "b" if GOOD[place] == "a" else "a"

            assert keys.key_id_of(GOOD[:place] + wrong + GOOD[place + 1 :]) is None
    assert keys.key_id_of(GOOD[:20] + GOOD[21] + GOOD[20] + GOOD[22:]) is None


def test_a_key_of_an_earlier_version_is_a_key() -> None:
    assert keys.key_id_of(OLD) == "abcDEF12"


def test_no_two_keys_share_a_name_or_a_secret() -> None:
    made = [keys.generate() for _ in range(2000)]

    assert len({key_id for key_id, _ in made}) == 2000
    assert len({text.split("_")[2] for _, text in made}) == 2000


def test_a_key_may_have_each_character_of_its_alphabet() -> None:
    seen = {character for _ in range(500) for character in keys.generate()[1][4:-6]}

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
        pytest.param(OLD + "x", id="part of a checksum"),
        pytest.param(OLD[:-1] + "-", id="another character, without a checksum"),
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


def test_a_printed_key_does_not_show_its_digests() -> None:
    key_id, text = keys.generate()
    kept, old = keys.digest(text), keys.digest("old")
    time = datetime.now(UTC)
    previous = PreviousSecret(digest=old, expire_time=time)
    shown = repr(
        ApiKey(
            id=key_id,
            digest=kept,
            role=Role.ADMIN,
            create_time=time,
            update_time=time,
            previous_secrets=(previous,),
        )
    )

    assert key_id in shown
    assert repr(kept) not in shown
    assert repr(old) not in shown
    assert "digest" not in shown


@pytest.mark.parametrize("needed", Role)
@pytest.mark.parametrize("role", Role)
def test_a_role_includes_those_before_it(role: Role, needed: Role) -> None:
    order = ["viewer", "registrar", "editor", "admin"]
    caller = Caller("abcDEF12", role)
    if order.index(role) >= order.index(needed):
        caller.require(needed)
        return
    with pytest.raises(Forbidden, match=f"needs the role {needed}.* has the role {role}") as error:
        caller.require(needed)

    assert error.value.reason == "ROLE_NOT_ALLOWED"
    assert "abcDEF12" not in str(error.value)

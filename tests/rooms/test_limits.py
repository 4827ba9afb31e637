from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvonim_sfu.rooms.limits import clean_name, valid_id


def test_a_name_is_trimmed_and_composed() -> None:
    assert clean_name("  Zoe\u0308 \n", 64) == "Zo\u00eb"


def test_a_name_may_hold_any_script_and_joined_emoji() -> None:
    for name in ("Иван Петров", "李小龍", "محمد", "👩‍👩‍👧", "O'Neill-Smith, Jr."):
        assert clean_name(name, 64) == name


@pytest.mark.parametrize("name", ["", "   ", "\u3000"])
def test_an_empty_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="must not be empty"):
        clean_name(name, 64)


@pytest.mark.parametrize("name", ["a\0b", "a\nb", "a\u2028b", "a\u202eb", "a\u2066b", "a\x7fb", "a\ud800b"])
def test_control_characters_and_lone_surrogates_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="control characters"):
        clean_name(name, 64)


def test_length_counts_composed_code_points() -> None:
    assert len(clean_name("e\u0301" * 64, 64)) == 64
    with pytest.raises(ValueError, match="longer than 64"):
        clean_name("x" * 65, 64)


@given(st.text())
def test_a_clean_name_stays_as_it_is(name: str) -> None:
    try:
        cleaned = clean_name(name, 64)
    except ValueError:
        return
    assert clean_name(cleaned, 64) == cleaned


@pytest.mark.parametrize(
    ("value", "valid"),
    [
        ("kzp-mfua-rte", True),
        ("A_.~-9", True),
        ("x" * 64, True),
        ("x" * 65, False),
        ("", False),
        ("a b", False),
        ("a/b", False),
        ("комната", False),
        ("a\n", False),
    ],
)
def test_ids_are_short_and_safe_in_addresses(value: str, valid: bool) -> None:
    assert valid_id(value, 64) is valid

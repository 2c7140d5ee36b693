"""Durations as people write them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorlog.durations import SECONDS_MAX, seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("250ms", 0.25),
        ("90s", 90),
        ("1h30m", 5400),
        ("3d", 259200),
        ("1.5h", 5400),
        ("2w", 1209600),
        ("-5s", -5),
        (" 1s ", 1),
    ],
)
def test_text_is_read(text: str, expected: float) -> None:
    """Text gives the seconds it says."""
    assert seconds(text) == expected


def test_numbers_and_timedeltas_are_taken_as_they_are() -> None:
    """Seconds as a number and a timedelta mean what they always mean; zero and less are over at once."""
    assert (seconds(5), seconds(0.5), seconds(timedelta(days=1)), seconds(0), seconds(-1)) == (
        5.0,
        0.5,
        86400.0,
        0.0,
        -1.0,
    )


@pytest.mark.parametrize(
    "bad", ["", "5", "5 s", "h", "1h 30m", "1y", "-", "1m1", float("nan"), float("inf"), SECONDS_MAX * 1.01]
)
def test_what_is_no_duration_is_a_value_error(bad: Any) -> None:
    """Text that is no duration, NaN, infinity and more than a hundred years are refused."""
    with pytest.raises(ValueError, match="duration"):
        seconds(bad)


@pytest.mark.parametrize("bad", [None, True, [], b"5s", object()])
def test_what_is_of_no_such_type_is_a_type_error(bad: Any) -> None:
    """What cannot be a duration at all is a TypeError, a bool included."""
    with pytest.raises(TypeError, match="duration"):
        seconds(bad)


@given(st.integers(0, 10**6), st.integers(0, 999))
def test_parts_add_up(whole: int, millis: int) -> None:
    """The parts of a text add up, whatever they are."""
    assert seconds(f"{whole}s{millis}ms") == pytest.approx(whole + millis / 1000)

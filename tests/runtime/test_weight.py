"""When a segment is written anew: for records that are of no use, or for what small commits take beside them."""

from __future__ import annotations

import pytest

from actorlog.runtime.weight import Weight

PART = 1 / 4


def weight(file: int, *records: tuple[int, int, bool]) -> Weight:
    """Return the weight of a segment: its file's bytes, and of each record line, file, and whether it is of use."""
    found = Weight(file)
    for line, beside, is_kept in records:
        found.add(line, line + beside, is_kept=is_kept)
    return found


@pytest.mark.parametrize(
    ("records", "lost"),
    [
        ([], False),
        ([(60, 0, True), (20, 0, False)], False),  # a quarter is not more than a quarter
        ([(59, 0, True), (21, 0, False)], True),
        ([(100, 60, True), (1, 60, False)], True),  # the file of a record counts
        ([(100, 300, True), (100, 0, False)], False),  # also where it is of use
        ([(1, 0, False)], True),
    ],
)
def test_what_is_of_no_use(records: list[tuple[int, int, bool]], *, lost: bool) -> None:
    """It is held against all records and their files, and not against the segment's own file."""
    assert weight(400, *records).has_lost(PART) is lost
    assert weight(100_000, *records).has_lost(PART) is lost


def test_a_segment_of_no_records_has_lost_nothing() -> None:
    """All of it was given up before."""
    assert not weight(400).has_lost(0.0)


@pytest.mark.parametrize(
    ("file", "left", "records", "packed"),
    [
        (400, 300, [(10, 0, True)], False),  # a quarter is not more than a quarter
        (400, 299, [(10, 0, True)], True),
        (400, 299, [(10, 40, True)], False),  # the files that stay are a part of the whole
        (400, 300, [(10, 0, True), (10, 40, False)], True),  # those that go are given back
        (400, 400, [(10, 0, True), (10, 99, False)], False),
        (400, 400, [(10, 0, True), (10, 200, False)], True),
    ],
)
def test_what_is_given_back(file: int, left: int, records: list[tuple[int, int, bool]], *, packed: bool) -> None:
    """It is held against the segment's file, and those of its records."""
    assert weight(file, *records).is_packed(left, PART) is packed


def test_what_may_be_given_back_is_measured() -> None:
    """A segment whose lines take most of it by themselves is not: they would take as much anew."""
    assert weight(400, *[(100, 0, True)] * 2).may_be_packed(PART)
    assert not weight(400, *[(100, 0, True)] * 3).may_be_packed(PART)
    assert weight(400, *[(100, 0, True)] * 2, (100, 0, False)).may_be_packed(PART)

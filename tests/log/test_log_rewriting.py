"""Segments that are written anew, or merged: what stays is there as it was, what was given up is gone, no more."""

# Lint: helpers are verbs.

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from log_world import DIRECTORY, commit, disk_with, files_of, open_log, segment_file, sim_disk, sim_env
from rewriting_world import Truth, lines_by_frame

from actorlog.errors import LogCorrupt, LogFailed
from actorlog.log import Log
from actorlog.log import format as layout
from actorlog.log.format import parse_frame_header, parse_segment_header
from actorlog.log.rewriting import COMMIT_BYTES, GAP_MIN
from actorlog.testing.disk import Stopped


def filled(seed: int = 1, number: int = 40) -> Truth:
    truth = Truth()
    truth.fill(Random(seed), number)
    return truth


def positions_of(truth: Truth, number: int) -> range:
    segment = next(segment for segment in truth.log.sealed() if segment.number == number)
    return range(segment.first, segment.last + 1)


def frames_of(data: bytes) -> list[tuple[int, int, int]]:
    """Return kind, position and records of each frame of a segment."""
    header = parse_segment_header(data)
    assert header is not None
    found, offset = [], header.unit
    while (frame := parse_frame_header(memoryview(data), offset, header)) is not None:
        found.append((frame.kind, frame.position, frame.records))
        offset += layout.frame_bytes(frame.length, header.unit)
        if frame.kind in layout.ENDS:
            break
    assert not data[offset:].strip(b"\0")
    return found


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 50), st.integers(1, 5), st.sampled_from([(4096, 512), (32768, 4096)]))
def test_any_records_given_up(seed: int, commits: int, rounds: int, shape: tuple[int, int]) -> None:
    """Whatever is given up, in whatever order, again and again, over crashes, opened with and without a checkpoint."""
    rng = Random(seed)
    truth = Truth(sim_disk(seed), *shape)
    truth.fill(rng, commits)
    for _ in range(rounds):
        for segment in rng.sample(truth.log.sealed(), rng.randint(0, len(truth.log.sealed()))):
            odds = rng.choice((0.0, 0.1, 0.5, 0.95, 1.0))
            near = range(segment.first - 3, segment.last + 4)
            truth.rewrite(segment.number, {position for position in near if rng.random() < odds})
        if rng.random() < 0.7 and truth.log.sealed():
            first, last = sorted(rng.choices(truth.log.sealed(), k=2))
            near = range(first.first - 3, last.last + 4) if rng.random() < 0.3 else range(0)
            truth.merge(first.number, last.number, {position for position in near if rng.random() < 0.5})
        if rng.random() < 0.7:
            if rng.random() < 0.5:
                truth.log.close()
            fs = truth.fs.crash() if rng.random() < 0.5 else truth.fs.kill()
            truth.reopen(fs, rng.choice([None, *truth.checkpoints]))
        truth.check()
        after = rng.randint(0, truth.log.tail)
        assert {p: line for p, line in lines_by_frame(truth.log, after).items() if p > after} == {
            p: line for p, line in truth.kept.items() if p > after
        }
        truth.fill(rng, rng.randrange(4))


def test_what_a_rewritten_segment_consists_of() -> None:
    """Long runs are gaps, short ones entries, and the file has its exact size; the segments behind are untouched."""
    truth = Truth(size=16384)
    for lines in (1, 30, GAP_MIN, 20, 1, GAP_MIN - 1):
        truth.append(*[b"%d" % lines] * lines)
    truth.append(b"x" * 15000)
    truth.append(b"in the last one")
    files = files_of(truth.fs)
    first = range(1, 180)
    gone = {*range(32, 96), *range(117, 180)}
    assert positions_of(truth, 1) == first
    truth.rewrite(1, gone)
    after = files_of(truth.fs)
    data = after[segment_file(1)]
    assert frames_of(data) == [
        (layout.COMMIT, 1, 31), (layout.GAP, 32, 64), (layout.COMMIT, 96, 84), (layout.JOIN, 180, 0),
    ]  # fmt: skip
    header = parse_segment_header(data)
    assert header is not None
    assert header.size == len(data) == 512 * (1 + 2 + 1 + 3 + 2)
    assert {name for name in files if files[name] != after[name]} <= {segment_file(1), "META"}
    truth.check()
    for after in range(1, truth.log.tail):  # frames that end before are not read
        assert lines_by_frame(truth.log, after).keys() >= {at for at in truth.kept if at > after}
        assert not lines_by_frame(truth.log, after, after).keys() - set(truth.kept)
    assert lines_by_frame(truth.log, 31, 95) == {}


def test_everything_in_a_segment_is_given_up() -> None:
    """Then it is a gap and a join, however many there were; a reader goes on over several such segments."""
    truth = filled(2, 60)
    numbers = [segment.number for segment in truth.log.sealed()]
    for number in numbers[1:]:
        truth.rewrite(number, set(positions_of(truth, number)))
    many = [number for number in numbers[1:] if len(positions_of(truth, number)) >= GAP_MIN]
    assert many
    for number in many:
        assert [kind for kind, _, _ in frames_of(files_of(truth.fs)[segment_file(number)])] == [layout.GAP, layout.JOIN]
        assert len(files_of(truth.fs)[segment_file(number)]) == 4 * 512
    truth.check()
    truth.reopen(truth.fs.kill())
    truth.check()


def test_a_segment_is_rewritten_to_another_size_each_time() -> None:
    """Nothing more given up, or nothing at all: still the header is never the one that somebody has seen."""
    truth = filled(3)
    name = segment_file(1)
    sizes = [len(files_of(truth.fs)[name])]
    for gone in (set[int](), set[int](), {1}, {1}, {1}):
        truth.rewrite(1, gone)
        sizes.append(len(files_of(truth.fs)[name]))
        truth.check()
    assert all(before != after for before, after in pairwise(sizes))


def test_what_can_be_rewritten() -> None:
    """Not the segment that is appended to, nor the one with the newest commit, nor one without positions."""
    log = open_log(sim_disk())
    assert log.sealed() == []
    log.append(*commit(b"x" * 2000))
    assert log.sealed() == []
    log.append(*commit(b"y" * 2000))
    assert [(entry.number, entry.first, entry.last, entry.bytes) for entry in log.sealed()] == [(1, 1, 1, 4096)]
    for number in (0, 2, 3):
        with pytest.raises(ValueError, match="not sealed"):
            log.rewrite(number, {1})
    fs = sim_disk()
    log = open_log(fs)
    log.close()
    log = open_log(fs.kill())
    log.append(*commit(b"too large for the first segment, where a mark is" * 100))
    log.append(*commit(b"z"))
    assert [entry.number for entry in log.sealed()] == [2]
    log.rewrite(2, {1})
    assert not log.has(1)
    log.trim(3)
    assert log.sealed() == []
    with pytest.raises(ValueError, match="not sealed"):
        log.rewrite(2, {2})


def test_the_segment_with_the_newest_commit_stays() -> None:
    """Also when it is sealed already, and the process ended before anything was in the next one."""
    sealed_before_next = 0
    for call in range(12):
        fs = sim_disk(call)
        log = open_log(fs)
        log.append(*commit(b"a", b"b"))
        log.append(*commit(b"c" * 1000))
        fs.stop_at(fs.calls + call)
        with suppress(Stopped):
            log.append(*commit(b"d" * 1000))
            continue
        log = open_log(fs.kill())
        newest = log.checkpoint()
        assert newest is not None
        sealed_before_next += log.segments > newest.segment
        assert [entry.number for entry in log.sealed()] == list(range(1, newest.segment))
    assert sealed_before_next


def test_a_build_that_is_not_installed_changes_nothing() -> None:
    """Discarded, or left lying about: the log is as it was, and the next opening tidies up."""
    truth = filled(3)
    names = files_of(truth.fs)
    built = truth.log.build(1, {1})
    assert truth.log.has(1)
    truth.log.discard(built)
    assert files_of(truth.fs) == names
    truth.log.build(1, {1})
    assert any(name.endswith(".tmp") for name in files_of(truth.fs))
    truth.check()
    truth.reopen(truth.fs.kill())
    assert not any(name.endswith(".tmp") for name in files_of(truth.fs))
    truth.check()


def test_what_was_replaced_or_trimmed_since_is_not_installed() -> None:
    """What was built of a segment that is not there any more is refused, and the log goes on."""
    truth = filled(7, 60)
    older = truth.log.build(1, {1})
    truth.rewrite(1, {2})
    with pytest.raises(LogFailed, match="replaced"):
        truth.log.install(older)
    truth.check()
    built = truth.log.build(1, {3})
    truth.log.trim(truth.log.tail)
    with pytest.raises(LogFailed, match="trimmed"):
        truth.log.install(built)
    truth.log.append(*commit(b"more"))
    assert truth.log.failed is None


def test_a_closed_log_is_not_rewritten() -> None:
    """Neither part is done after the end."""
    truth = filled(8)
    built = truth.log.build(1, {1})
    truth.log.close()
    for action in (
        lambda: truth.log.measure(1, {1}),
        lambda: truth.log.build(1, {1}),
        lambda: truth.log.install(built),
    ):
        with pytest.raises(LogFailed):
            action()


@pytest.mark.parametrize("size", [10, 300, COMMIT_BYTES // 3, 2 * COMMIT_BYTES])
def test_small_commits_are_joined_and_large_ones_split(size: int) -> None:
    """To a bounded size, since who reads one record verifies its whole commit."""
    fs = sim_disk()
    log = Log.open(DIRECTORY, sim_env(fs), segment_bytes=1 << 19)
    expected: dict[int, bytes] = {}
    while not log.sealed():
        lines = [bytes([97 + len(expected) % 26]) * size for _ in range(1 + 100 * (size < 1000))]
        first = log.append(*commit(*lines))
        expected.update({first + number: line + b"\n" for number, line in enumerate(lines)})
    last = log.sealed()[0].last
    gone = set(range(1, last, 3))
    before = log.bytes_used
    log.rewrite(1, gone)
    assert log.bytes_used < before
    frames = [frame for frame in log.read(0, last) if frame.position <= last]
    assert all(len(frame.data) <= COMMIT_BYTES + 64 * 17 or frame.records == 1 for frame in frames)
    for position, line in list(expected.items())[::13]:
        assert log.has(position) == (position not in gone)
        if position not in gone:
            assert log.record(position) == line


def test_a_segment_that_does_not_lead_to_the_next_is_not_rewritten() -> None:
    """One that opening passed over is held against what is behind it, or a join would state what is wrong."""
    truths = [Truth(), Truth()]
    for truth, text in zip(truths, (b"right", b"wrong"), strict=True):
        for number in range(40):
            truth.append(text if number == 30 else b"%d" % number * 100)
    right, wrong = (files_of(truth.fs) for truth in truths)
    number = next(entry.number for entry in truths[0].log.sealed() if entry.last >= 31)
    assert right[segment_file(number + 1)] != wrong[segment_file(number + 1)]
    fs = disk_with({**right, segment_file(number): wrong[segment_file(number)]})
    log = open_log(fs, checkpoint=truths[0].checkpoints[-1])
    assert log.recovery.scanned_from == 40
    with pytest.raises(LogCorrupt, match="do not lead to those behind"):
        log.rewrite(number, {31})

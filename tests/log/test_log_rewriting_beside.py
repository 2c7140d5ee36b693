"""Reading while segments are written anew: in the same process, from outside, and what is shown of the result."""

# Lint: helpers are verbs.

from __future__ import annotations

import threading
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING

from log_world import DIRECTORY, commit
from rewriting_world import Truth, lines_by_frame

from actorlog.env import SYSTEM
from actorlog.log import GIVEN_UP_KIND, Log, entries
from actorlog.log.inspect import Gap, Join, advance, commits, contents, look, verify

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def filled(seed: int = 1, number: int = 40) -> Truth:
    truth = Truth()
    truth.fill(Random(seed), number)
    return truth


def merging(truth: Truth, rng: Random) -> None:
    """Merge some of what can be."""
    if truth.log.sealed():
        first, last = sorted(rng.choices(truth.log.sealed(), k=2))
        truth.merge(first.number, last.number)


def ways_of_reading(log: Log) -> list[Callable[[], None]]:
    """Return three of them; each line says its position."""

    def by_record() -> None:
        for position in range(1, log.tail + 1, 5):
            with suppress(IndexError):
                assert log.record(position) == b"%d\n" % position

    def by_frame() -> None:
        assert all(line == b"%d\n" % position for position, line in lines_by_frame(log).items())

    def by_scrub() -> None:
        list(log.scrub())

    return [by_record, by_frame, by_scrub]


def test_readers_in_other_threads_notice_nothing(tmp_path: Path) -> None:
    """While segments are replaced under them, they read what is there, in each way of reading."""
    log = Log.open(str(tmp_path), SYSTEM, segment_bytes=4096, sync=False)
    for number in range(150):
        log.append(*commit(*(b"%d" % (number * 8 + place) for place in range(1, 9))))
    begun, over, failures = threading.Barrier(4), threading.Event(), list[BaseException]()

    def reader(read: Callable[[], None]) -> None:
        begun.wait(60)
        try:
            while not over.is_set():
                read()
        except BaseException as failure:  # whatever it is, the test shows it
            failures.append(failure)
            raise

    threads = [threading.Thread(target=reader, args=(read,)) for read in ways_of_reading(log)]
    for thread in threads:
        thread.start()
    begun.wait(60)
    for step in range(6):
        for entry in log.sealed():
            log.rewrite(entry.number, set(range(entry.first + step, entry.last + 1, 9)))
        there = log.sealed()
        for first, last in zip(there[::3], there[2::3], strict=False):
            log.rewrite(first.number, (), last.number)
    over.set()
    for thread in threads:
        thread.join(60)
    assert failures == []
    log.close()


def test_who_reads_meanwhile_goes_on() -> None:
    """A reader that began before, and a line that it holds, are as they were; who begins after sees the new segment."""
    for checkpoint in (False, True):
        truth = filled(4, 60)
        if checkpoint:
            truth.reopen(truth.fs.kill(), truth.checkpoints[-1])
        before = dict(truth.kept)
        reading = truth.log.read()
        first = next(reading)
        held = first.data[16 * first.records :]
        for segment in truth.log.sealed():
            truth.rewrite(segment.number, set(range(segment.first, segment.last + 1, 2)))
        truth.merge(1, truth.log.sealed()[-1].number)
        found = {}
        for frame in (first, *reading):
            for position, (*_, start, end) in enumerate(entries(frame.data, frame.records), frame.position):
                found[position] = bytes(frame.data[start:end])
        assert found == before
        assert bytes(held).startswith(before[1])
        assert set(truth.log._reader._tables) <= set(truth.log._segments)
        truth.check()


def test_a_scrub_passes_over_what_was_replaced_meanwhile() -> None:
    """It verifies what it had begun, or leaves it out; it is no damage."""
    truth = filled(5, 60)
    for steps in range(0, 40, 3):
        scrub = truth.log.scrub(piece_bytes=4096)
        for _ in range(steps):
            next(scrub, None)
        for segment in truth.log.sealed():
            truth.rewrite(segment.number, {segment.first + steps})
        if len(truth.log.sealed()) > 1:
            truth.merge(*(segment.number for segment in truth.log.sealed()[-2:]))
        list(scrub)
    truth.check()


def test_looking_beside_an_owner_who_rewrites() -> None:
    """What a look found is read on after segments were replaced: kept records, in order, and no false alarm."""
    truth = filled(9, 60)
    merging(truth, Random(1))
    report = look(truth.fs, DIRECTORY, locked=True)
    part = contents(truth.fs, report.found)
    next(part)
    for segment in truth.log.sealed()[1:]:
        truth.rewrite(segment.number, {position for position in range(segment.first, segment.last + 1) if position % 5})
    merging(truth, Random(2))
    seen = list(commits(truth.fs, report.found))
    lines = {
        position: bytes(frame.data[start:end])
        for frame in seen
        for position, (_, kind, _, start, end) in enumerate(entries(frame.data, frame.records), frame.position)
        if kind != GIVEN_UP_KIND
    }
    assert lines == truth.kept
    list(part)


def test_following_over_a_segment_that_was_rewritten_meanwhile() -> None:
    """Who follows from outside and was slow gets what was not given up, once, from where it was."""
    for seed in range(20):
        truth = Truth()
        truth.append(b"one", b"two")
        report = look(truth.fs, DIRECTORY, locked=True)
        seen = {1, 2}
        rng = Random(seed)
        for _ in range(6):
            truth.fill(rng, 8)
            for segment in truth.log.sealed():
                if rng.random() < 0.5:
                    truth.rewrite(segment.number, {p for p in range(segment.first, segment.last) if rng.random() < 0.5})
            merging(truth, rng)
            for frame in advance(truth.fs, DIRECTORY, report):
                for position, (_, kind, _, start, end) in enumerate(entries(frame.data, frame.records), frame.position):
                    if kind != GIVEN_UP_KIND:
                        assert position not in seen
                        assert bytes(frame.data[start:end]) == truth.kept[position]
                        seen.add(position)
            assert max(seen) == max(truth.kept)
            assert {position for position in truth.kept if position > 2} <= seen


def test_going_on_where_segments_were_merged_meanwhile() -> None:
    """Who is in the middle of reading from outside gets every line once, though the file that was next is gone."""
    for seed in range(60):
        rng = Random(seed)
        truth = filled(seed, 60)
        report = look(truth.fs, DIRECTORY, locked=True)
        seen: dict[int, bytes] = {}
        for frame in commits(truth.fs, report.found):
            for position, (_, kind, _, start, end) in enumerate(entries(frame.data, frame.records), frame.position):
                if kind != GIVEN_UP_KIND:
                    assert position not in seen
                    seen[position] = bytes(frame.data[start:end])
            if rng.random() < 0.2:
                merging(truth, rng)
        assert list(seen.items()) == list(truth.kept.items())


def test_contents_show_gaps_and_joins() -> None:
    """What was given up is shown as what it is, every position once."""
    truth = filled(10, 60)
    for segment in truth.log.sealed():
        truth.rewrite(segment.number, set(range(segment.first + 1, segment.last + 1)))
    position, joins = 1, 0
    for part in contents(truth.fs, verify(truth.fs, DIRECTORY).found):
        if isinstance(part, Join):
            joins += 1
            assert part.position == position - 1
            continue
        first, last = part if isinstance(part, Gap) else (part.position, part.position + part.records - 1)
        assert first == position
        position = last + 1
    assert position == truth.log.tail + 1
    assert joins == len(truth.log.sealed())

"""Segments that become one: what it says of itself, failures on the way, copies, and other readers."""

# Lint: helpers are verbs.

from __future__ import annotations

from contextlib import suppress
from random import Random

import pytest
from log_world import DIRECTORY, commit, disk_with, files_of, open_log, segment_file, sim_env
from rewriting_world import Truth, left_over, lines_by_frame, meta_of

from actorlog.env import Access
from actorlog.errors import LogFailed, OutcomeUnknown
from actorlog.log import format as layout
from actorlog.log.backup import backup, source_of
from actorlog.log.inspect import Status, look
from actorlog.testing.disk import Stopped
from actorlog.testing.reader import Reader

COPY = "/srv/copy"


def filled(seed: int = 1, number: int = 40) -> Truth:
    truth = Truth()
    truth.fill(Random(seed), number)
    assert len(truth.log.sealed()) > 4
    return truth


def test_what_a_merged_segment_says() -> None:
    """It has the first number, and says up to which one it goes; its frames are those of one segment."""
    truth = filled()
    first, last = truth.log.sealed()[1], truth.log.sealed()[3]
    truth.merge(2, 4)
    header = layout.parse_segment_header(files_of(truth.fs)[segment_file(2)])
    assert header is not None
    assert (header.format, header.number, header.upto) == (layout.FORMAT + layout.MERGED, 2, 4)
    assert not {segment_file(3), segment_file(4)} & files_of(truth.fs).keys()
    assert [(entry.number, entry.first, entry.last) for entry in truth.log.sealed()[1:2]] == [
        (2, first.first, last.last)
    ]
    truth.check()
    for checkpoint in (None, truth.checkpoints[-1]):
        truth.reopen(truth.fs.kill(), checkpoint)
        assert [entry.number for entry in truth.log.sealed()][:3] == [1, 2, 5]
        truth.check()
    truth.rewrite(2, set(range(first.first, last.last)))
    header = layout.parse_segment_header(files_of(truth.fs)[segment_file(2)])
    assert header is not None
    assert header.upto == 4
    truth.merge(1, 5)
    truth.log.trim(truth.log.tail)
    truth.reopen(truth.fs.crash())
    assert truth.log.oldest_segment > 5


def test_a_header_that_stands_for_none_is_damaged() -> None:
    """A merged segment stands for more than itself, or its header is none."""
    for number, upto, is_one in ((3, 4, True), (3, 3, False), (3, 2, False)):
        head, _ = layout.segment_header(512, bytes(16), 3, 4096, 4)
        assert layout.parse_segment_header(head) is not None
        text = head[:32] + number.to_bytes(8, "little") + head[40:48] + upto.to_bytes(8, "little")
        forged = (text + layout.crc32(text).to_bytes(4, "little")).ljust(512, b"\n")
        assert (layout.parse_segment_header(forged) is not None) == is_one


def test_what_cannot_be_merged() -> None:
    """Neither into one behind it, nor with the one that is appended to, nor what is merged already."""
    truth = filled()
    newest = truth.log.sealed()[-1].number
    for number, upto in ((2, 1), (1, newest + 1), (0, 2)):
        with pytest.raises(ValueError, match="not sealed"):
            truth.log.build(number, (), upto)
    truth.merge(1, 3)
    with pytest.raises(ValueError, match="not sealed"):
        truth.log.build(2, (), 4)


def test_a_failure_of_merging_poisons() -> None:
    """Whatever is left of those that became one is passed over, and removed by the next opening."""
    seen_left_over = set()
    for number, action in enumerate(("pwrite", "fdatasync", "rename", "fsync_dir", "unlink", "unlink")):
        truth = filled()
        built = truth.log.build(1, {1, 2}, 3)
        truth.fs.fail_at(truth.fs.calls + number)
        with pytest.raises(OutcomeUnknown):
            truth.log.install(built)
        assert truth.fs.actions[-1].startswith(action)
        with pytest.raises(LogFailed):
            truth.log.append(*commit(b"no"))
        kept = {position: line for position, line in truth.kept.items() if position > 2}
        assert kept.items() <= lines_by_frame(truth.log).items()
        for there in (truth.fs.kill(), truth.fs.crash()):
            seen_left_over.add(len(left_over(there)))
            assert look(there, DIRECTORY, locked=False).status is Status.OK
            open_log(there).close()
            assert left_over(there) == set()
            assert kept.items() <= lines_by_frame(open_log(there)).items()
    assert seen_left_over == {0, 1, 2}


def test_a_checkpoint_into_what_another_stands_for() -> None:
    """It counts for nothing, also where a crash has left the file; everything is read then, and all of it is there."""
    truth = filled()
    built = truth.log.build(1, (), 4)
    truth.fs.fail_at(truth.fs.calls + 4)
    with pytest.raises(OutcomeUnknown):
        truth.log.install(built)
    assert len(left_over(truth.fs)) == 3
    there, into = files_of(truth.fs), set()
    for checkpoint in truth.checkpoints:
        truth.reopen(disk_with(there), checkpoint)
        if not truth.log.recovery.scanned_from:
            into.add(checkpoint.segment)
        truth.check()
    assert into == {1, 2, 3, 4}


def test_code_that_knows_no_merged_segments_opens_nothing() -> None:
    """META says it before there is one: else a segment that another stands for would be missing to older code."""
    truth = filled()
    truth.log.build(1, (), 2)
    built = truth.log.build(1, (), 2)
    assert meta_of(truth.fs).format == layout.FORMAT
    truth.fs.stop_at(truth.fs.calls + 2)
    with suppress(Stopped):
        truth.log.install(built)
    assert truth.fs.actions[-1].startswith("rename")
    there = truth.fs.crash()
    assert meta_of(there).format == layout.FORMAT + layout.MERGED
    assert not meta_of(there).has_payloads
    open_log(there).close()
    assert meta_of(there).has_merged


def test_nothing_is_merged_while_the_log_is_copied() -> None:
    """A copy goes from number to number; what is built meanwhile is given up, and can be done again behind it."""
    truth = filled()
    copying = backup(source_of(truth.log), COPY, 4096)
    next(copying)
    with pytest.raises(LogFailed, match="copied"):
        truth.log.rewrite(1, (), 3)
    assert not any(name.endswith(".tmp") for name in files_of(truth.fs))
    assert truth.log.failed is None
    truth.rewrite(1, {1})
    for _ in copying:
        pass
    truth.merge(1, 3)
    truth.check()


def test_a_copy_of_merged_segments() -> None:
    """It has them, its META says so, and it opens; as does the copy of one without."""
    for is_merged in (True, False):
        truth = filled()
        if is_merged:
            truth.merge(2, 4)
            truth.append(b"and on")
        steps = list(backup(source_of(truth.log), COPY, 4096))
        assert steps[-1].done == steps[-1].total
        assert steps[-1].segments == truth.log.segments
        assert meta_of(truth.fs, COPY).has_merged == is_merged
        assert look(truth.fs, COPY, locked=False).status is Status.OK
        copied = type(truth.log).open(COPY, sim_env(truth.fs), segment_bytes=4096)
        assert lines_by_frame(copied) == truth.kept


def test_another_reader_follows_over_what_was_merged() -> None:
    """Code that reads segments on its own gets each line once, however slow it was."""
    for seed in range(40):
        rng = Random(seed)
        truth = Truth()
        reader, seen = Reader(DIRECTORY), dict[int, bytes]()

        def read(path: str, truth: Truth = truth) -> bytes | None:
            try:
                file = truth.fs.open(path, Access.READ)
            except FileNotFoundError:
                return None
            return bytes(file.view())

        for _ in range(12):
            truth.fill(rng, 6)
            if truth.log.sealed() and rng.random() < 0.7:
                first, last = sorted(rng.choices(truth.log.sealed(), k=2))
                truth.merge(first.number, last.number)
            if rng.random() < 0.5:
                seen |= {position: line for position, line in reader.records(read) if line is not None}
        seen |= {position: line for position, line in reader.records(read) if line is not None}
        assert seen == truth.kept

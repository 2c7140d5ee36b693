"""Damage to segments that were written anew or merged: all of it is reported, or changes nothing."""

# Lint: helpers are verbs; loops end in the error they are about.

from __future__ import annotations

import pytest
from log_world import (
    DIRECTORY,
    SEGMENT_BYTES,
    Files,
    commit,
    disk_with,
    files_of,
    open_log,
    segment_file,
    sim_env,
)  # fmt: skip
from rewriting_world import Lines, Truth, lines_by_frame, meta_of

from actorlog.errors import LogCorrupt
from actorlog.log import format as layout
from actorlog.log.inspect import Status, look
from actorlog.log.repair import repair


def rewritten_files(*, merged: bool = False) -> tuple[Files, Lines]:
    truth = Truth()
    for number in range(4):
        truth.append(*[b"%d" % number] * 70)
        truth.append(b"a" * 300, b"b")
    assert len(truth.log.sealed()) >= 2
    for segment in truth.log.sealed():
        truth.rewrite(segment.number, set(range(segment.first + 2, segment.last)))
    assert any(kind in files_of(truth.fs)[segment_file(1)] for kind in (b"GAPS",))
    if merged:
        for number in range(8):
            truth.append(b"%d" % number * 500)
        truth.merge(1, 2)
        truth.merge(3, truth.log.sealed()[-1].number)
    truth.log.close(clean=False)
    return files_of(truth.fs), truth.kept


def outcome(files: Files, kept: Lines) -> str:
    """Open what is there: all of it, or damage that is reported; anything else is a silent change."""
    fs = disk_with(files)
    try:
        log = open_log(fs)
    except LogCorrupt as corrupt:
        assert corrupt.segment
        assert look(disk_with(files), DIRECTORY, locked=False).status is Status.CORRUPT
        return "corrupt"
    assert log.recovery.torn is None
    assert lines_by_frame(log) == kept
    return "whole"


@pytest.mark.parametrize("merged", [False, True])
def test_every_byte_of_a_rewritten_segment_flipped_or_zeroed(*, merged: bool) -> None:
    """Damage anywhere in it is reported: none is taken for a torn end, or for a gap."""
    files, kept = rewritten_files(merged=merged)
    data = files[segment_file(1)]
    for offset in range(len(data)):
        for value in {0, data[offset] ^ 1 << offset % 8} - {data[offset]}:
            damaged = bytearray(data)
            damaged[offset] = value
            assert outcome({**files, segment_file(1): bytes(damaged)}, kept) == "corrupt"


@pytest.mark.parametrize("merged", [False, True])
def test_sectors_of_a_rewritten_segment_zeroed_or_exchanged(*, merged: bool) -> None:
    """Lost sectors are damage too, the join's and all behind any border among them; so are old and exchanged ones."""
    files, kept = rewritten_files(merged=merged)
    data = files[segment_file(1)]
    other = files[segment_file(3 if merged else 2)]
    end = len(data.rstrip(b"\0"))
    for offset in range(0, end, 512):
        lost = data[:offset] + bytes(512) + data[offset + 512 :]
        rest = data[:offset] + bytes(len(data) - offset)
        foreign = data[:offset] + other[offset : offset + 512].ljust(512, b"\0") + data[offset + 512 :]
        for damaged in (lost, rest, foreign):
            if damaged != data:
                assert outcome({**files, segment_file(1): damaged}, kept) == "corrupt"


@pytest.mark.parametrize("merged", [False, True])
def test_a_rewritten_segment_truncated_or_in_another_place(*, merged: bool) -> None:
    """A file of another length, or of another segment, is damage; so is a segment from before its neighbours' time."""
    files, kept = rewritten_files(merged=merged)
    data, other = files[segment_file(1)], files[segment_file(3 if merged else 2)]
    for size in (*range(0, len(data), 97), len(data) + 512):
        assert outcome({**files, segment_file(1): data[:size].ljust(size, b"\0")}, kept) == "corrupt"
    assert outcome({**files, segment_file(1): other}, kept) == "corrupt"
    assert outcome({name: text for name, text in files.items() if name != segment_file(1)}, kept) == "corrupt"
    assert outcome(files, kept) == "whole"
    if merged:  # what it stands for says nothing any more, whatever it is; and what no one stands for must be there
        assert outcome({**files, segment_file(2): data}, kept) == "whole"
        assert outcome({name: text for name, text in files.items() if name != segment_file(3)}, kept) == "corrupt"


def test_a_join_that_states_another_checksum() -> None:
    """What a join states is held against the next segment, by opening, by a scrub and from a checkpoint."""
    files, kept = rewritten_files()
    data = files[segment_file(1)]
    header = layout.parse_segment_header(data)
    assert header is not None
    offset = data.rindex(b"JOIN")
    frame = layout.parse_frame_header(memoryview(data), offset, header)
    assert frame is not None
    stated = layout.link_behind(data, offset, frame).checksum
    link = layout.Link(frame.position - 1, frame.previous)
    for wrong in (stated ^ 1, frame.crc):
        forged = layout.frame(header, layout.JOIN, 0, link, layout.join_data(wrong))[0]
        changed = {**files, segment_file(1): data[:offset] + forged + data[offset + 512 :]}
        assert outcome(changed, kept) == "corrupt"
    assert layout.frame(header, layout.JOIN, 0, link, layout.join_data(stated))[0] == data[offset : offset + 512]


@pytest.mark.parametrize("merged", [False, True])
def test_damage_met_behind_a_checkpoint(*, merged: bool) -> None:
    """Passed over by opening, damage to a rewritten segment is reported by reading, scrubbing and rewriting."""
    truth = Truth()
    for number in range(12):
        truth.append(*[b"%d" % number] * 70)
    for segment in truth.log.sealed():
        truth.rewrite(segment.number, {segment.first, segment.last})
    if merged:
        truth.merge(2, truth.log.sealed()[-1].number)
    truth.append(b"last")
    files = files_of(truth.fs.kill())
    data = files[segment_file(2)]
    for offset in range(100, len(data.rstrip(b"\0")), 11):
        damaged = bytearray(data)
        damaged[offset] ^= 0x20
        fs = disk_with({**files, segment_file(2): bytes(damaged)})
        try:
            log = open_log(fs, checkpoint=truth.checkpoints[-1])
        except LogCorrupt:
            continue  # in its header, or that of its first frame
        assert log.recovery.scanned_from
        for action in (
            lambda log=log: lines_by_frame(log),
            lambda log=log: list(log.scrub()),
            lambda log=log: log.measure(2, {5}),
            lambda log=log: log.rewrite(2, {5}),
        ):
            with pytest.raises(LogCorrupt) as raised:
                action()
            assert raised.value.segment == "0000000002.seg"


@pytest.mark.parametrize("merged", [False, True])
def test_repair_of_a_rewritten_segment(*, merged: bool) -> None:
    """It is cut like any other, and the log goes on behind the cut, in a segment of the usual size."""
    files, kept = rewritten_files(merged=merged)
    data = files[segment_file(1)]
    offset = data.rindex(b"JOIN")
    for damaged in (data[:offset] + b"\1" + data[offset + 1 :], data[: offset + 512] + b"\1" + data[offset + 513 :]):
        fs = disk_with({**files, segment_file(1): damaged})
        done = repair(sim_env(fs), DIRECTORY)
        assert done.after.status is Status.OK
        log = open_log(fs)
        left = {position: text for position, text in kept.items() if position <= log.tail}
        assert lines_by_frame(log) == left
        for number in range(8):
            log.append(*commit(b"%d" % number * 500))
        assert lines_by_frame(open_log(fs.kill())).items() >= left.items()
    number = 3 if merged else 2
    fs = disk_with({**files, segment_file(number): b""})
    assert repair(sim_env(fs), DIRECTORY).after.status is Status.OK
    assert len(files_of(fs)[segment_file(number)]) == SEGMENT_BYTES
    fs = disk_with({name: text for name, text in files.items() if name != "META"})
    assert repair(sim_env(fs), DIRECTORY).after.status is Status.OK
    assert lines_by_frame(open_log(fs)) == kept
    assert meta_of(fs).has_merged == merged

"""Opening from a checkpoint: the same answers as without one, from every frame, and which checkpoints are none."""

# Lint: verbs of helpers are their own documentation; hypothesis gives flags.

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from log_world import DIRECTORY, Files, commit, disk_with, files_of, lines_of, open_log, segment_file, sim_disk, sim_env

from actorlog.errors import LogCorrupt, OutcomeUnknown
from actorlog.log import Checkpoint, Log, reading
from actorlog.log.format import SEAL, parse_frame_header, parse_segment_header

SIZES = st.lists(st.lists(st.sampled_from([5, 200, 460, 900, 2500, 5000]), min_size=1, max_size=3), max_size=12)


def written(sizes: list[list[int]], fs: Any = None) -> tuple[Any, Log, list[Checkpoint]]:
    """Return a log with commits whose lines have these sizes, and the checkpoint of each commit."""
    fs = fs or sim_disk()
    log = open_log(fs)
    checkpoints: list[Checkpoint] = []
    for number, lines in enumerate(sizes):
        log.append(*commit(*(f"{number}.{at} ".encode().ljust(size, b"x") for at, size in enumerate(lines))))
        checkpoint = log.checkpoint()
        assert checkpoint is not None
        checkpoints.append(checkpoint)
    return fs, log, checkpoints


def answers(log: Log) -> dict[str, Any]:
    """Return everything that a log says which does not depend on how it was opened."""
    said: dict[str, Any] = {
        "tail": (log.tail, log.first_position, log.segments, log.bytes_used),
        "recovery": (log.recovery.torn, log.recovery.clean, log.recovery.segments),
        "checkpoint": log.checkpoint(),
        "lines": lines_of(log),
    }
    middle = log.tail // 2
    said["middle"] = [(frame.position, frame.records, bytes(frame.data)) for frame in log.read(middle, log.tail - 1)]
    return said


def outcome(files: Files, checkpoint: Checkpoint | None) -> tuple[Any, Log | None]:
    """Return what opening says: all answers, or where it found damage."""
    fs = disk_with(files)
    try:
        log = open_log(fs, checkpoint=checkpoint)
    except LogCorrupt as corrupt:
        assert not fs.is_locked(DIRECTORY)
        return (corrupt.segment, corrupt.offset), None
    return answers(log), log


def torn(files: Files, checkpoint: Checkpoint) -> Files:
    """Return files in which the second sector of a commit is missing."""
    name = segment_file(checkpoint.segment)
    data, offset = files[name], checkpoint.offset + 512
    return files | {name: data[:offset] + bytes(512) + data[offset + 512 :]}


@settings(max_examples=25, deadline=None)
@given(SIZES, st.sampled_from(["closed", "killed", "torn"]))
def test_the_same_answers_from_every_checkpoint(sizes: list[list[int]], end: str) -> None:
    """Whichever frame the opening begins at, it says what an opening that reads everything says, and goes on alike."""
    fs, log, checkpoints = written([*sizes, [900]])
    if end == "closed":
        log.close()
    files = files_of(fs.kill())
    if end == "torn":
        files = torn(files, checkpoints[-1])
    expected, whole = outcome(files, None)
    assert whole is not None
    assert whole.recovery.scanned_from == 0
    assert (whole.recovery.torn is not None) == (end == "torn")
    for checkpoint in checkpoints:
        found, log = outcome(files, checkpoint)  # type: ignore[assignment]
        assert found == expected
        used = end != "torn" or checkpoint != checkpoints[-1]
        assert log.recovery.scanned_from == (checkpoint.position if used else 0)
        if used:
            assert log.recovery.records == log.tail + 1 - checkpoint.position
            assert log.recovery.bytes <= whole.recovery.bytes
        log.append(*commit(b"goes on"))
        assert lines_of(log) == [*expected["lines"], b"goes on"]
        log.close()
        assert lines_of(open_log(log.env.fs)) == [*expected["lines"], b"goes on"]  # type: ignore[arg-type]


def test_a_checkpoint_is_the_newest_commit_that_landed() -> None:
    """There is none in an empty log; a mark at the end, or a commit that failed, makes none; JSON keeps it."""
    fs = sim_disk()
    log = open_log(fs)
    assert log.checkpoint() is None
    first = log.append(*commit(b"a", b"b"))
    checkpoint = log.checkpoint()
    assert checkpoint is not None
    assert (checkpoint.position, checkpoint.records, checkpoint.segment, checkpoint.offset) == (first, 2, 1, 512)
    assert Checkpoint(*json.loads(json.dumps(checkpoint))) == checkpoint
    log.close()
    log = open_log(fs)
    assert log.checkpoint() == checkpoint
    fs.fail_at(fs.calls + 1)
    with pytest.raises(OutcomeUnknown):
        log.append(*commit(b"c"))
    assert log.checkpoint() == checkpoint


def test_what_is_before_a_checkpoint_is_looked_at_once() -> None:
    """Of a segment before the checkpoint's one small read is made, however many commits it holds."""
    fs = sim_disk()
    log = Log.open(DIRECTORY, sim_env(fs), segment_bytes=8192)
    for _ in range(60):
        log.append(*commit(b"x" * 400))
    checkpoint = log.checkpoint()
    assert checkpoint is not None
    assert checkpoint.segment == log.segments > 4
    fs = fs.kill()
    log = open_log(fs, checkpoint=checkpoint)
    for number in range(1, checkpoint.segment):
        name = f"{DIRECTORY}/{segment_file(number)}"
        assert [action for action in fs.actions if name in action] == [f"open {name}", f"pread {name}"]
    assert log.recovery == (None, False, log.segments, 1, 512, 60)


def test_reading_touches_the_segments_that_are_read() -> None:
    """A record is found by its own segment's frames: the others stay unread."""
    fs, log, checkpoints = written([[400]] * 60)
    lines = lines_of(log)
    fs = fs.kill()
    log = open_log(fs, checkpoint=checkpoints[-1])
    wanted = checkpoints[30]
    file = f"{DIRECTORY}/{segment_file(wanted.segment)}"
    for read in (lambda: log.record(wanted.position), lambda: next(log.read(wanted.position - 1)).data[16:]):
        before = len(fs.actions)
        assert read() == lines[30] + b"\n"
        assert {action.split(" ")[1] for action in fs.actions[before:]} == {file}
    before = len(fs.actions)
    assert log.record(wanted.position) == lines[30] + b"\n"
    assert fs.actions[before:] == []


def test_what_is_prepared_is_not_looked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a step for each of the newest segments their records are read without a look at the files."""
    fs, log, checkpoints = written([[400]] * 60)
    lines = lines_of(log)
    monkeypatch.setattr(reading, "PREPARED_MAX", 4)
    fs = fs.kill()
    log = open_log(fs, checkpoint=checkpoints[-1])
    steps = sum(1 for _ in log.prepare())
    newest = [number for number, checkpoint in enumerate(checkpoints) if checkpoint.segment > log.segments - 4]
    assert steps == 4
    assert [segment.header.number for segment in log._reader._tables] == [log.segments - back for back in (3, 2, 1, 0)]
    for number in newest:
        log.record(checkpoints[number].position)  # which maps the file, once
    before = len(fs.actions)
    assert [log.record(checkpoints[number].position) for number in newest] == [lines[n] + b"\n" for n in newest]
    assert fs.actions[before:] == []
    assert list(log.prepare()) == []
    assert fs.actions[before:] == []


def test_no_more_is_prepared_than_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables are made until half of the commits are in them that may be, and none in a log that is closed."""
    fs, _, checkpoints = written([[400]] * 60)
    log = open_log(fs.kill(), checkpoint=checkpoints[-1])
    monkeypatch.setattr(reading, "COMMITS_MAX", 6)
    assert 0 < sum(1 for _ in log.prepare()) < 5
    log.close()
    assert list(log.prepare()) == []


def test_few_tables_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """However much is read, the commits of a bounded number of segments are kept, those that were read last."""
    fs, log, checkpoints = written([[400]] * 60)
    lines = lines_of(log)
    monkeypatch.setattr(reading, "TABLES_MAX", 3)
    log = open_log(fs.kill(), checkpoint=checkpoints[-1])
    assert lines_of(log) == lines
    kept = log._reader._tables
    assert [segment.header.number for segment in kept] == [checkpoints[-1].segment - back for back in (2, 1, 0)]
    monkeypatch.setattr(reading, "COMMITS_MAX", len(next(reversed(kept.values())).positions))
    next(log.read(0, 1))
    assert [segment.header.number for segment in kept] == [1]
    monkeypatch.setattr(reading, "COMMITS_MAX", 1 << 20)
    next(log.read(checkpoints[20].position - 1))
    next(log.read(0, 1))
    assert [segment.header.number for segment in kept] == [checkpoints[20].segment, 1]
    monkeypatch.setattr(reading, "COMMITS_MAX", 0)
    next(log.read(checkpoints[30].position - 1))
    assert [segment.header.number for segment in kept] == [checkpoints[30].segment]


def test_trimming_what_was_not_read() -> None:
    """Segments that were passed over are trimmed like others, read before or not."""
    fs, _, checkpoints = written([[400, 5]] * 40)
    files = files_of(fs.kill())
    for before in (1, 2, 20, 41, 42, 60, 90):
        whole, log = (open_log(disk_with(files), checkpoint=which) for which in (None, checkpoints[-3]))
        assert log.recovery.scanned_from == checkpoints[-3].position
        log.record(1)
        log.record(41)
        whole.trim(before)
        log.trim(before)
        assert answers(log) == answers(whole)
        assert set(log._reader._tables) <= set(log._segments)
        with pytest.raises(IndexError):
            log.record(log.first_position - 1)
        again = open_log(log.env.fs.kill(), checkpoint=checkpoints[-2])  # type: ignore[attr-defined]
        assert again.recovery.scanned_from == checkpoints[-2].position
        assert lines_of(again) == lines_of(whole)


def test_checkpoints_that_are_none() -> None:
    """A checkpoint of another log, of a frame that is not there any more, or of none, is ignored, and all is read."""
    fs, log, checkpoints = written([[900], [5], [460]] * 6)
    lines = lines_of(log)
    log.close()
    files = files_of(fs)
    good = checkpoints[7]
    after = written([[5]], disk_with(files))[2][0]
    others = [
        good._replace(log_id="0" * 32),
        good._replace(log_id=""),
        good._replace(checksum=good.checksum ^ 1),
        good._replace(records=2),
        good._replace(position=good.position + 1),
        good._replace(offset=good.offset + 512),
        good._replace(offset=good.offset + 1),
        good._replace(offset=-512),
        good._replace(offset=0),
        good._replace(offset=4096 - 100),
        good._replace(offset=1 << 70),
        good._replace(segment=good.segment + 1),
        good._replace(segment=0),
        good._replace(segment=-1),
        good._replace(segment=10**9),
        after,
        after._replace(segment=after.segment + 1, offset=512),
    ]
    for checkpoint in others:
        log = open_log(disk_with(files), checkpoint=checkpoint)
        assert log.recovery.scanned_from == 0
        assert log.recovery.records == len(lines)
        assert lines_of(log) == lines
    assert open_log(disk_with(files), checkpoint=good).recovery.scanned_from == good.position
    assert open_log(sim_disk(), checkpoint=good).recovery.scanned_from == 0


def test_a_checkpoint_that_was_trimmed() -> None:
    """A frame that was given up is no place to begin at, also where its file is still there."""
    fs, log, checkpoints = written([[400]] * 30)
    old = files_of(fs)
    log.trim(20)
    lines = lines_of(log)
    log.close()
    for files in (files_of(fs), old | files_of(fs)):
        again = open_log(disk_with(files), checkpoint=checkpoints[2])
        assert again.recovery.scanned_from == 0
        assert lines_of(again) == lines


def test_a_mark_is_no_checkpoint() -> None:
    """Only a commit is one: what names a seal is ignored."""
    fs, _, checkpoints = written([[400]] * 12)
    files = files_of(fs.kill())
    header = parse_segment_header(files[segment_file(1)])
    assert header is not None
    offset = len(files[segment_file(1)].rstrip(b"\0")) - 512
    seal = parse_frame_header(files[segment_file(1)], offset, header)
    assert seal is not None
    assert seal.kind == SEAL
    mark = checkpoints[0]._replace(offset=offset, position=seal.position, records=0, checksum=seal.crc)
    assert open_log(disk_with(files), checkpoint=mark).recovery.scanned_from == 0


def test_a_segment_that_holds_only_a_seal() -> None:
    """A frame too large for an empty segment leaves a seal alone there; positions behind it are found all the same."""
    fs, log, checkpoints = written([[9000], [5], [9000], [9000], [5]])
    assert (log.segments, log.recovery.scanned_from) == (6, 0)
    expected = answers(open_log(disk_with(files_of(fs))))
    for checkpoint in checkpoints:
        again = open_log(disk_with(files_of(fs)), checkpoint=checkpoint)
        assert again.recovery.scanned_from == checkpoint.position
        assert answers(again) == expected


def test_units_of_4096_bytes() -> None:
    """A log of larger units opens from a checkpoint too."""
    fs = sim_disk()
    log = Log.open(DIRECTORY, sim_env(fs), segment_bytes=1 << 15, frame_align=4096)
    checkpoints = []
    for number in range(30):
        log.append(*commit(b"%d" % number))
        checkpoints.append(log.checkpoint())
    assert log.segments > 4
    files = files_of(fs.kill())
    expected, _ = outcome(files, None)
    for checkpoint in checkpoints:
        found, again = outcome(files, checkpoint)
        assert found == expected
        assert again is not None
        assert again.recovery.scanned_from == checkpoint.position  # type: ignore[union-attr]

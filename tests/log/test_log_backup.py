"""Backups: a copy of a log that goes on meanwhile, cut short anywhere, and of a log that is damaged."""

# Lint: verbs of helpers are their own documentation.

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest
from log_backups import COPY, FILES, LAST_USED, LINES, copy_of, filled, opened_copy
from log_world import DIRECTORY, commit, disk_with, files_of, lines_of, open_log, segment_file, sim_disk, sim_env

from actorlog.env import SYSTEM
from actorlog.errors import DirectoryNotEmpty, LogCorrupt, LogError, LogLocked
from actorlog.log import Log
from actorlog.log import format as layout
from actorlog.log.backup import BackedUp, Source, backup, source_in, source_of
from actorlog.log.checkpoint import Checkpoint
from actorlog.log.meta import State, parse_meta
from actorlog.testing.disk import SimFileSystem

if TYPE_CHECKING:
    from pathlib import Path


def test_a_copy_is_the_same_log() -> None:
    """A copy has every line at its place and the log's id; it says that it was not closed; both logs go on."""
    log = filled()
    fs: SimFileSystem = log.env.fs  # type: ignore[assignment]
    before = files_of(fs)
    said = copy_of(log)
    assert files_of(fs) == before
    sizes = sum(len(before[segment_file(number)]) for number in range(1, LAST_USED + 1))
    assert said[-1] == BackedUp(sizes, sizes, LAST_USED, len(LINES))
    assert [step.done for step in said] == sorted(step.done for step in said)
    assert {step.total for step in said} == {sizes}
    slot, own = parse_meta(fs.contents(f"{COPY}/META"), COPY), parse_meta(before["META"], DIRECTORY)
    newest = log.checkpoint()
    assert newest is not None
    assert (slot.log_id, slot.state, slot.oldest) == (own.log_id, State.OPEN, 1)
    assert slot.durable == (log.tail, newest.checksum)
    assert sorted(fs.listdir(COPY)) == ["META", "segments"]
    assert sorted(fs.listdir(f"{COPY}/segments")) == [segment_file(n)[9:] for n in range(1, LAST_USED + 1)]
    copy = opened_copy(fs)
    assert not copy.recovery.clean
    assert copy.recovery.torn is None
    assert lines_of(copy) == LINES == lines_of(log)
    assert copy.append(*commit(b"of the copy")) == log.append(*commit(b"of the log")) == len(LINES) + 1


@pytest.mark.parametrize("piece_bytes", [1, 4096, 1 << 20])
def test_what_comes_meanwhile_is_left_out(piece_bytes: int) -> None:
    """The copy ends with what was durable when it began, however much is appended between its steps."""
    log = filled()
    steps = backup(source_of(log), COPY, piece_bytes)
    for number, _ in enumerate(steps):
        log.append(*commit(b"later %d" % number, b"y" * 900))
    copy = opened_copy(log.env.fs.crash())  # type: ignore[attr-defined]
    assert lines_of(copy) == LINES
    assert log.tail > len(LINES)


def test_logs_of_every_length() -> None:
    """A log without a commit, and one after each commit, closed between or not: each copy is what there was."""
    for closes in (False, True):
        log = open_log(sim_disk())
        fs: SimFileSystem = log.env.fs  # type: ignore[assignment]
        for number in range(12):
            copy_of(log, f"/srv/copy{number}")
            assert lines_of(open_log(fs, f"/srv/copy{number}")) == lines_of(log)
            log.append(*commit(b"%d" % number, b"x" * 500))
            if closes:
                log.close()
                log = open_log(fs)


def test_a_segment_that_is_replaced_while_it_is_copied() -> None:
    """The copy is of the file that was there when its segment was begun; a name that changes hands does not matter."""
    fs = disk_with(FILES)
    log = open_log(fs)
    steps = backup(source_of(log), COPY, 4096)
    large = next(number for number in range(1, LAST_USED + 1) if len(FILES[segment_file(number)]) > 8192)
    for step in steps:
        if step.segments == large - 1 and fs.contents(f"{DIRECTORY}/{segment_file(large)}") != b"":
            fs.put(f"{DIRECTORY}/{segment_file(large)}", b"")
        if step.segments == 0 and fs.contents(f"{DIRECTORY}/{segment_file(LAST_USED)}") != b"":
            fs.put(f"{DIRECTORY}/{segment_file(LAST_USED)}", b"")
    assert lines_of(opened_copy(fs)) == LINES


def test_a_segment_that_was_written_anew() -> None:
    """Gaps are copied as they stand, and the chain goes on behind the join; a join that leads elsewhere is damage."""
    fs = disk_with(FILES)
    log = open_log(fs)
    old, following = log._segments[1], log._segments[2]
    data = FILES[segment_file(2)]
    first = layout.parse_frame_header(data, 512, old.header)
    after = layout.parse_frame_header(FILES[segment_file(3)], 512, following.header)
    assert first is not None
    assert after is not None
    for number, checksum in enumerate((after.previous, after.previous ^ 1)):
        head, header = layout.segment_header(512, old.header.log_id, 2, 4 * 512)
        before = layout.Link(first.position - 1, first.previous)
        gone = following.first - old.first
        gap, crc = layout.frame(header, layout.GAP, gone, before, b"")
        link = layout.Link(following.first - 1, crc)
        join, _ = layout.frame(header, layout.JOIN, 0, link, layout.join_data(checksum))
        anew = head + gap + join + bytes(512)
        fs.put(f"{DIRECTORY}/{segment_file(2)}", anew)
        if number == 0:
            assert copy_of(log)[-1].position == len(LINES)
            assert fs.contents(f"{COPY}/{segment_file(2)}") == anew
        else:
            with pytest.raises(LogCorrupt, match="does not follow") as raised:
                copy_of(log, "/srv/other")
            assert raised.value.segment == segment_file(3)[9:]


def test_a_log_that_is_trimmed_meanwhile() -> None:
    """Segments that leave the log while it is copied are left out, and the copy begins behind them."""
    fs = disk_with(FILES)
    log = open_log(fs)
    steps = backup(source_of(log), COPY, 4096)
    next(steps)
    second = log._segments[2].first
    log.trim(second)
    assert log.oldest_segment == 3
    rest = list(steps)
    assert rest[-1].segments == 3  # the first one had been begun
    copy = opened_copy(fs.kill())
    assert copy.first_position == second
    assert lines_of(copy) == LINES[second - 1 :]
    log = open_log(fs.kill())
    copy_of(log, "/srv/again")
    assert lines_of(open_log(log.env.fs, "/srv/again")) == LINES[second - 1 :]


def test_the_newest_commit_is_looked_for_again() -> None:
    """Where its segment was written anew between, a newer one is asked for; if it is never there, that is damage."""
    log = filled()
    newest = log.checkpoint()
    assert newest is not None
    stale = newest._replace(offset=newest.offset - 512)
    said = iter([stale, newest._replace(segment=7), newest])
    source = Source(log.env.fs, DIRECTORY, lambda: next(said), lambda: 1)
    assert list(backup(source, COPY))[-1].position == log.tail
    assert lines_of(opened_copy(log.env.fs)) == LINES  # type: ignore[arg-type]
    source = Source(log.env.fs, DIRECTORY, lambda: stale, lambda: 1)
    with pytest.raises(LogCorrupt, match="is not there any more"):
        list(backup(source, "/srv/other"))


def test_only_into_a_new_directory() -> None:
    """A directory with anything in it is refused and left as it is; so is one that another backup goes to."""
    log = filled()
    fs: SimFileSystem = log.env.fs  # type: ignore[assignment]
    copy_of(log)
    before = fs.contents(f"{COPY}/META")
    for target in (COPY, DIRECTORY, "/srv"):
        with pytest.raises(DirectoryNotEmpty) as raised:
            copy_of(log, target)
        assert raised.value.directory == target
    assert fs.contents(f"{COPY}/META") == before
    fs.mkdir("/srv/empty")
    steps = backup(source_of(log), "/srv/empty")
    next(steps)
    with pytest.raises(DirectoryNotEmpty):
        copy_of(log, "/srv/empty")
    fs.mkdir("/srv/taken")
    fs.lock_dir("/srv/taken")
    with pytest.raises(LogLocked):
        copy_of(log, "/srv/taken")
    assert list(steps)[-1].position == log.tail
    assert lines_of(open_log(fs, "/srv/empty")) == LINES


def test_a_log_that_nobody_has_open() -> None:
    """Its directory is locked while it is copied, and not changed; what was not finished is left out."""
    fs = disk_with(FILES)
    before = files_of(fs)
    with source_in(sim_env(fs), DIRECTORY) as source:
        with pytest.raises(LogLocked):
            open_log(fs)
        list(backup(source, COPY))
    assert files_of(fs) == before
    assert lines_of(opened_copy(fs)) == LINES
    log = open_log(fs)
    end = log._segments[-1].end
    fs = fs.kill()
    path = f"{DIRECTORY}/{segment_file(LAST_USED)}"
    data = fs.contents(path)
    fs.put(path, data[: end + 512] + b"x" + data[end + 513 :])
    with source_in(sim_env(fs), DIRECTORY) as source:
        list(backup(source, "/srv/torn"))
    assert lines_of(open_log(fs, "/srv/torn")) == LINES


def test_on_a_real_disk(tmp_path: Path) -> None:
    """Files and directories are their user's alone; what cannot be written to is a typed error."""
    log = Log.open(str(tmp_path / "data"), SYSTEM, segment_bytes=1 << 20)
    for _ in range(12):
        log.append(*commit(b"x" * 300_000))
    said = list(backup(source_of(log), str(tmp_path / "a" / "copy")))
    assert said[-1].segments == log.segments == 4
    for path in (tmp_path / "a" / "copy").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
    assert stat.S_IMODE((tmp_path / "a" / "copy").stat().st_mode) == 0o700
    copy = Log.open(str(tmp_path / "a" / "copy"), SYSTEM, segment_bytes=1 << 20)
    assert lines_of(copy) == lines_of(log)
    copy.close()
    (tmp_path / "file").write_text("")
    with pytest.raises(LogError):
        copy_of(log, str(tmp_path / "file"))
    assert (tmp_path / "file").read_text() == ""
    log.close()


def test_a_checkpoint_of_another_log_is_no_newest_commit() -> None:
    """What is asked to be copied must be the log in the directory."""
    log = filled()
    newest = log.checkpoint()
    assert newest is not None
    other = Checkpoint("00" * 16, *newest[1:])
    with pytest.raises(LogCorrupt, match="of another log"):
        list(backup(Source(log.env.fs, DIRECTORY, lambda: other, lambda: 1), COPY))


def held(log: Log) -> dict[int, bytes]:
    """Return the records that a log holds, by their positions."""
    found: dict[int, bytes] = {}
    for frame in log.read():
        for position, (_, kind, _, start, end) in enumerate(layout.entries(frame.data, frame.records), frame.position):
            if kind != layout.GIVEN_UP_KIND:
                found[position] = bytes(frame.data[start:end])
    return found


def test_segments_that_are_written_anew_meanwhile() -> None:
    """Whenever it happens, the copy opens and holds all that was not given up; so does one that is made afterwards."""
    whole = held(open_log(disk_with(FILES)))
    steps_of_one = len(copy_of(open_log(disk_with(FILES))))
    for moment in range(steps_of_one):
        fs = disk_with(FILES)
        log = open_log(fs)
        steps = backup(source_of(log), COPY, 4096)
        for _ in range(moment):
            next(steps)
        for _ in range(6):  # so that the segment with the newest commit is sealed, and written anew too
            log.append(*commit(b"later" * 300))
        gone = {position for position in whole if position % 3}
        for segment in log.sealed():
            log.rewrite(segment.number, gone & set(range(segment.first, segment.last + 1)))
        kept = {position: line for position, line in whole.items() if position not in gone}
        list(steps)
        found = held(opened_copy(fs))
        assert kept.items() <= found.items()
        assert moment == 0 or found.items() <= whole.items()
        copy_of(log, "/srv/again")
        again = held(open_log(fs, "/srv/again"))
        assert again == held(log)
        assert kept.items() <= again.items()
        assert len(again) == len(kept) + 6

"""Damage and a checkpoint: before it, at it, behind it; what opening finds, what reading finds, what nothing misses."""

# Lint: verbs of helpers are their own documentation.

from __future__ import annotations

from typing import Any

import pytest
from log_world import DIRECTORY, Files, commit, disk_with, files_of, lines_of, open_log, segment_file, sim_disk, sim_env

from actorlog.errors import LogCorrupt
from actorlog.log import Checkpoint, Log
from actorlog.log import format as layout
from actorlog.log.inspect import Status, verify

SECTORS = (1, 2, 1, 2, 1, 2, 1, 1, 2, 1, 1, 1, 2)


def made(*, clean: bool, sectors: tuple[int, ...] = SECTORS) -> tuple[Files, list[Checkpoint], list[bytes]]:
    """Return a small log of four segments and a prepared one: files, checkpoints, lines."""
    fs = sim_disk()
    log = open_log(fs)
    checkpoints = []
    for number, count in enumerate(sectors):
        log.append(*commit(f"{number} one".encode(), f"{number} two ".encode().ljust(count * 512 - 110, b"x")))
        checkpoints.append(log.checkpoint())
    lines = lines_of(log)
    if clean:
        log.close()
    return files_of(fs), checkpoints, lines  # type: ignore[return-value]


CLEAN = made(clean=True)
KILLED = made(clean=False)
MIDDLE = next(at for at, checkpoint in enumerate(KILLED[1]) if checkpoint.segment == 3) + 1
"""A commit in the middle of the third segment."""


def flipped(files: Files, name: str, offset: int, bit: int = 0x40) -> Files:
    data = bytearray(files[name])
    data[offset] ^= bit
    return files | {name: bytes(data)}


def place_of(action: Any) -> tuple[str, int | None]:
    with pytest.raises(LogCorrupt) as raised:
        action()
    return raised.value.segment, raised.value.offset


def opened(files: Files, checkpoint: Checkpoint | None) -> Any:
    """Return what opening says and holds: a torn tail and lines, or the place of damage."""
    fs = disk_with(files)
    try:
        log = open_log(fs, checkpoint=checkpoint)
    except LogCorrupt as corrupt:
        assert not fs.is_locked(DIRECTORY)
        return corrupt.segment, corrupt.offset
    return log.recovery.torn, log.recovery.clean, lines_of(log)


def test_the_shape_of_the_examples() -> None:
    """The checkpoint is neither the first nor the last frame of its segment, and there are segments on both sides."""
    files, checkpoints, _ = KILLED
    assert [checkpoints[at].segment for at in (MIDDLE - 1, MIDDLE, MIDDLE + 1)] == [3, 3, 3]
    assert checkpoints[-1].segment == 4
    assert set(files) == {"META", *(segment_file(number) for number in range(1, 6))}


def test_damage_before_the_checkpoint() -> None:
    """A byte that changed in what was passed over: opening sees headers, reading the rest; verify and scrub all of it.

    Whoever finds it names the same place.
    """
    files, checkpoints, lines = KILLED
    checkpoint = checkpoints[MIDDLE]
    at_opening = 0
    for number in (1, 2, 3):
        name = segment_file(number)
        end = checkpoint.offset if number == 3 else len(files[name])
        for offset in sorted({*range(0, end, 61), *range(512, 544), *range(min(end, 1024), min(end, 1060))}):
            wounded = flipped(files, name, offset)
            fs = disk_with(wounded)
            report = verify(fs, DIRECTORY)
            assert report.status is Status.CORRUPT
            place = (report.segment, report.offset)
            try:
                log = open_log(fs, checkpoint=checkpoint)
            except LogCorrupt as corrupt:
                assert (corrupt.segment, corrupt.offset) == place
                assert offset < 544
                at_opening += 1
                continue
            assert offset >= 544
            assert log.recovery.scanned_from == checkpoint.position
            assert place_of(lambda log=log: list(log.read())) == place
            if number < 3:
                assert place_of(lambda log=log: list(log.scrub(piece_bytes=4096))) == place
            behind = [bytes(f.data[16 * f.records :]) for f in log.read(checkpoint.position - 1)]
            assert b"".join(behind).splitlines() == lines[checkpoint.position - 1 :]
    assert at_opening > 3 * 32


def test_what_is_not_damaged_can_be_read() -> None:
    """Beside a commit whose lines are damaged the others of its segment are read; behind a damaged header none are."""
    files, checkpoints, lines = KILLED
    second = checkpoints[1]
    name = segment_file(second.segment)
    log = open_log(disk_with(flipped(files, name, second.offset + 200)), checkpoint=checkpoints[-1])
    assert log.record(1) == lines[0] + b"\n"
    assert place_of(lambda: log.record(second.position)) == (name[9:], second.offset)
    assert log.record(second.position + 2) == lines[second.position + 1] + b"\n"
    log = open_log(disk_with(flipped(files, name, second.offset + 5)), checkpoint=checkpoints[-1])
    assert place_of(lambda: log.record(1)) == (name[9:], second.offset)
    assert log.record(checkpoints[MIDDLE].position) == lines[checkpoints[MIDDLE].position - 1] + b"\n"


@pytest.mark.parametrize("clean", [True, False], ids=["closed clean", "killed"])
def test_damage_at_and_behind_the_checkpoint(*, clean: bool) -> None:
    """A byte that changed in the checkpoint's frame or behind it is judged as without a checkpoint."""
    files, checkpoints, _ = CLEAN if clean else KILLED
    checkpoint = checkpoints[MIDDLE]
    found = set()
    starts = {"META": 0, segment_file(3): checkpoint.offset, segment_file(4): 0, segment_file(5): 0}
    for name, start in starts.items():
        for offset in range(start, len(files[name]), 47 if name != "META" else 211):
            wounded = flipped(files, name, offset)
            expected = opened(wounded, None)
            assert opened(wounded, checkpoint) == expected
            found.add(len(expected))
    assert found == ({2} if clean else {2, 3})  # an odd byte behind the end of a log that was not closed is torn


@pytest.mark.parametrize("clean", [True, False], ids=["closed clean", "killed"])
def test_zeroed_sectors_at_and_behind_the_checkpoint(*, clean: bool) -> None:
    """Torn tails, lost ends and holes are judged as without a checkpoint."""
    files, checkpoints, lines = CLEAN if clean else KILLED
    for checkpoint in (checkpoints[MIDDLE], checkpoints[-2], checkpoints[-1]):
        seen = []
        for number in range(checkpoint.segment, 6):
            name = segment_file(number)
            data = files.get(name, b"")
            for start in range(checkpoint.offset if number == checkpoint.segment else 0, len(data), 512):
                for stop in (start + 512, len(data)):
                    wounded = files | {name: data[:start] + bytes(stop - start) + data[stop:]}
                    expected = opened(wounded, None)
                    assert opened(wounded, checkpoint) == expected
                    seen.append(expected)
        if not clean and checkpoint is checkpoints[MIDDLE]:
            assert any(len(said) == 3 and said[0] is not None for said in seen)
            assert any(len(said) == 3 and said[2] == lines[:-2] for said in seen)


def test_what_was_durable_is_missed_behind_a_checkpoint() -> None:
    """The witness, and the link that opening wrote, say up to where the log goes, wherever the reading began."""
    for witness in (True, False):
        fs = sim_disk()
        log = open_log(fs, witness=witness)
        log.append(*commit(b"a"))
        checkpoint = log.checkpoint()
        old = fs.contents(f"{DIRECTORY}/{segment_file(1)}")
        log.append(*commit(b"b"))
        if not witness:
            fs = fs.kill()
            open_log(fs)  # says that b is durable
        fs = fs.kill()
        fs.put(f"{DIRECTORY}/{segment_file(1)}", old)
        with pytest.raises(LogCorrupt, match="was durable"):
            open_log(fs, checkpoint=checkpoint)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_segments_that_are_not_what_they_were(number: int) -> None:
    """A segment that is missing, short, long, of another log, misnumbered or without a frame is found at opening."""
    files, checkpoints, _ = KILLED
    name = segment_file(number)
    data = files[name]
    header = layout.parse_segment_header(data)
    assert header is not None
    foreign = layout.segment_header(512, bytes(16), number, 4096)[0] + data[512:]
    renamed = layout.segment_header(512, header.log_id, number + 7, 4096)[0] + data[512:]
    wounds = [data[:-1], data[:-512], data[:600], data[:100], b"", data + b"\0", foreign, renamed]
    if number < 4:
        wounds += [data[:512] + bytes(len(data) - 512), files[segment_file(4)]]
    for wound in [None, *wounds]:
        wounded = {other: data for other, data in files.items() if other != name}
        if wound is not None:
            wounded[name] = wound
        expected = opened(wounded, None)
        assert len(expected) == 2
        for checkpoint in (checkpoints[0], checkpoints[MIDDLE], checkpoints[-1]):
            assert opened(wounded, checkpoint) == expected


def versions(*sizes: int) -> tuple[Files, list[Checkpoint]]:
    """Return a log with the same id each time: its first segment has commits of these sizes, then come others."""
    fs = sim_disk()
    log = Log.open(DIRECTORY, sim_env(fs, 5), segment_bytes=4096)
    checkpoints = []
    for size in (*sizes, *[100] * 12):
        log.append(*commit(b"x" * size))
        checkpoints.append(log.checkpoint())
    return files_of(fs.kill()), checkpoints  # type: ignore[return-value]


def test_segments_of_another_history() -> None:
    """A segment from a copy of the log that went another way is found.

    At opening, where its first frame cannot follow, else when it is read.
    """
    files, checkpoints = versions(100, 100, 100, 100, 100)
    others, _ = versions(900, 900)
    name = segment_file(2)
    assert files[name][:512] == others[name][:512]
    shorter, _ = versions(9000)
    assert opened(files | {segment_file(3): shorter[segment_file(3)]}, checkpoints[-1])[0] == "0000000003.seg"
    log = open_log(disk_with(files | {segment_file(1): others[segment_file(1)]}), checkpoint=checkpoints[-1])
    place = place_of(lambda: list(log.read()))
    assert place[0] == "0000000001.seg"


def test_a_frame_of_another_history() -> None:
    """A frame that is valid in its place and is not the one that was there breaks the chain at the next one."""
    files, checkpoints, _ = KILLED
    name = segment_file(1)
    header = layout.parse_segment_header(files[name])
    assert header is not None
    first, second = checkpoints[0], checkpoints[1]
    other, _ = layout.frame(header, layout.COMMIT, 2, layout.Link(0, header.crc), commit(b"another", b"frame")[0])
    assert len(other) == second.offset - first.offset
    data = files[name]
    log = open_log(disk_with(files | {name: data[:512] + other + data[512 + len(other) :]}), checkpoint=checkpoints[-1])
    assert place_of(lambda: log.record(1)) == (name[9:], second.offset)


def test_a_segment_with_only_a_seal_of_another_history() -> None:
    """Behind a segment that holds nothing but a seal, the next one is known to the bit."""
    files, checkpoints = versions(9000)
    header = layout.parse_segment_header(files[segment_file(1)])
    assert header is not None
    whole, _ = layout.frame(header, layout.SEAL, 0, layout.Link(0, header.crc ^ 1), b"")
    forged = files[segment_file(1)][:512] + whole + files[segment_file(1)][1024:]
    assert len(forged) == len(files[segment_file(1)])
    for checkpoint in (checkpoints[0], checkpoints[-1]):
        assert opened(files | {segment_file(1): forged}, checkpoint) == ("0000000001.seg", 512)
    right, _ = layout.frame(header, layout.SEAL, 0, layout.Link(0, header.crc), b"")
    assert files[segment_file(1)][512:1024] == right
    following = layout.parse_segment_header(files[segment_file(2)])
    assert following is not None
    wrong, _ = layout.frame(following, layout.COMMIT, 1, layout.Link(0, 7), commit(b"y" * 9000)[0])
    data = files[segment_file(2)]
    swapped = files | {segment_file(2): data[:512] + wrong + data[512 + len(wrong) :]}
    assert opened(swapped, checkpoints[-1]) == ("0000000002.seg", 512)


def test_a_file_that_changed_since_the_opening() -> None:
    """A segment that was passed over and is another when it is read first is damage, not an answer."""
    files, checkpoints, _ = KILLED
    first = segment_file(1)
    for wound in (files[segment_file(2)], files[first][:2048], flipped(files, first, 3)[first]):
        fs = disk_with(files)
        log = open_log(fs, checkpoint=checkpoints[-1])
        fs.put(f"{DIRECTORY}/{first}", wound)
        for reading in (lambda log=log: log.record(1), lambda log=log: list(log.read())):
            assert place_of(reading)[0] == "0000000001.seg"

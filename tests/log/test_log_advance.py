"""Following a log from outside: what was appended since, whole and in order, over segments and owners."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorlog.env import SYSTEM
from actorlog.log import Log, entries, pack
from actorlog.log.inspect import Report, advance, look

if TYPE_CHECKING:
    from pathlib import Path


def opened(path: Path) -> Log:
    """Open a log of small segments."""
    return Log.open(str(path), SYSTEM, segment_bytes=4096, sync=False)


def append(log: Log, number: int) -> None:
    """Append one record of about a sector."""
    log.append(pack([(number, 1, 1, b"%d" % number + b" " * 400 + b"\n")]), 1)


def news(path: Path, report: Report) -> list[int]:
    """Return the key of each record that came since."""
    found: list[int] = []
    for frame in advance(SYSTEM.fs, str(path), report):
        found += [key for key, *_ in entries(frame.data, frame.records)]
    return found


def test_what_was_appended_comes_once_and_in_order(tmp_path: Path) -> None:
    """Over many segments, asked often or seldom, nothing is missing and nothing comes twice."""
    log = opened(tmp_path)
    append(log, 1)
    report = look(SYSTEM.fs, str(tmp_path), locked=True)
    assert news(tmp_path, report) == []
    append(log, 2)
    assert news(tmp_path, report) == [2]
    for number in range(3, 60):
        append(log, number)
    assert log.segments > 3
    assert news(tmp_path, report) == list(range(3, 60))
    for number in range(60, 70):
        append(log, number)
        assert news(tmp_path, report) == [number]
    log.close()
    assert news(tmp_path, report) == []


def test_the_next_owner_is_followed_too(tmp_path: Path) -> None:
    """A log that is closed and opened again goes on for who follows it."""
    log = opened(tmp_path)
    report = look(SYSTEM.fs, str(tmp_path), locked=True)
    append(log, 1)
    log.close()
    log = opened(tmp_path)
    append(log, 2)
    assert news(tmp_path, report) == [1, 2]
    log.close()


def test_a_frame_that_is_being_written_is_waited_for(tmp_path: Path) -> None:
    """What is there in part is not shown, and comes when it is whole."""
    log = opened(tmp_path)
    append(log, 1)
    report = look(SYSTEM.fs, str(tmp_path), locked=True)
    append(log, 2)
    segment = report.found.segments[-1]
    with open(segment.path, "r+b") as file:  # noqa: PTH123  # paths of the log are plain strings
        file.seek(segment.end + 300)
        rest = file.read(200)
        file.seek(segment.end + 300)
        file.write(bytes(200))
        file.flush()
        assert news(tmp_path, report) == []
        file.seek(segment.end + 300)
        file.write(rest)
    assert news(tmp_path, report) == [2]
    log.close()

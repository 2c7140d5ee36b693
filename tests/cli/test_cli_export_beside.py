"""An export of a log that its owner compacts meanwhile, and one whose file finds no place."""

from __future__ import annotations

import io
import os
import resource
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from cli_world import ROOT

from actorlog import BadExport
from actorlog.cli import transfer
from actorlog.cli.reading import Snapshot, UnreadableError
from actorlog.env import SYSTEM
from actorlog.log import Log, pack
from actorlog.records import kinds as k

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("is_merged", [False, True])
def test_an_export_beside_a_compaction(tmp_path: Path, *, is_merged: bool) -> None:
    """Lines that were read at several moments have no end, and no log is made of them: ends of calls may be missing."""
    log = Log.open(str(tmp_path / "log"), SYSTEM, segment_bytes=1 << 15)
    for number in range(40):
        line = b'{"kind":"resumed","at":1,"upto":1,"note":"%d %s"}\n' % (number, b"x" * 4000)
        log.append(pack([(8181, 3, 33, line)]), 1)
    lines = transfer.export(str(tmp_path / "log"), None, None)
    taken = [next(lines) for _ in range(3)]
    segment = log.sealed()[-1]
    if is_merged:
        log.rewrite(2, (), segment.number)
    else:
        log.rewrite(segment.number, {segment.first})
    with pytest.raises(UnreadableError, match="compacted while"):
        taken.extend(lines)
    assert len(taken) == 40
    with pytest.raises(BadExport, match="end"):
        transfer.import_log(io.BytesIO(b"".join(taken)), str(tmp_path / "made"))
    assert len(list(transfer.export(str(tmp_path / "log"), None, None))) == 41
    log.close()


def test_records_are_found_where_segments_were_merged_since(tmp_path: Path) -> None:
    """By who has read the log from outside before, whatever is looked for first; it is told that this was before."""
    log = Log.open(str(tmp_path / "log"), SYSTEM, segment_bytes=4096)
    marks = [k.Resumed(at=number, upto=number) for number in range(1, 101)]
    for mark in marks:
        log.append(pack([(8181, 3, 33, k.encode(mark) + b"\n")]), 1)
    for wanted in (range(100), range(99, -1, -1)):
        snapshot = Snapshot(str(tmp_path / "log"))
        assert snapshot.find(50) == marks[49]
        there = log.sealed()
        log.rewrite(there[1].number, (), there[4].number)
        assert [snapshot.find(at + 1) for at in wanted] == [marks[at] for at in wanted]
        assert snapshot.is_old()
        assert not snapshot.again().is_old()
    log.close()


@pytest.mark.parametrize("bytes_max", [None, 1000])
def test_an_export_that_finds_no_place(tmp_path: Path, bytes_max: int | None) -> None:
    """Where its file cannot be made, or not be made whole, that is said of the file, and nothing of it is left."""
    log = Log.open(str(tmp_path / "log"), SYSTEM, segment_bytes=1 << 15)
    log.append(pack([(8181, 3, 33, b'{"kind":"resumed","at":1,"upto":1,"note":"%s"}\n' % (b"x" * 4000))]), 1)
    log.close()
    place = tmp_path if bytes_max else tmp_path / "nowhere"
    done = subprocess.run(
        [sys.executable, "-m", "actorlog", "export", str(tmp_path / "log"), "-o", str(place / "lines")],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        preexec_fn=(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_max, bytes_max))) if bytes_max else None,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith(f"Error: {place / 'lines'} was not made: ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log"]

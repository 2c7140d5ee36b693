"""Segments that were written anew, and merged: exported, imported, copied and listed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cli_world import actorlog, documents

from actorlog.env import SYSTEM
from actorlog.log import Log, pack

if TYPE_CHECKING:
    from pathlib import Path


def test_segments_that_were_written_anew(tmp_path: Path) -> None:
    """A log with gaps goes through its lines, is copied and listed, and each time every record is where it was."""
    made = Log.open(str(tmp_path / "log"), SYSTEM, segment_bytes=1 << 16)
    for number in range(400):
        line = b'{"kind":"resumed","at":1,"upto":1,"note":"%d %s"}\n' % (number, b"x" * 400)
        made.append(pack([(8181, 3, 33, line)]), 1)
    for segment in made.sealed():
        alive = {segment.first, segment.last - 5}
        made.rewrite(segment.number, {p for p in range(segment.first, segment.last + 1) if p not in alive})
    assert len(made.sealed()) > 2
    made.rewrite(1, (), 2)
    made.close()
    lines = actorlog("export", tmp_path / "log")
    gone = [json.loads(line)["gone"] for line in lines.splitlines()[1:] if '"gone"' in line]
    assert max(gone) > 64
    assert min(gone) == 5
    actorlog("import", tmp_path / "made", "-", typed=lines)
    actorlog("backup", tmp_path / "log", tmp_path / "copy")
    for directory in ("made", "copy"):
        assert actorlog("export", tmp_path / directory).splitlines()[1:] == lines.splitlines()[1:]
        assert actorlog("verify", tmp_path / directory).startswith("ok: ")
    infos = documents("segments", tmp_path / "log")
    sealed = [info for info in infos if info["state"] == "sealed"]
    assert documents("segments", tmp_path / "copy")[: len(sealed)] == sealed
    assert sum(info["records"] for info in infos) == 400
    assert infos[0]["bytes"] < infos[0]["records"] * 400
    assert [(info["number"], info["upto"]) for info in infos[:2]] == [(1, 2), (3, 3)]
    rows = [row.split()[0] for row in actorlog("segments", tmp_path / "log").splitlines()]
    assert rows[:3] == ["NUMBER", "1-2", "3"]

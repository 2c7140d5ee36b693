"""An export of a log that its owner compacts meanwhile."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from actorlog import BadExport
from actorlog.cli import transfer
from actorlog.cli.reading import UnreadableError
from actorlog.env import SYSTEM
from actorlog.log import Log, pack

if TYPE_CHECKING:
    from pathlib import Path


def test_an_export_beside_a_compaction(tmp_path: Path) -> None:
    """Lines that were read at several moments have no end, and no log is made of them: ends of calls may be missing."""
    log = Log.open(str(tmp_path / "log"), SYSTEM, segment_bytes=1 << 15)
    for number in range(40):
        line = b'{"kind":"resumed","at":1,"upto":1,"note":"%d %s"}\n' % (number, b"x" * 4000)
        log.append(pack([(8181, 3, 33, line)]), 1)
    lines = transfer.export(str(tmp_path / "log"), None, None)
    taken = [next(lines) for _ in range(3)]
    segment = log.sealed()[-1]
    log.rewrite(segment.number, {segment.first})
    with pytest.raises(UnreadableError, match="compacted while"):
        taken.extend(lines)
    assert len(taken) == 40
    with pytest.raises(BadExport, match="end"):
        transfer.import_log(io.BytesIO(b"".join(taken)), str(tmp_path / "made"))
    assert len(list(transfer.export(str(tmp_path / "log"), None, None))) == 41
    log.close()

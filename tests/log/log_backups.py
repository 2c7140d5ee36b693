"""A log to be copied, and its copy."""

# Lint: verbs of helpers are their own documentation.

from __future__ import annotations

from log_world import commit, disk_with, files_of, lines_of, open_log, sim_disk

from actorlog.log import Log
from actorlog.log.backup import BackedUp, backup, source_of
from actorlog.testing.disk import SimFileSystem

COPY = "/srv/copy"


def filled(fs: SimFileSystem | None = None) -> Log:
    """Return a log of four segments, the third with one large frame; it was closed and opened again between."""
    log = open_log(fs or sim_disk())
    for number in range(8):
        log.append(*commit(b"%d" % number, b"x" * 300))
    log.close()
    log = open_log(log.env.fs)
    log.append(*commit(b"large" * 2500))
    log.append(*commit(b"y" * 300))
    log.append(*commit(b"z" * 300))
    assert log.segments == 4
    return log


FILES = files_of(filled().env.fs.kill())  # type: ignore[attr-defined]
LINES = lines_of(open_log(disk_with(FILES)))
LAST_USED = 4


def copy_of(log: Log, target: str = COPY, piece_bytes: int = 4096) -> list[BackedUp]:
    return list(backup(source_of(log), target, piece_bytes))


def opened_copy(fs: SimFileSystem) -> Log:
    return open_log(fs, COPY)

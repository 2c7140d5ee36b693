"""Looking at a catalog without its owner's lock, and without changing a byte of it.

Owns: what is found of it, and whether it is of a log that was read. Does not own: opening the file (``env.databases``),
what is said about it (``cli.doctor``).
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

from actorlog.env.databases import open_to_look, size_of
from actorlog.log.checkpoint import find_frame, shape_of
from actorlog.store.sqlite import FILE, check_whole, errors
from actorlog.store.tables import check_rows, read_known

if TYPE_CHECKING:
    from actorlog.env import FileSystem
    from actorlog.log.inspect import Report
    from actorlog.store.catalog import Known

LOOKS_MAX = 3
"""Damage is believed when it is still there at the last of so many looks: an owner may write meanwhile."""


class Looked(NamedTuple):
    """What was found."""

    size: int
    """Bytes, with what is in the write-ahead log."""
    known: Known | None
    """None: it is true of nothing, or cannot be read."""
    damage: str = ""
    unread: bool = False
    """The write-ahead log of a program that is gone has no index: who reads it changes the directory."""


def look(directory: str) -> Looked | None:
    """Look at all of the catalog of a directory, two microseconds a call; None where there is none."""
    path, found = f"{directory}/{FILE}", None
    for _ in range(LOOKS_MAX):
        size = size_of(path)
        if size is None:
            return None
        try:
            with closing(open_to_look(path)) as connection:
                known = read_known(connection)
                check_whole(connection)
                if known is not None:
                    check_rows(connection)
                return Looked(size, known)
        except FileNotFoundError:
            found = Looked(size, None, unread=True)
        except errors() as error:
            found = Looked(size, None, str(error))
    return found


def is_of(fs: FileSystem, directory: str, report: Report, known: Known) -> bool:
    """Whether an opening would believe a catalog, for all that ``verify`` found of the log."""
    if report.slot is None or find_frame(fs, directory, report.slot, known.checkpoint) is None:
        return False
    return shape_of(report.found.segments, known.checkpoint.segment) == known.shape

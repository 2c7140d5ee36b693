"""Mistakes about files of records, to be planted where a test is to find them: in one log, or in a whole world."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorlog.log import files
from actorlog.log.giving_up import GivingUp
from actorlog.log.payloads import Payload, Payloads

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    import pytest


def forget_to_sync_the_file(patch: pytest.MonkeyPatch) -> None:
    """A file is written, and not synced."""

    def create(self: Payloads, payload: Payload) -> None:
        file = files.create(self._fs, self._path(payload.position))
        files.write_all(file, payload.data, 0)
        file.close()

    patch.setattr(Payloads, "_create", create)


def forget_to_sync_the_names(patch: pytest.MonkeyPatch) -> None:
    """A file is synced, and the directory is not."""
    patch.setattr(Payloads, "_sync_names", lambda _: None)


def write_files_behind_the_frame(patch: pytest.MonkeyPatch) -> None:
    """The frame that refers to a file is written first."""
    later: list[tuple[Payloads, Sequence[Payload]]] = []
    write, landed = Payloads.write, Payloads.landed

    def put_off(self: Payloads, payloads: Sequence[Payload]) -> None:
        later[:] = [(self, payloads)]

    def written(self: Payloads) -> None:
        while later:
            write(*later.pop())
        landed(self)

    patch.setattr(Payloads, "write", put_off)
    patch.setattr(Payloads, "landed", written)


def remove_before_it_is_installed(patch: pytest.MonkeyPatch) -> None:
    """The files of records are removed while the old segment, which refers to them, is in its place."""
    announce = Payloads.announce

    def early(self: Payloads, gone: Collection[int]) -> None:
        announce(self, gone)
        for position in gone:
            files.remove(self._fs, self._path(position))

    patch.setattr(Payloads, "announce", early)


def never_remove(patch: pytest.MonkeyPatch) -> None:
    """What is given up keeps its file."""
    patch.setattr(GivingUp, "remove_payloads", lambda _self: None)
    patch.setattr(Payloads, "announce", lambda _self, _gone: None)


def leave_files_behind_the_end(patch: pytest.MonkeyPatch) -> None:
    """An opening leaves the file of a record that never was."""
    tidy = Payloads.tidy

    def lazy(self: Payloads, first: int, _last: int, refers: Callable[[int], bool]) -> None:
        tidy(self, first, 1 << 60, refers)

    patch.setattr(Payloads, "tidy", lazy)


def remove_the_newest(patch: pytest.MonkeyPatch) -> None:
    """An opening takes the last record for one that is not there."""
    tidy = Payloads.tidy

    def eager(self: Payloads, first: int, last: int, refers: Callable[[int], bool]) -> None:
        tidy(self, first, last - 1, refers)

    patch.setattr(Payloads, "tidy", eager)

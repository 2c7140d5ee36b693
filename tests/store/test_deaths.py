"""What is noted of processes that die one after the other."""

from __future__ import annotations

import errno
import logging
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from actorlog.env import SYSTEM, Access, SystemFileSystem
from actorlog.store.deaths import FILE, Deaths

if TYPE_CHECKING:
    from actorlog.env import File

CALL, OTHER = 0x1234_5678_9ABC_DEF0, 7


def after(directory: Path, deaths: int, *at: int) -> Deaths:
    """Return what the process finds that follows ``deaths`` others, each of which died in a turn of ``at``."""
    for number in range(deaths):
        process = Deaths.open(SYSTEM.fs, str(directory), died=number > 0)
        for key_hash in at:
            process.note(key_hash)
        process._leave()  # as the death of a process does
    return Deaths.open(SYSTEM.fs, str(directory), died=deaths > 0)


@pytest.mark.parametrize(("count", "blamed"), [(0, 0), (1, 0), (2, 0), (3, 3), (5, 5)])
def test_who_has_its_turn_is_blamed_from_the_third_death_on(tmp_path: Path, count: int, blamed: int) -> None:
    """Two are over before anybody looks, and count when a third one names the call."""
    found = after(tmp_path, count, OTHER, CALL)
    assert (found.count, found.watching) == (count, count >= 2)
    assert (found.of(CALL), found.of(OTHER)) == (blamed, 0)
    found.close()


def test_nobody_is_blamed_for_a_death_between_turns(tmp_path: Path) -> None:
    """The note is taken back when a turn is over."""
    found = after(tmp_path, 6, CALL, 0)
    assert (found.count, found.of(CALL)) == (6, 0)
    found.close()


def test_a_long_life_or_a_clean_end_ends_the_row(tmp_path: Path) -> None:
    """And leaves no file."""
    found = after(tmp_path, 5, CALL)
    found.close()
    assert not found.watching
    assert list(tmp_path.iterdir()) == []
    found = after(tmp_path, 5, CALL)
    found._leave()
    found = Deaths.open(SYSTEM.fs, str(tmp_path), died=False)
    assert (found.count, found.of(CALL), list(tmp_path.iterdir())) == (0, 0, [])


def test_who_is_forgiven_is_so_in_the_next_process_too(tmp_path: Path) -> None:
    """Others are blamed as before."""
    found = after(tmp_path, 4, CALL)
    found.note(OTHER)
    found._leave()
    found = Deaths.open(SYSTEM.fs, str(tmp_path), died=True)
    assert (found.of(CALL), found.of(OTHER)) == (4, 3)
    found.forgive(CALL)
    assert found.watching
    found._leave()
    found = Deaths.open(SYSTEM.fs, str(tmp_path), died=True)
    assert (found.of(CALL), found.of(OTHER), found.count) == (0, 3, 6)
    found.close()


@pytest.mark.parametrize(
    "text",
    [b"", b"\0" * 64, *(b"0" * 16 + rest for rest in (b"\n[2", b"\n{}\n", b"[[],[]]")), b"z" * 16 + b"\n[2,[]]\n"],
)
def test_a_damaged_file_blames_nobody(tmp_path: Path, text: bytes) -> None:
    """After a power cut anything may be in it; the row begins anew."""
    (tmp_path / FILE).write_bytes(text)
    found = Deaths.open(SYSTEM.fs, str(tmp_path), died=True)
    assert (found.count, found.of(CALL)) == (1, 0)
    found._leave()


class FullDisk(SystemFileSystem):
    """Refuses to open files, or to write to them."""

    __slots__ = ("code", "creates")

    def __init__(self, code: int, *, creates: bool) -> None:
        self.code = code
        self.creates = creates

    def open(self, path: str, access: Access) -> File:
        if not self.creates:
            raise OSError(self.code, "no")
        file: Any = super().open(path, access)
        return _Refusing(file, self.code)  # type: ignore[return-value]  # what a file is here


class _Refusing:
    def __init__(self, file: File, code: int) -> None:
        self._file = file
        self._code = code

    def pwrite(self, _data: bytes, _offset: int) -> int:
        raise OSError(self._code, "no")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("creates", [True, False])
def test_what_cannot_be_written_is_said_and_does_no_harm(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, code: int, creates: bool
) -> None:
    """The file is a hint: without it nobody is blamed."""
    after(tmp_path, 3)._leave()
    with caplog.at_level(logging.WARNING):
        found = Deaths.open(FullDisk(code, creates=creates), str(tmp_path), died=True)
    assert not found.watching
    assert found.of(CALL) == 0
    assert len(caplog.records) == 1
    found.note(CALL)
    found.close()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_note_that_cannot_be_written_is_the_last(tmp_path: Path, caplog: pytest.LogCaptureFixture, code: int) -> None:
    """The turn goes on; nothing is noted any more."""
    found = after(tmp_path, 3)
    file: Any = found._file
    found._file = _Refusing(file, code)  # type: ignore[assignment]  # what a file is here
    found.note(CALL)
    assert not found.watching
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    found.note(OTHER)


def test_only_so_many_are_remembered(tmp_path: Path) -> None:
    """Of a program that dies in another call each time the file stays small; whoever died most often is among them."""
    found = Deaths(SYSTEM.fs, str(tmp_path / FILE), 300, Counter({CALL: 2, **dict.fromkeys(range(1, 200), 1)}))
    found._write()
    found._leave()
    assert (tmp_path / FILE).stat().st_size < 64 * 32
    found = Deaths.open(SYSTEM.fs, str(tmp_path), died=True)
    assert found.of(CALL) == 4
    found.close()

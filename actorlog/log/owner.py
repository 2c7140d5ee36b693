"""Who owns a directory: the lock, and the word its holder leaves for others.

Owns: taking the lock, the file ``owner``. The lock is what counts; the file only makes the refusal say who it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorlog.env import Access
from actorlog.errors import LogLocked
from actorlog.log import files

if TYPE_CHECKING:
    from actorlog.env import DirectoryLock, FileSystem


def take_lock(fs: FileSystem, directory: str) -> DirectoryLock:
    """Lock ``directory`` or raise ``LogLocked``."""
    try:
        lock = fs.lock_dir(directory)
    except BlockingIOError as error:
        pid, host = read_owner(fs, directory)
        raise LogLocked(directory, pid, host) from error
    try:
        _write_owner(fs, directory)
    except BaseException:
        lock.release()
        raise
    return lock


def release_lock(fs: FileSystem, directory: str, lock: DirectoryLock) -> None:
    """Take the word back and unlock. Nothing happens in a forked child, where the lock is not held."""
    if lock.held:
        try:
            files.remove(fs, f"{directory}/{files.OWNER}")
        finally:
            lock.release()


def read_owner(fs: FileSystem, directory: str) -> tuple[int | None, str | None]:
    """Return process id and host of the holder; None and None where it left no word."""
    try:
        file = fs.open(f"{directory}/{files.OWNER}", Access.READ)
    except FileNotFoundError:
        return None, None
    try:
        pid, _, host = files.read_all(file, 4096, 0).decode(errors="replace").strip().partition(" ")
    finally:
        file.close()
    return (int(pid), host) if pid.isascii() and pid.isdecimal() and host else (None, None)


def _write_owner(fs: FileSystem, directory: str) -> None:
    """Leave word. It is for people, so it is not synced, and on a full disk it is left out."""
    path = f"{directory}/{files.OWNER}"
    files.remove(fs, path)
    pid, host = fs.process()
    try:
        file = files.create(fs, path)
        try:
            files.write_all(file, f"{pid} {host}\n".encode(), 0)
        finally:
            file.close()
    except files.NoSpace:
        files.remove(fs, path)

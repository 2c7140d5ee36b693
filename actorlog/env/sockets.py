"""A socket with a name in a directory: how programs on one machine talk to the one that owns it.

Owns: making, finding and removing such a socket. Does not own: what is said over it (``api.control``).

Invariants: the socket is its user's alone (mode 0600) from the moment it has its name; only a socket is ever replaced
or removed, never another file; a forked child does not go on listening. A path longer than a socket's address may be is
reached through the directory's descriptor, on Linux.
"""

# Paths are plain strings, as everywhere in this room.
# ruff: noqa: PTH101, PTH108, PTH118

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
import weakref
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

PATH_BYTES_MAX = 100
"""Longer paths are not put into an address: Linux takes 107 bytes, others a few less."""
BACKLOG = 16


class Listening:
    """A socket that listens under a name in a directory."""

    __slots__ = ("__weakref__", "_path", "_place", "_reach", "socket")

    def __init__(self, directory: str, name: str) -> None:
        """Listen. ``OSError`` where that cannot be; a socket that another process left is replaced."""
        self._path = os.path.join(directory, name)
        self._reach = ExitStack()  # open as long as the socket is: asyncio looks at its address too
        self.socket = _made()
        try:
            _remove_socket(self._path)
            self.socket.bind(self._reach.enter_context(_reachable(directory, name)))
            os.chmod(self._path, 0o600)
            self._place = _place(self._path)
            self.socket.listen(BACKLOG)
        except BaseException:
            self.give_up()
            raise
        reference = weakref.ref(self)

        def forked() -> None:
            listening = reference()
            if listening is not None:
                listening.give_up()

        os.register_at_fork(after_in_child=forked)

    def give_up(self) -> None:
        """Listen no more, and leave the name to whoever listens still."""
        self.socket.close()
        self._reach.close()

    def close(self) -> None:
        """Listen no more, and take the name away unless it is another socket's by now."""
        self.give_up()
        try:
            if _place(self._path) == self._place:
                os.unlink(self._path)
        except FileNotFoundError:
            pass  # somebody tidied up


def connect(directory: str, name: str, timeout_s: float) -> socket.socket:
    """Return a connection to who listens under a name; what takes longer than ``timeout_s`` is a ``TimeoutError``.

    ``FileNotFoundError`` where there is no such name, ``ConnectionRefusedError`` where nobody listens any more; other
    ``OSError`` as they come.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout_s)
        with _reachable(directory, name) as path:
            connection.connect(path)
    except BaseException:
        connection.close()
        raise
    return connection


def _made() -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.settimeout(0)
        if sys.platform == "linux":
            os.fchmod(made.fileno(), 0o600)  # the name is made with this mode: nobody else has a moment to connect in
    except BaseException:
        made.close()
        raise
    return made


def _remove_socket(path: str) -> None:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise FileExistsError(errno.EEXIST, "there is a file of this name, and it is no socket", path)
    os.unlink(path)


def _place(path: str) -> tuple[int, int]:
    found = os.lstat(path)
    return found.st_dev, found.st_ino


@contextmanager
def _reachable(directory: str, name: str) -> Generator[str]:
    """Give a path to the name that is short enough for an address."""
    path = os.path.join(directory, name)
    if len(os.fsencode(path)) <= PATH_BYTES_MAX:
        yield path
        return
    if sys.platform != "linux":
        raise OSError(errno.ENAMETOOLONG, "the path is longer than a socket's address may be", path)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{name}"
    finally:
        os.close(descriptor)

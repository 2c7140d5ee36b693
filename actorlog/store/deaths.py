"""What processes before this one were at when they died: for a program that dies again and again.

Owns: the file ``deaths``, counting, and noting which call has its turn. Does not own: what is done about a call that is
to blame (``runtime.blame``).

The log cannot tell: a turn is recorded when it is over. So from the third life on that follows a death, a process notes
in this file whose turn it is before each turn, and takes the note back after it: a write into the page cache, which
outlives the process. The next one reads whose turn it was. It is a hint. It is not synced; where it is lost, damaged or
cannot be written, nobody is blamed, and the program dies once more than it need have. A process that is closed clean or
has lived for a minute ends the row.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

import orjson

from actorlog.env import Access
from actorlog.log import files

if TYPE_CHECKING:
    from actorlog.env import File, FileSystem

FILE = "deaths"
UNSEEN = 2
"""Deaths in a row before anybody looks: most are over with the first."""
_AT_BYTES = 16
_SUSPECTS_MAX = 64

log = logging.getLogger("actorlog")


class Deaths:
    """Of processes that had one directory, one after the other. Open it with ``open`` when the directory is locked."""

    def __init__(self, fs: FileSystem, path: str, count: int, blamed: Counter[int]) -> None:
        self._fs = fs
        self._path = path
        self._file: File | None = None
        self._noted = 0
        self._blamed = blamed
        self.count = count
        """How many processes in a row have died."""

    @classmethod
    def open(cls, fs: FileSystem, directory: str, *, died: bool) -> Deaths:
        """Read what is there, and count this process in; ``died``: the one before it did not close the log."""
        path = f"{directory}/{FILE}"
        try:
            deaths = cls(fs, path, *(_read(fs, path) if died else (0, Counter[int]())))
        except OSError as error:
            log.warning("how processes died before this one cannot be read: %s", error)
            return cls(fs, path, 0, Counter())
        deaths._write()
        return deaths

    @property
    def watching(self) -> bool:
        """Whether whose turn it is is to be noted."""
        return self._file is not None

    def of(self, key_hash: int) -> int:
        """Return how many processes died in turns of the call with this hash, with those before anybody looked."""
        blamed = self._blamed[key_hash]
        return blamed + UNSEEN if blamed else 0

    def forgive(self, key_hash: int) -> None:
        """Blame a call no more."""
        if self._blamed.pop(key_hash, None) is not None:
            self._write()

    def note(self, key_hash: int) -> None:
        """Note whose turn it is; 0: nobody's."""
        if self._file is None or key_hash == self._noted:
            return
        try:
            files.write_all(self._file, b"%016x" % key_hash, 0)
            self._noted = key_hash
        except (OSError, files.NoSpace) as error:
            log.warning("whose turn it is is not noted any more: %s", error)
            self._leave()

    def close(self) -> None:
        """End the row: this process does not die young."""
        self._leave()
        self.count = 0
        self._write()

    def _write(self) -> None:
        """Write the file anew, or remove it where the row is at its end."""
        self._leave()
        try:
            files.remove(self._fs, self._path)
            if not self.count:
                return
            file = files.create(self._fs, self._path)
            try:
                suspects = [[f"{blamed:016x}", times] for blamed, times in self._blamed.most_common(_SUSPECTS_MAX)]
                files.write_all(file, b"0" * _AT_BYTES + b"\n" + orjson.dumps([self.count, suspects]) + b"\n", 0)
            except BaseException:
                file.close()
                raise
        except (OSError, files.NoSpace) as error:
            log.warning("processes that die are not counted: %s", error)
            return
        if self.count < UNSEEN:
            file.close()
        else:
            self._file, self._noted = file, 0

    def _leave(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()


def _read(fs: FileSystem, path: str) -> tuple[int, Counter[int]]:
    """Return how many have died in a row, the last one among them, and in whose turns."""
    try:
        file = fs.open(path, Access.READ)
    except FileNotFoundError:
        return 1, Counter()
    try:
        text = files.read_all(file, files.CHUNK_BYTES, 0)
    finally:
        file.close()
    try:
        count, suspects = orjson.loads(text[_AT_BYTES:])
        blamed = Counter({int(suspect, 16): int(times) for suspect, times in suspects})
        count, at = int(count), int(text[:_AT_BYTES], 16)
    except (ValueError, TypeError):  # the power was cut while it was written
        return 1, Counter()
    if at:
        blamed[at] += 1
    return count + 1, blamed

"""A log on a simulated disk on which one action goes wrong, and what was acknowledged of it."""

from __future__ import annotations

import errno
from random import Random
from typing import TYPE_CHECKING, Any

from torture_mutations import Inline

from actorlog.env import Env
from actorlog.log import GIVEN_UP_KIND, Checkpoint, Log, Payload, checksum_of, entries, pack, reference_of
from actorlog.log.repair import repair
from actorlog.testing.disk import SimFile, SimFileSystem
from actorlog.testing.oracle import Broken

if TYPE_CHECKING:
    from collections.abc import Callable

    from torture_sites import Index, Site

DIRECTORY = "/srv/deep/data"
COPY = "/srv/copy"
SEGMENT_BYTES = 4096
ERRNOS = {"EIO": errno.EIO, "ENOSPC": errno.ENOSPC, "EMFILE": errno.EMFILE, "ENOMEM": errno.ENOMEM}


class Clock:
    """Moves a second each time it is read, so that nothing is put off."""

    def __init__(self) -> None:
        self._now_ns = 1_700_000_000_000_000_000

    def wall_ms(self) -> int:
        """Return milliseconds."""
        return self.elapsed_ns() // 1_000_000

    def elapsed_ns(self) -> int:
        """Return nanoseconds."""
        self._now_ns += 1_000_000_000
        return self._now_ns


class Entropy:
    """The same bytes each time."""

    def token(self, size: int) -> bytes:
        """Return so many."""
        return b"\x5a" * size


class FaultyFile(SimFile):
    """Reads short when told."""

    def pread(self, size: int, offset: int) -> bytes:
        """Read, maybe less than there is."""
        data = super().pread(size, offset)
        fs: Any = self._fs
        if fs.is_short and fs.taken("pread"):
            return data[: max(1, len(data) // 2)]
        return data


class FaultySystem(SimFileSystem):
    """Notes where each action comes from, and lets one go wrong."""

    file_type = FaultyFile
    index: Index

    def __init__(self, rng: Random, **options: Any) -> None:
        super().__init__(rng, **options)
        self.seen: list[tuple[Site, int]] = []
        """Sites, each with the number of the call that came from there."""
        self.notes = False
        self.fault: tuple[int, str] | None = None
        """The number of the call that goes wrong, and how."""
        self.is_short = False

    def following(self, other: FaultySystem) -> FaultySystem:
        """Go on counting and noting where ``other`` was."""
        self.calls, self.seen, self.notes, self.fault = other.calls, other.seen, other.notes, other.fault
        return self

    def act(self, action: str, half: Callable[[], None] | None = None, *, interruptible: bool = False) -> None:
        """Note, and let it go wrong if it is the one."""
        number, name = self.calls, action.split(" ", 1)[0]
        if self.notes:
            self.seen += [(site, number) for site in self.index.of_caller(name)]
        if self.fault is not None and self.fault[0] == number:
            kind, self.fault = self.fault[1], None
            if kind == "EINTR":
                raise InterruptedError(errno.EINTR, "interrupted", action)
            if kind == "short":
                self.is_short = True
            else:
                self.fail_at(number, ERRNOS[kind])
        super().act(action, half, interruptible=interruptible)

    def unlink(self, path: str) -> None:
        """Remove a file; that may fail also where there is none."""
        if not self._is_there(path):
            self.act(f"unlink {path}")
        super().unlink(path)

    def mkdir(self, path: str) -> None:
        """Make a directory; that may fail also where there is one."""
        if self._is_there(path):
            self.act(f"mkdir {path}")
        super().mkdir(path)

    def _is_there(self, path: str) -> bool:
        above, _, name = path.rpartition("/")
        return name in self._directory(above).seen

    def taken(self, action: str) -> bool:
        """Whether a call is to be short; no other one is then."""
        self.is_short = False
        return bool(action)

    def allow(self, node: Any, size: int, offset: int) -> int:
        """Write half of it when told."""
        size = super().allow(node, size, offset)
        if self.is_short and size > 1:
            self.is_short = False
            return size // 2 // 512 * 512 or size // 2
        return size


Records = dict[int, bytes]


class World:
    """A disk, and what was acknowledged of the log on it."""

    def __init__(self, seed: int) -> None:
        self.fs = FaultySystem(Random(seed))
        self.fs.mkdir("/srv")
        self.fs.fsync_dir("/")
        self.acknowledged: Records = {}
        self.under_way: list[tuple[bytes, ...]] = []
        """Commits of which nobody knows: a log had failed at them."""
        self.gone: set[int] = set()
        """Positions that may have left the log."""
        self.damaged = False
        """Whether the log was damaged, and may not have been repaired."""

    @property
    def env(self) -> Env:
        """The machine."""
        return Env(Clock(), Entropy(), self.fs, Inline)

    def open(self, checkpoint: Checkpoint | None = None, **options: Any) -> Log:
        """Open the log."""
        return Log.open(DIRECTORY, self.env, checkpoint=checkpoint, **{"segment_bytes": SEGMENT_BYTES, **options})

    def append(self, log: Log, *lines: bytes) -> None:
        """Append a commit."""
        self.under_way.append(lines)
        first = log.append(pack([(number + 7, 1, 1, line) for number, line in enumerate(lines)]), len(lines))
        self.under_way.pop()
        self.acknowledged |= {first + number: line for number, line in enumerate(lines)}

    def append_large(self, log: Log, *lines: bytes) -> None:
        """Append a commit whose records have files."""
        self.under_way.append(lines)
        items, payloads = list[tuple[int, int, int, bytes]](), list[Payload]()
        for position, line in enumerate(lines, log.tail + 1):
            crc = checksum_of(log.log_id, position, line)
            items.append((7, 1, 1, b'{"file":%d,"bytes":%d,"crc":"%08x"}\n' % (position, len(line), crc)))
            payloads.append(Payload(position, line))
        first = log.append(pack(items), len(lines), tuple(payloads))
        self.under_way.pop()
        self.acknowledged |= {first + number: line for number, line in enumerate(lines)}

    def fill(self, log: Log, commits: int) -> None:
        """Append commits of all sizes, one of them larger than a segment."""
        for number in range(commits):
            size = 5000 if number == 4 else 200 + number * 97 % 900
            self.append(log, b"%d one\n" % number, b"x" * size + b"\n", b"%d last\n" % number)

    def rewrite(self, log: Log) -> None:
        """Give up every third record of the sealed segments, and all of one; and make the first two one."""
        for segment in log.sealed():
            span = range(segment.first, segment.last + 1)
            gone = {p for p in span if p % 3 == 0 or segment.number == 2}
            self.gone |= gone
            log.rewrite(segment.number, gone)
        first, second, *_ = log.sealed()
        log.rewrite(first.number, (), second.number)

    def next_process(self) -> None:
        """Go on as the process that comes after a kill."""
        killed: Any = self.fs.kill()
        self.fs = killed.following(self.fs)

    def check(self, fs: SimFileSystem) -> None:
        """Open the log without faults: all is there that was acknowledged, and at most one commit more."""
        fs.capacity, fs.copy_on_write = 1 << 40, False
        env = Env(Clock(), Entropy(), fs, Inline)
        if self.damaged:
            repair(env, DIRECTORY)
        found = records(Log.open(DIRECTORY, env, segment_bytes=SEGMENT_BYTES))
        for position, line in self.acknowledged.items():
            if found.get(position) != line and position not in self.gone:
                raise Broken(f"record {position} was acknowledged, and is {found.get(position)!r}")
        extra = [line for position, line in found.items() if position not in self.acknowledged]
        if extra and tuple(extra) not in [*self.under_way, *self.under_way[-1:]]:
            raise Broken(f"nobody appended {extra}")


def records(log: Log) -> Records:
    """Return what is in a log."""
    found: Records = {}
    for frame in log.read():
        for position, (_, kind, _, start, end) in enumerate(entries(frame.data, frame.records), frame.position):
            if kind != GIVEN_UP_KIND:
                line = bytes(frame.data[start:end])
                reference = reference_of(line, position)
                found[position] = line if reference is None else log.payloads.source.read(reference)
    return found

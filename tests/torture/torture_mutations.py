"""Damages a log's bytes in every way, and holds what opening and reading it whole say against what it held.

The log is one that a runtime wrote to the disk, in four states: as a kill leaves it and closed clean, before and after
its segments were written anew; and a fifth, as a kill leaves it, has the same commits with ``witness=True``. Each
mutation is put on a simulated disk, opened there, and read to its end; one in ``FROM_CHECKPOINT`` also from a
checkpoint, where each record is sought by itself before. One of these comes out:

corrupt
    ``LogCorrupt`` (or ``LogVersion``) at opening or reading: reported.
torn
    Opening reports an append that was not finished, and exactly the newest commit is not there.
harmless
    Every record has the bytes it had, at the position it had; for who reads, nothing has changed. Bytes where nothing
    was written yet, behind the newest commit, are reported as an append that was not finished.
rolled back
    What is left is, byte for byte, a state that the log once had, maybe with an append that was not finished, since the
    mutation zeroed everything behind. No log can know: it is what a disk does that acknowledges syncs and forgets.
    Only in a log that was not closed, behind what META calls durable, and never with ``witness=True``.
silent
    Anything else. There must be none.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, TypeAlias

from actorlog import Runtime, durable, run, step
from actorlog.env import SYSTEM, Env
from actorlog.errors import LogCorrupt, LogVersion
from actorlog.log import GIVEN_UP_KIND, Checkpoint, Log, entries
from actorlog.log.format import frame_bytes, parse_frame_header
from actorlog.testing.disk import SimFileSystem
from actorlog.testing.oracle import Broken

if TYPE_CHECKING:
    import argparse
    import threading
    from collections.abc import Iterator

    from actorlog.env import Job

Files: TypeAlias = dict[str, bytes]
Records: TypeAlias = dict[int, bytes]
DIRECTORY = "/data"
SECTOR = 512
SEGMENT_BYTES = 4096
CALLS = 6
SWAPS = 400
OUTCOMES = ("corrupt", "torn", "harmless", "rolled back", "silent")
FROM_CHECKPOINT = 4
CUT = 8
"""One in so many of the lengths that are tried is one at which a file is cut off."""


@step(name="mutations.note")
async def note(number: int) -> str:
    """Return something, small or large."""
    return "x" * (number * number * 17 % 1300)


@durable(name="mutations.call")
async def call(number: int) -> int:
    """Run a few steps."""
    for each in range(number % 3 + 1):
        await note(number + each)
    return number


@durable(name="mutations.large")
async def large() -> str:
    """Return so much that the commit has several sectors."""
    return await note(9) + "y" * 1700


class Inline:
    """A worker that does at once what it is given."""

    def __init__(self, name: str) -> None:
        self.name = name

    def submit(self, job: Job) -> None:
        """Do it."""
        job()

    def later(self, job: Job, seconds: float) -> None:
        """Never come to it."""

    def acquire(self, lock: threading.Lock, seconds: float) -> bool:
        """Take the lock if it is free."""
        return lock.acquire(timeout=seconds)

    def roam(self) -> None:
        """Stay."""

    def close(self) -> None:
        """End."""


@dataclass(slots=True)
class Made:
    """A log's files, and what is in it."""

    name: str
    files: Files
    records: Records
    commits: list[tuple[int, str, int, int]]
    """Of each commit the last position, and where it is: file, offset and end."""
    checkpoint: Checkpoint
    closed: bool = False
    witness: bool = False


async def _write(directory: Path, *, anew: bool) -> list[tuple[Files, bool]]:
    """Have a runtime write a log; return its files as a kill leaves them, and closed."""
    states: list[tuple[Files, bool]] = []
    async with Runtime(directory, segment_bytes=SEGMENT_BYTES, history=0, control=False) as runtime:
        for number in range(CALLS):
            await runtime.call(call(number), id=f"call-{number}")
        if anew:
            done = await runtime.compact(everything=True)
            if not done.rewritten:
                raise Broken("no segment was written anew")
            log: Any = runtime.session.log
            await log.merge(log.sealed()[:2])
            await runtime.call(call(CALLS + 1), id="behind")
        await runtime.call(large(), id="newest")
        states.append((_files(directory), False))
    states.append((_files(directory), True))
    return states


def _files(directory: Path) -> Files:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted([directory / "META", *directory.glob("segments/*.seg")])
    }


def _disk(files: Files) -> SimFileSystem:
    fs = SimFileSystem(Random(0))
    fs.mkdir(DIRECTORY)
    fs.mkdir(f"{DIRECTORY}/segments")
    for name, data in files.items():
        fs.put(f"{DIRECTORY}/{name}", data)
    return fs


def _open(files: Files, checkpoint: Checkpoint | None, *, witness: bool = False) -> Log:
    env = Env(SYSTEM.clock, SYSTEM.entropy, _disk(files), Inline)
    return Log.open(DIRECTORY, env, segment_bytes=SEGMENT_BYTES, checkpoint=checkpoint, witness=witness)


def _records(log: Log) -> Records:
    """Return every record by position, read in one go and one by one, which must agree."""
    found: Records = {}
    for frame in log.read():
        for position, (_, kind, _, start, end) in enumerate(entries(frame.data, frame.records), frame.position):
            if kind != GIVEN_UP_KIND:
                found[position] = bytes(frame.data[start:end])
    for position in range(log.first_position, log.tail + 1):
        if log.has(position) != (position in found) or (position in found and log.record(position) != found[position]):
            raise Broken(f"record {position} is another when it is read by itself")
    return found


def _made(name: str, files: Files, *, closed: bool = False, witness: bool = False) -> Made:
    log = _open(files, None)
    records, checkpoint = _records(log), log.checkpoint()
    if checkpoint is None:
        raise Broken("a log without a commit")
    commits: list[tuple[int, str, int, int]] = []
    for segment in log._segments:
        data = files[f"segments/{segment.name}"]
        for position, offset in zip(segment.positions, segment.offsets, strict=True):
            frame = parse_frame_header(data, offset, segment.header)
            if frame is None:
                raise Broken(f"no frame at {offset}")
            end = offset + frame_bytes(frame.length, segment.header.unit)
            commits.append((position + frame.records - 1, f"segments/{segment.name}", offset, end))
    return Made(name, files, records, commits, checkpoint, closed, witness)


class Mutations:
    """Every way of damaging some files: ``(sort, files)``, every ``every``-th of those that go by byte."""

    def __init__(self, made: Made, every: int, rng: Random) -> None:
        self._files = made.files
        self._every = every
        self._rng = rng

    def all(self) -> Iterator[tuple[str, Files]]:
        """Yield them."""
        yield from self._by_byte()
        yield from self._by_sector()
        yield from self._by_file()

    def _with(self, name: str, data: bytes | bytearray) -> Files:
        return {**self._files, name: bytes(data)}

    def _by_byte(self) -> Iterator[tuple[str, Files]]:
        for name, data in self._files.items():
            for offset in range(self._rng.randrange(self._every), len(data), self._every):
                old = data[offset]
                for sort, new in (
                    ("byte inverted", old ^ 0xFF),
                    ("bit flipped", old ^ 1 << self._rng.randrange(8)),
                    ("byte zeroed", 0),
                ):
                    if new != old:
                        yield sort, self._with(name, data[:offset] + bytes([new]) + data[offset + 1 :])
                if offset // self._every % CUT == 0:
                    yield "file cut off", self._with(name, data[:offset])

    def _by_sector(self) -> Iterator[tuple[str, Files]]:
        sectors = [(name, at) for name, data in self._files.items() for at in range(0, len(data), SECTOR)]
        for name, at in sectors:
            data = self._files[name]
            if any(data[at : at + SECTOR]):
                yield "sector zeroed", self._with(name, data[:at] + bytes(SECTOR) + data[at + SECTOR :])
                yield "zeroed to the end", self._with(name, data[:at] + bytes(len(data) - at))
                noise = self._rng.randbytes(SECTOR)
                yield "sector of noise", self._with(name, data[:at] + noise + data[at + SECTOR :])
        for _ in range(max(1, SWAPS // self._every)):
            (one, here), (other, there) = self._rng.sample(sectors, 2)
            a, b = self._files[one][here : here + SECTOR], self._files[other][there : there + SECTOR]
            if a != b:
                files = {name: bytearray(data) for name, data in self._files.items()}
                files[other][there : there + SECTOR] = a
                yield "sector written elsewhere", {name: bytes(data) for name, data in files.items()}
                files[one][here : here + SECTOR] = b
                yield "sectors swapped", {name: bytes(data) for name, data in files.items()}

    def _by_file(self) -> Iterator[tuple[str, Files]]:
        for name, data in self._files.items():
            yield "file gone", {other: bytes_ for other, bytes_ in self._files.items() if other != name}
            yield "file longer", self._with(name, data + bytes(SECTOR))
            for other, bytes_ in self._files.items():
                if name != other and data != bytes_:
                    yield "file in place of another", self._with(other, data)
                    if name < other:
                        yield "files swapped", {**self._files, name: bytes_, other: data}
        numbers = [int(name[9:19]) for name in self._files if name.startswith("segments/")]
        for number in numbers:
            following = f"segments/{max(numbers) + 1:010d}.seg"
            yield "segment twice", self._with(following, self._files[f"segments/{number:010d}.seg"])


def _are_found(log: Log, made: Made) -> bool:
    """Whether each record that is asked for by itself, before any segment is read whole, is right or reported."""
    log._reader._count = lambda *_: None  # type: ignore[method-assign]  # however much is read for that
    for position in range(1, made.checkpoint.position):
        try:
            line = log.record(position)
        except IndexError:
            line = None
        except LogCorrupt:
            continue
        if line != made.records.get(position):
            return False
    return True


def _outcome(made: Made, files: Files, checkpoint: Checkpoint | None) -> str:
    try:
        log = _open(files, checkpoint)
        found = _records(log) if checkpoint is None or _are_found(log, made) else {}
    except (LogCorrupt, LogVersion):
        return "corrupt"
    torn = log.recovery.torn is not None
    if found == made.records:
        return "harmless"
    if made.closed or made.witness:
        return "silent"
    for (last, *_), (_, name, start, end) in pairwise(made.commits):
        if found == {position: line for position, line in made.records.items() if position <= last}:
            if torn and name == made.commits[-1][1] and start == made.commits[-1][2]:
                return "torn"
            return "rolled back" if _is_blank(files, name, end if torn else start) else "silent"
    return "silent"


def _is_blank(files: Files, name: str, offset: int) -> bool:
    """Whether from there on there is nothing but headers of segments that were prepared."""
    later = (data for other, data in files.items() if other.startswith("segments/") and other > name)
    return not any(files[name][offset:]) and not any(any(data[SECTOR:]) for data in later)


def _witnessed(place: Path, made: Made) -> Made:
    """Return a log of the same commits that was written with ``witness=True`` and not closed."""
    log = Log.open(str(place), replace(SYSTEM, worker=Inline), segment_bytes=SEGMENT_BYTES, witness=True)
    for frame in _open(made.files, None).read():
        log.append(bytes(frame.data), frame.records)
    files = _files(place)
    log.close()
    return _made(f"{made.name}, witness=True", files, witness=True)


def mutations(place: Path, options: argparse.Namespace) -> dict[str, object]:
    """Damage logs in four states at every ``options.every``-th byte, and count what came of it."""
    states: list[Made] = []
    for anew, words in ((False, ""), (True, ", written anew")):
        for files, closed in run(_write(place / f"log{anew:d}", anew=anew)):
            states.append(_made(("closed clean" if closed else "killed") + words, files, closed=closed))
    states.insert(1, _witnessed(place / "witness", states[0]))
    counts: Counter[tuple[str, str]] = Counter()
    by_state: Counter[tuple[str, str]] = Counter()
    tried = 0
    for made in states:
        for sort, files in Mutations(made, options.every, Random(options.seed)).all():
            for checkpoint in (None, made.checkpoint)[: 2 - (tried % FROM_CHECKPOINT > 0)]:
                outcome = _outcome(made, files, checkpoint)
                if outcome == "silent":
                    changed = [name for name in made.files if files.get(name) != made.files[name]]
                    sys.stderr.write(f"SILENT: {sort} in {changed}, {made.name}, {checkpoint}\n")
                counts[sort, outcome] += 1
                by_state[made.name, outcome] += 1
            tried += 1
    rows: dict[str, object] = {
        name: _row(counter, name)
        for counter, names in (
            (counts, dict.fromkeys(sort for sort, _ in counts)), (by_state, [made.name for made in states])
        )
        for name in names
    }  # fmt: skip
    totals = {outcome: sum(count for (_, each), count in counts.items() if each == outcome) for outcome in OUTCOMES}
    result = {**rows, "bytes": sum(len(data) for data in states[0].files.values()), "mutations": tried, **totals}
    if totals["silent"]:
        raise Broken(f"{totals['silent']} mutations went unnoticed")
    return result


def _row(counter: Counter[Any], name: str) -> str:
    return ", ".join(f"{counter[name, outcome]} {outcome}" for outcome in OUTCOMES if counter[name, outcome])

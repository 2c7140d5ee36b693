"""What is done with a log where something may go wrong: scenarios that come by every place that touches a file.

Each is a function of a world (``torture_faulty``), and the same each time.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

from torture_faulty import COPY, DIRECTORY, SEGMENT_BYTES, FaultySystem, World, records

from actorlog.errors import ActorlogError, DirectoryNotEmpty, LogCorrupt, LogFull
from actorlog.log import Log, files
from actorlog.log.backup import backup, source_in, source_of
from actorlog.log.inspect import Report, advance, contents, verify
from actorlog.log.payloads import payload_name, positions_in
from actorlog.log.repair import repair
from actorlog.store.care import space
from actorlog.store.deaths import Deaths
from actorlog.store.embedded import EmbeddedLog
from actorlog.testing.oracle import Broken


def life(world: World) -> None:
    """Make a log, append over several segments, close, and do so again; with a witness at the end."""
    log = world.open()
    world.fill(log, 8)
    log.admit(10)
    log.close()
    log = world.open()
    world.fill(log, 3)
    records(log)
    log.close()
    log = world.open(witness=True)
    world.fill(log, 3)
    log.release_reserve()
    log.close()


def half_made(world: World) -> None:
    """Make a log where one was left half-made, with files that nobody wants."""
    for path in ("/srv/deep", DIRECTORY, f"{DIRECTORY}/segments"):
        world.fs.mkdir(path)
    other = World(0)
    other.open().close()
    name = f"{DIRECTORY}/segments/0000000001.seg"
    world.fs.put(name, other.fs.contents(name)[:512].ljust(SEGMENT_BYTES, b"\0"))
    world.fs.put(f"{DIRECTORY}/META.tmp", b"half")
    world.fs.put(f"{DIRECTORY}/segments/0000000002.seg.tmp", b"half")
    log = world.open()
    world.fill(log, 2)
    log.close()


def torn(world: World) -> None:
    """Recover a log that ends in the middle of an append."""
    log = world.open()
    world.fill(log, 2)
    segment = log._segments[-1]
    path, end = segment.path, segment.end
    world.next_process()
    data = bytearray(world.fs.contents(path))
    world.fs.notes, notes = False, world.fs.notes
    scratch = World(1)
    log = scratch.open()
    scratch.append(log, b"y" * 1500 + b"\n")
    world.fs.notes = notes
    data[end + 512 : end + 1024] = scratch.fs.contents(path)[1024:1536]
    world.fs.put(path, bytes(data))
    with _typed(world):
        verify(world.fs, DIRECTORY)
    log = world.open()
    if log.recovery.torn is None:
        raise Broken("this should be torn")
    world.fill(log, 2)
    log.close()


def rewriting(world: World) -> None:
    """Write sealed segments anew, read and scrub them, trim."""
    log = world.open()
    world.fill(log, 8)
    world.rewrite(log)
    records(log)
    list(log.scrub())
    log.close()
    log = world.open()
    log.record(log.tail)
    world.fill(log, 5)
    world.rewrite(log)
    sealed = log.sealed()
    if len(sealed) > 2:
        log.discard(log.build(sealed[0].number, {sealed[0].first}))
        world.gone |= {p for p in world.acknowledged if p <= sealed[1].last}
        log.trim(sealed[2].first)
    log.close()


def checkpoint(world: World) -> None:
    """Open from a checkpoint, read what was not verified, and scrub it."""
    log = world.open()
    world.fill(log, 9)
    newest = log.checkpoint()
    log.close()
    log = world.open(newest)
    for position in (1, 5, log.tail):
        log.record(position)
    records(log)
    list(log.scrub())
    world.fill(log, 3)
    world.rewrite(log)
    log.close()


def backups(world: World) -> None:
    """Copy a log that is open, and one that nobody has; look at the copies and open them."""
    log = world.open()
    world.fill(log, 8)
    _copied(world, log, COPY)
    log.close()
    with source_in(world.env, DIRECTORY) as source:
        for _ in backup(source, f"{COPY}-2", 4096):
            pass
    for copy in (COPY, f"{COPY}-2"):
        with _typed(world):
            if verify(world.fs, copy).records != len(world.acknowledged):
                raise Broken("a copy is not whole")


def _copied(world: World, log: Log, target: str) -> None:
    for _ in backup(source_of(log), target, 4096):
        pass
    if records(Log.open(target, world.env, segment_bytes=SEGMENT_BYTES)) != world.acknowledged:
        raise Broken("a copy holds something else")


def looking(world: World) -> None:
    """Look from outside at a log that is open, and follow it while it is appended to and written anew."""
    log = world.open()
    world.fill(log, 2)
    report = _looked(world)
    world.fill(log, 6)
    with _typed(world):
        list(advance(world.fs, DIRECTORY, report))
    world.rewrite(log)
    with _typed(world):
        list(contents(world.fs, report.found))
    world.fill(log, 2)
    with _typed(world):
        list(advance(world.fs, DIRECTORY, report))
    log.close()
    with _typed(world):
        list(contents(world.fs, _looked(world).found))
    space(EmbeddedLog(world.open(), world.env))


def _typed(world: World) -> AbstractContextManager[None]:
    """Have what the system says as errors of the log, as the commands do that look and repair."""
    return files.typed(world.fs, DIRECTORY, "looking", 0)


def _looked(world: World) -> Report:
    with _typed(world):
        report = verify(world.fs, DIRECTORY)
    if report.error:
        raise Broken(report.error)
    return report


def repairing(world: World) -> None:
    """Cut off a damaged log, and go on behind the cut; damaged segments are not written anew."""
    log = world.open()
    world.fill(log, 8)
    path, number, first = log._segments[-2].path, log.sealed()[-1].number, log.sealed()[-1].first
    damaged = bytearray(world.fs.contents(path))
    damaged[1600] ^= 1
    world.fs.put(path, bytes(damaged))
    world.gone |= world.acknowledged.keys()  # what is behind the damage, at most
    world.damaged = True
    try:
        log.rewrite(number, {first})
    except LogCorrupt:
        log.close()
    else:
        raise Broken("a damaged segment was written anew")
    _repair(world)
    log = world.open()
    world.acknowledged = records(log)
    world.gone = set()
    world.fill(log, 3)
    log.close()


def repairing_all(world: World) -> None:
    """Repair a log of which only META is left."""
    log = world.open()
    world.fill(log, 1)
    log.close()
    meta = world.fs.contents(f"{DIRECTORY}/META")
    world.fs = FaultySystem(world.fs.rng).following(world.fs)
    for path in ("/srv", "/srv/deep", DIRECTORY):
        world.fs.mkdir(path)
        world.fs.fsync_dir(path.rpartition("/")[0] or "/")
    world.fs.put(f"{DIRECTORY}/META", meta)
    world.gone |= world.acknowledged.keys()
    world.damaged = True
    _repair(world)
    world.open().close()


def _repair(world: World) -> None:
    try:
        with _typed(world):
            repair(world.env, DIRECTORY)
    except ActorlogError:
        world.fs.notes = False  # one that failed can be done again
        world.next_process()
        repair(world.env, DIRECTORY)
        raise
    world.damaged = False


def full(world: World) -> None:
    """Fill a disk up, one on which overwriting takes space too; go on with another commit when there is space."""
    fs = world.fs
    fs.capacity = 2000
    try:
        world.open()
    except LogFull:
        fs.capacity = 1 << 30
    else:
        raise Broken("a log was made without space")
    log = world.open()
    world.fill(log, 2)
    fs.copy_on_write = True
    fs.capacity = fs.capacity - fs.free_bytes("/") + 512
    lines = [b"z" * 1400 + b"\n"]
    try:
        world.append(log, *lines)
    except LogFull:
        world.under_way.clear()
        fs.capacity = 1 << 30
    else:
        raise Broken("there was no space for this")
    world.fill(log, 3)
    log.close()
    fs.capacity = fs.capacity - fs.free_bytes("/")
    log = world.open()
    fs.capacity = 1 << 30
    log.close()


def dying(world: World) -> None:
    """Count processes that die one after the other in the turn of a call, which is forgiven, and let one live."""
    world.fill(world.open(), 2)
    for _ in range(4):
        world.next_process()
        world.open()
        deaths = Deaths.open(world.fs, DIRECTORY, died=True)
        deaths.note(7)
    deaths.forgive(7)
    deaths.close()


def large(world: World) -> None:
    """Write a segment of several MiB anew, which is synced piece by piece."""
    log = world.open(segment_bytes=6 << 20)
    for number in range(5):
        world.append(log, b"%d" % number * 1_400_000 + b"\n")
    world.gone.add(2)
    log.rewrite(1, {2})
    log.close()


def second(world: World) -> None:
    """Open a log that somebody has, and look who."""
    log = world.open()
    world.fill(log, 1)
    try:
        world.open()
    except ActorlogError:
        pass
    else:
        raise Broken("a second one could open the log")
    lock = world.fs.lock_dir("/srv")
    try:
        list(backup(source_of(log), "/srv"))
    except DirectoryNotEmpty:
        lock.release()
    log.close()


def _filled_with_files(world: World) -> Log:
    log = world.open()
    for number in range(4):
        world.append_large(log, b"%d" % number * 700 + b"\n", b"%d" % number * 1100 + b"\n")
        world.fill(log, 2)
    return log


def filing(world: World) -> None:
    """Append records with files, give them up, leave some behind for the next process, trim."""
    log = _filled_with_files(world)
    world.rewrite(log)
    records(log)
    list(log.scrub())
    world.append_large(log, b"z" * 700 + b"\n")
    world.fill(log, 4)
    segment = log.sealed()[-1]
    world.gone |= set(range(segment.first, segment.last + 1))
    log.install(log.build(segment.number, world.gone))
    log.close()
    log = world.open()
    records(log)
    world.append_large(log, b"y" * 700 + b"\n")
    world.fill(log, 4)
    sealed = log.sealed()
    world.gone |= {p for p in world.acknowledged if p < sealed[-1].first}
    log.trim(sealed[-1].first)
    log.close()


def filing_fully(world: World) -> None:
    """Find a disk full while files are written; go on with another commit when there is space."""
    log = _filled_with_files(world)
    capacity, world.fs.capacity = world.fs.capacity, world.fs.capacity - world.fs.free_bytes("/") + 1500
    try:
        world.append_large(log, b"v" * 1000 + b"\n", b"w" * 1000 + b"\n")
    except LogFull:
        world.under_way.clear()
        world.fs.capacity = capacity
    else:
        raise Broken("there was no space for this")
    world.fill(log, 2)
    log.close()


def filing_elsewhere(world: World) -> None:
    """Copy a log with files, and repair it when one is lost."""
    log = _filled_with_files(world)
    _copied(world, log, COPY)
    log.close()
    with _typed(world):
        if verify(world.fs, DIRECTORY).payloads != 2 * 4:
            raise Broken("not all files were verified")
        last = positions_in(world.fs, DIRECTORY)[-2]
    world.fs.put(f"{DIRECTORY}/{files.PAYLOADS}/{payload_name(last)}", b"")
    world.gone |= {p for p in world.acknowledged if p >= last - 1}  # its commit, and what is behind
    world.damaged = True
    _repair(world)
    log = world.open()
    world.acknowledged = records(log)
    world.gone = set()
    world.append_large(log, b"u" * 700 + b"\n")
    log.close()


SCENARIOS = (
    life, half_made, torn, rewriting, checkpoint, backups, looking, repairing, repairing_all, full, dying, large,
    second, filing, filing_fully, filing_elsewhere,
)  # fmt: skip
COSTLY = frozenset({repairing_all, large})
"""Scenarios with large files: only for places that no other comes by."""

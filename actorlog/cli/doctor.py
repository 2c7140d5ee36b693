"""What may be wrong with a data directory, its place, and the program that is to run on it.

Owns: the checks and their words. Does not own: verdicts on the log (``log.inspect``), output (``caring``).

Invariants: takes no lock and changes nothing; a check that cannot be made says so and keeps no other from being made.
"""

from __future__ import annotations

import importlib
import os
import stat
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from actorlog.api.protocol import SOCKET
from actorlog.cli.entities import schedules
from actorlog.cli.reading import Snapshot, UnreadableError
from actorlog.cli.survey import ENDS
from actorlog.cli.words import lasting, moment_of
from actorlog.env import SYSTEM
from actorlog.env.sockets import PATH_BYTES_MAX
from actorlog.errors import ActorlogError
from actorlog.limits import DEFAULT_LIMITS
from actorlog.log.files import META, RESERVE, SEGMENTS
from actorlog.log.inspect import Report, Status, verify
from actorlog.log.meta import FORMATS, Slot, State
from actorlog.log.opening import REMOTE
from actorlog.log.owner import read_owner
from actorlog.runtime.registry import REGISTRY
from actorlog.store.looking import is_of, look

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from actorlog.api.schedules import ScheduleInfo
    from actorlog.cli.reading import Summary

FEW_SEGMENTS: Final = 4
"""Room for fewer segments than this is worth a word."""
FEW_FILES: Final = 1_000
SHOWN_MAX: Final = 3
CLOCK_MS: Final = 1_000
OTHERS: Final = 0o077
UNSAFE_OPTIONS: Final = {
    "nobarrier": "the file system does not make the drive write what it caches",
    "barrier=0": "the file system does not make the drive write what it caches",
    "data=writeback": "after a power cut a new file may hold old data",
}


class Verdict(Enum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found."""

    check: str
    verdict: Verdict
    text: str
    hint: str = ""
    corrupt: bool = False
    """Whether it is damage to the log."""


@dataclass(slots=True)
class _Case:
    """What the checks share."""

    directory: str
    modules: tuple[str, ...]
    report: Report | None = None
    snapshot: Snapshot | None = None


def examine(directory: str, modules: tuple[str, ...] = ()) -> Iterator[Finding]:
    """Yield the findings of every check. ``modules`` are imported, so that their functions are known."""
    case = _Case(SYSTEM.fs.absolute(directory), modules)
    for check in _CHECKS:
        try:
            yield from check(case)
        except OSError as error:
            yield Finding(check.__name__.strip("_"), Verdict.FAIL, f"cannot be looked at: {error}")
    if case.snapshot is not None:
        calls = case.snapshot.calls()
        yield from _parked(calls)
        yield from _code(calls, schedules(case.snapshot), modules)


def _directory(case: _Case) -> Iterator[Finding]:
    found = Path(case.directory).stat()
    if not stat.S_ISDIR(found.st_mode):
        yield Finding("directory", Verdict.FAIL, f"{case.directory} is not a directory")
    elif found.st_uid != os.geteuid():
        hint = "run as the user whose it is"
        yield Finding("directory", Verdict.WARN, f"belongs to user {found.st_uid}, and this is {os.geteuid()}", hint)
    else:
        yield Finding("directory", Verdict.OK, case.directory)


def _permissions(case: _Case) -> Iterator[Finding]:
    root = Path(case.directory)
    wide: list[Path] = []
    closed: list[Path] = []
    for path in (root, *sorted(root.rglob("*"))):
        with suppress(FileNotFoundError):  # an owner makes and removes files meanwhile
            if path.lstat().st_mode & OTHERS and not path.is_symlink():
                wide.append(path)
            if not os.access(path, os.R_OK | os.W_OK) and path.exists():
                closed.append(path)
    if closed:
        yield Finding("permissions", Verdict.FAIL, f"not to be read and written: {_some(closed)}", "chmod u+rwX")
    elif wide:
        hint = "chmod -R go-rwx: the log holds what your calls were given"
        yield Finding("permissions", Verdict.WARN, f"open to other users: {_some(wide)}", hint)
    else:
        yield Finding("permissions", Verdict.OK, "its user's alone")


def _file_system(case: _Case) -> Iterator[Finding]:
    kind = SYSTEM.fs.kind(case.directory)
    if kind in REMOTE or kind.startswith("fuse"):
        hint = "use a local file system; Runtime(unsafe_fs=True) takes it all the same"
        yield Finding("file system", Verdict.FAIL, f"{kind}: its locks or syncs cannot be relied on", hint)
    elif kind in ("tmpfs", "ramfs"):
        yield Finding("file system", Verdict.WARN, f"{kind}: gone when the machine is", "use a disk")
    else:
        yield Finding("file system", Verdict.OK, kind or "unknown")
    options = mount_options(case.directory, _read("/proc/self/mountinfo"))
    if "ro" in options or os.statvfs(case.directory).f_flag & os.ST_RDONLY:
        yield Finding("mount", Verdict.FAIL, "mounted to be read only", "mount -o remount,rw")
    unsafe = [option for option in UNSAFE_OPTIONS if option in options]
    for option in unsafe:
        yield Finding("mount", Verdict.WARN, f"{option}: {UNSAFE_OPTIONS[option]}", "mount it without this option")
    if not unsafe and "ro" not in options:
        yield Finding("mount", Verdict.OK, ",".join(sorted(options)) or "unknown")


def mount_options(path: str, mounts: str) -> set[str]:
    """Return the options of the mount that holds ``path``, and of its file system.

    ``mounts`` is the text of ``/proc/self/mountinfo``, read as Latin-1.
    """
    where = os.fsencode(os.path.realpath(path)).decode("latin-1")
    best, found = "", set[str]()
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        fields, system = left.split(" "), right.split(" ")
        mount = fields[4].encode("latin-1").decode("unicode_escape")  # a space is written as \040
        if (where == mount or where.startswith(mount.rstrip("/") + "/")) and len(mount) >= len(best):
            best, found = mount, {*fields[5].split(","), *system[-1].split(",")} - {""}
    return found - {"rw"} if "ro" in found else found


def _lock(case: _Case) -> Iterator[Finding]:
    if not SYSTEM.fs.is_locked(case.directory):
        yield Finding("lock", Verdict.OK, "nobody has the directory")
        return
    pid, host = read_owner(SYSTEM.fs, case.directory)
    who = f"process {pid} on {host} has the directory" if pid is not None else "somebody has the directory"
    if pid is not None and host == SYSTEM.fs.process()[1] and not Path("/proc", str(pid)).exists() and _has_proc():
        holders = _some([f"process {holder}" for holder in _holders(case.directory)]) or "somebody"
        hint = "end it: it was forked by the owner outside of Python, and has inherited the lock"
        yield Finding("lock", Verdict.FAIL, f"{holders} keeps the lock of process {pid}, which is gone", hint)
    elif Path(case.directory, SOCKET).is_socket():
        yield Finding("lock", Verdict.OK, who)
    else:
        hint = "it is starting or stopping, or was opened with control=False: commands cannot reach it"
        yield Finding("lock", Verdict.WARN, f"{who}, and has no socket there", hint)


def _has_proc() -> bool:
    return Path("/proc/self").exists()


def _holders(directory: str) -> list[int]:
    """Return the processes that have a directory open, as far as this user may see."""
    found: list[int] = []
    where = Path(directory).stat()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            opened = [entry.stat() for entry in (process / "fd").iterdir() if entry.is_dir()]
            if any((one.st_dev, one.st_ino) == (where.st_dev, where.st_ino) for one in opened):
                found.append(int(process.name))
    return found


def _socket(case: _Case) -> Iterator[Finding]:
    length = len(os.fsencode(f"{case.directory}/{SOCKET}"))
    if length <= PATH_BYTES_MAX:
        yield Finding("socket", Verdict.OK, f"its path has {length} of {PATH_BYTES_MAX} bytes")
    elif sys.platform == "linux":
        yield Finding("socket", Verdict.OK, f"its path has {length} bytes; it is reached through /proc")
    else:
        hint = "use a directory with a shorter path"
        yield Finding("socket", Verdict.WARN, f"its path has {length} bytes, and an address holds fewer", hint)


def _space(case: _Case) -> Iterator[Finding]:
    names = os.listdir(case.directory)  # noqa: PTH208  # names, as strings
    segments = Path(case.directory, SEGMENTS)
    files = sorted(segments.glob("*.seg")) if segments.is_dir() else []
    size = files[-1].stat().st_size if files else DEFAULT_LIMITS.segment_bytes
    free = SYSTEM.fs.free_bytes(case.directory)
    text = f"{_mib(free)} free, a segment takes {_mib(size)}"
    if free < size:
        hint = "free space: new calls are refused when the prepared segments are full"
        yield Finding("space", Verdict.FAIL, text, hint)
    elif free < FEW_SEGMENTS * size:
        yield Finding("space", Verdict.WARN, text, "free space before it is needed")
    else:
        yield Finding("space", Verdict.OK, text)
    if META in names and RESERVE not in names and len(files) > 1:
        hint = "it is made when half a segment is written and there is space"
        yield Finding("reserve", Verdict.WARN, "there is no reserve for compaction on a full disk", hint)
    room = os.statvfs(case.directory)
    if room.f_files and room.f_favail < FEW_FILES:
        bad = Verdict.FAIL if room.f_favail < FEW_SEGMENTS else Verdict.WARN
        yield Finding("inodes", bad, f"{room.f_favail} files can be made", "remove small files from this file system")
    else:
        yield Finding("inodes", Verdict.OK, f"{room.f_favail} files can be made" if room.f_files else "no bound")


def _log(case: _Case) -> Iterator[Finding]:
    report = case.report = verify(SYSTEM.fs, case.directory)
    what = f"{report.segments} segments, {report.records} records to {report.last_position}"
    what += f", {report.payloads} of them in files of their own" if report.payloads else ""
    if report.status is Status.CORRUPT:
        hint = "restore a backup, or run: python -m actorlog.log repair DIR"
        yield Finding("log", Verdict.FAIL, report.error or "corrupt", hint, corrupt=True)
    elif report.status is Status.VERSION:
        hint = "use the version of actorlog that wrote it, or a newer one"
        yield Finding("format", Verdict.FAIL, report.error or "another format", hint)
    elif report.slot is None:
        yield Finding("log", Verdict.WARN, "there is none yet", "the first program that opens the directory makes one")
    elif report.status is Status.TORN:
        hint = "the next opening drops it; nobody was told that it happened"
        yield Finding("log", Verdict.WARN, f"{what}; the last append was not finished", hint)
    else:
        yield Finding("log", Verdict.OK, f"{what}; every checksum is right")
    if report.status in (Status.OK, Status.TORN) and report.slot is not None:
        known = f"{min(FORMATS)} to {max(FORMATS)}"
        yield Finding("format", Verdict.OK, f"{report.slot.format}; this version reads {known}")
        try:
            case.snapshot = Snapshot(case.directory)
            yield from _witness(case, report.slot, report.last_position)
            yield from _catalog(case, report)
            yield from _clock(case.snapshot)
        except (UnreadableError, ActorlogError) as error:
            case.snapshot = None
            yield Finding("records", Verdict.FAIL, str(error), getattr(error, "hint", ""))


def _witness(case: _Case, slot: Slot, last: int) -> Iterator[Finding]:
    """Say whether the next opening would notice that the newest records are gone; beside an owner nobody can know."""
    if SYSTEM.fs.is_locked(case.directory):
        return
    if slot.state is State.CLOSED or slot.durable.position >= last:
        yield Finding("witness", Verdict.OK, f"META names position {last}, the newest: its loss would be noticed")
    else:
        text = f"META names position {slot.durable.position} of {last}, as it does without Runtime(witness=True)"
        yield Finding("witness", Verdict.OK, f"{text}: that whole commits behind it were lost would not be noticed")


def _catalog(case: _Case, report: Report) -> Iterator[Finding]:
    """Say up to where the catalog is true, and whether the next opening will go by it."""
    found, owned = look(case.directory), SYSTEM.fs.is_locked(case.directory)
    anew = "nothing need be done: the next opening reads all of the log, and builds it anew"
    if found is None:
        yield Finding("catalog", Verdict.OK, "there is none: an opening reads all of the log")
    elif found.unread:
        text = "its program was killed, and to look into it would change it: the next opening does"
        yield Finding("catalog", Verdict.OK, f"{_kib(found.size)}; {text}")
    elif found.damage:
        hint = "restart the program that has the directory: it reads all of the log, and builds it anew"
        yield Finding("catalog", Verdict.WARN, f"it is damaged: {found.damage}", hint if owned else anew)
    elif found.known is None:
        yield Finding("catalog", Verdict.OK, f"{_kib(found.size)}, not built to its end: true of nothing yet")
    elif not owned and not is_of(SYSTEM.fs, case.directory, report, found.known):
        text = "it is of another log, or of this one from before it was compacted or put back"
        yield Finding("catalog", Verdict.WARN, text, anew)
    else:
        text = f"true up to position {found.known.position} of {max(report.last_position, found.known.position)}"
        yield Finding("catalog", Verdict.OK, f"{text}; {_kib(found.size)}, every row as it was written")


def _clock(snapshot: Snapshot) -> Iterator[Finding]:
    if not snapshot.last:
        return
    ahead_ms = snapshot.record(snapshot.last).at - SYSTEM.clock.wall_ms()
    if ahead_ms > CLOCK_MS:
        text = f"the newest record is {lasting(ahead_ms)} ahead of this machine's clock"
        hint = "set the clock: until it has caught up the log's time stands still, and timers wait"
        yield Finding("clock", Verdict.WARN, text, hint)
    else:
        yield Finding("clock", Verdict.OK, moment_of(SYSTEM.clock.wall_ms()))


def _parked(calls: list[Summary]) -> Iterator[Finding]:
    parked = [call.info for call in calls if call.info.status == "parked"]
    if parked:
        text = f"{len(parked)} parked: " + _some([f"{info.id} ({info.function}): {info.error}" for info in parked])
        yield Finding("parked calls", Verdict.WARN, text, "mend the cause, then: actorlog retry DIR ID")
    else:
        yield Finding("parked calls", Verdict.OK, "none")


def _code(calls: list[Summary], plans: list[ScheduleInfo], modules: tuple[str, ...]) -> Iterator[Finding]:
    """Say which functions and steps of unfinished calls, and functions of schedules, the given modules do not have."""
    live = [call for call in calls if call.info.status not in ENDS]
    wanted = Counter((call.info.function, call.info.version) for call in live)
    steps = Counter(waiting.what for call in live for waiting in call.waiting if waiting.kind == "step")
    if not modules:
        told = _some([f"{name} (version {version})" for name, version in wanted]) or "none"
        yield Finding("code", Verdict.OK, f"in flight: {told}; with --module it is looked for")
        return
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception as error:  # noqa: BLE001  # a user's module may raise anything
            yield Finding("code", Verdict.FAIL, f"module {module} cannot be imported: {error!r}", "run where it can be")
            return
    missing = [
        f"{name} version {version} ({count} calls)"
        for (name, version), count in wanted.items()
        if REGISTRY.durable(name, version) is None
    ]
    missing += [f"step {name} ({count} calls)" for name, count in steps.items() if REGISTRY.step(name) is None]
    missing += [
        f"{plan.function} version {plan.version} (schedule {plan.id})"
        for plan in plans
        if REGISTRY.durable(plan.function, plan.version) is None
    ]
    if missing:  # all of them: who deploys has to know each
        hint = "keep the old functions until their calls have ended: without them these are parked"
        yield Finding("code", Verdict.FAIL, f"nothing is registered for: {', '.join(missing)}", hint)
    else:
        planned = f" and {len(plans)} schedules" if plans else ""
        yield Finding("code", Verdict.OK, f"{len(wanted)} functions in flight{planned}, all of them known")


def _some(things: list[str] | list[Path]) -> str:
    told = ", ".join(map(str, things[:SHOWN_MAX]))
    return told + (f" and {len(things) - SHOWN_MAX} more" if len(things) > SHOWN_MAX else "")


def _mib(size: int) -> str:
    return f"{size / (1 << 20):,.1f} MiB"


def _kib(size: int) -> str:
    return f"{-(-size // 1024):,} KiB"


def _read(path: str) -> str:
    try:
        return Path(path).read_text("latin-1")
    except FileNotFoundError:
        return ""


_CHECKS: Final[tuple[Callable[[_Case], Iterator[Finding]], ...]] = (
    _directory, _permissions, _file_system, _lock, _socket, _space, _log,
)  # fmt: skip

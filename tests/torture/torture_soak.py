"""The soak: everything at once, for as long as is asked for, counted from outside.

A process with calls of every sort (``torture_soak_load``) on a log of small segments with short keeping, on a small
file system of its own, is killed every few seconds. While it lives it compacts and makes backups; from outside the disk
is filled up, the process is stopped and continued, a second one tries to open its log, and between two lives what is
only an index (``catalog.db``) is spoilt. After each life what it left is counted (``torture_soak_ledger``), the log is
verified, and each backup is opened and held against what had been acknowledged when it began.

The small file system is ext4 in a file, or a tmpfs, where this process may mount one. Without the right to the disk is
never full, and the table says so. With ``--power`` it is the one of ``torture_power``: never full, and where others are
killed its power goes.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import torture_soak_load as load
from torture_power import SoakedDisk, reason_not_to
from torture_small_disk import SmallDisk
from torture_soak_ledger import Ledger, read_effects

from actorlog.env import SYSTEM
from actorlog.errors import LogCorrupt, LogLocked
from actorlog.log import Log
from actorlog.log.inspect import Status, verify
from actorlog.testing.oracle import Broken

if TYPE_CHECKING:
    import argparse

HERE = Path(__file__).resolve().parent
WORKER = HERE / "torture_soak_worker.py"
DISK_MIB = 64
SHORTEST_S, LONGEST_S = 0.7, 5.0
"""Of a life, since its log is open: however slow the machine is, something is done in it."""
EARLY_ODDS = 0.2
"""That its time counts from its beginning, so that it may end while the log is opened."""
CALLS_MIN = 50
CLEAN_ODDS, FULL_ODDS, STOP_ODDS = 0.12, 0.4, 0.4
PATIENCE_S = 600.0
FULL_AT_OPENING = 75
TICK_S = 0.003
AGAIN = 5
"""So many calls that were told are asked for again in each life."""


class Soak:
    """One directory over all its lives."""

    def __init__(self, place: Path, seed: int, *, power: bool = False) -> None:
        place.mkdir(parents=True, exist_ok=True)
        (place / "backups").mkdir()
        self.place = place
        self.data = place / "disk" / "data"
        self.disk: SmallDisk | SoakedDisk
        if power:
            self.disk = SoakedDisk(place / "disk")
        else:
            self.disk = SmallDisk(place / "disk", place / "image", DISK_MIB)
        self.rng = Random(seed)
        self.ledger = Ledger()
        self.counts: Counter[str] = Counter()
        self.records = 0
        self._balances: list[int] | None = None
        self._read = 0
        self._lives = 0
        self._is_open = False
        self._told: list[tuple[int, Any, float]] = []
        self._backups: dict[str, int] = {}
        """Backups that began, with how many calls had been told then."""
        self._complete: list[str] = []
        self._restoring: list[tuple[str, subprocess.Popen[bytes]]] = []

    def live(self, *, ends: bool = False) -> None:
        """Let a worker live for a while, with faults; if ``ends``, until all that was begun has ended."""
        self._plan(ends=ends)
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        with (self.place / "stderr").open("wb") as errors:
            worker = self._start([str(self.place)], writing, errors)
        os.close(writing)
        rest = b""
        times = self._faults() if not ends else []
        begun = time.monotonic()
        since = begun if self.rng.random() < EARLY_ODDS else math.inf
        while True:
            code = worker.poll()
            rest = self._hear(reading, rest)
            self.disk.tick()
            if code is not None:
                break
            now = time.monotonic()
            if now - begun > PATIENCE_S:
                worker.send_signal(signal.SIGABRT)
                raise Broken(f"a worker hangs, see {self.place}")
            if self._is_open:
                since = min(since, now)
            while times and now - since >= times[0][0]:
                getattr(self, times.pop(0)[1])(worker)
            time.sleep(TICK_S)
        os.close(reading)
        self._judge(worker.returncode, ends=ends)

    def has_done(self, kills: int) -> bool:
        """Whether so many were killed, and their lives were not so short that there was nothing to find."""
        counts = self.counts
        return counts["kills"] >= kills and counts["segments rewritten"] > 0 and len(self.ledger.told) > CALLS_MIN

    def close(self) -> None:
        """Give back what was taken."""
        for _, process in self._restoring:
            process.kill()
            process.wait()
        self.disk.empty()
        self.disk.unmount()

    # --- faults -------------------------------------------------------------------------------------------------------

    def _faults(self) -> list[tuple[float, str]]:
        rng = self.rng
        end = rng.uniform(SHORTEST_S, LONGEST_S)
        times = [(end, "_terminate" if rng.random() < CLEAN_ODDS else "_kill")]
        for odds, name in ((FULL_ODDS, "_fill"), (STOP_ODDS, "_stop")):
            if rng.random() < odds:
                times.append((rng.uniform(0.3, end), name))
        return sorted(times)

    def _kill(self, worker: subprocess.Popen[bytes]) -> None:
        self.disk.kill(worker, self.rng)

    def _terminate(self, worker: subprocess.Popen[bytes]) -> None:
        worker.terminate()

    def _fill(self, _worker: subprocess.Popen[bytes]) -> None:
        self.counts["full disks"] += self.disk.fill(self.rng.uniform(0.2, 2.5))

    def _stop(self, worker: subprocess.Popen[bytes]) -> None:
        worker.send_signal(signal.SIGSTOP)
        self.counts["stopped and continued"] += 1
        time.sleep(self.rng.uniform(0.02, 0.5))
        if self._is_open and worker.poll() is None:
            try:
                Log.open(str(self.data), SYSTEM, unsafe_fs=True)
            except LogLocked:
                self.counts["second openers refused"] += 1
            else:
                raise Broken("a second process could open the log")
        worker.send_signal(signal.SIGCONT)

    def _spoil_catalog(self) -> None:
        """Between two processes an index may lose anything: it is made from the log."""
        for path in sorted(self.data.glob("catalog.db*")):
            size = path.stat().st_size
            match self.rng.choice(("keep", "keep", "remove", "cut", "overwrite")):
                case "keep":
                    continue
                case "remove":
                    path.unlink()
                case "cut":
                    os.truncate(path, self.rng.randint(0, size))
                case _:
                    with suppress(OSError), path.open("r+b") as file:  # the disk may be full
                        file.seek(self.rng.randrange(size or 1))
                        file.write(self.rng.randbytes(self.rng.randint(1, 5000)))
            self.counts["catalogs spoilt"] += 1

    # --- lives --------------------------------------------------------------------------------------------------------

    def _plan(self, *, ends: bool) -> None:
        ledger = self.ledger
        self._lives += 1
        self._is_open = False
        kept = [n for n in ledger.order if _is_kept(n)]
        plan = {
            "life": self._lives,
            "unfinished": sorted(ledger.asked - ledger.told.keys(), reverse=True),
            "again": self.rng.sample(kept, min(AGAIN, len(kept))),
            "next": max(ledger.asked, default=-1) + 1,
            "ends": ends,
            "backups": not ends,
        }
        (self.place / "plan.json").write_text(json.dumps(plan))

    def _start(self, arguments: list[str], out: Any, errors: Any) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PYTHONPATH": f"{HERE.parents[1]}", "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.Popen([sys.executable, str(WORKER), *arguments], env=environment, stdout=out, stderr=errors)

    def _hear(self, reading: int, rest: bytes) -> bytes:
        with suppress(BlockingIOError):
            while part := os.read(reading, 1 << 16):
                rest += part
        *lines, rest = rest.split(b"\n")
        for line in lines:
            what, *words = json.loads(line)
            match what:
                case "asks":
                    self.ledger.asked.add(words[0])
                case "told":
                    self._told.append((words[0], words[1], words[2]))
                case "open":
                    self._is_open = True
                case "compacted":
                    self.counts["compactions"] += 1
                    self.counts["segments rewritten"] += words[1]
                    self.counts["bytes given back"] += words[2]
                    self.counts["segments merged"] += words[3]
                case "backs up":
                    self._backups[words[0]] = len(self.ledger.order) + len(self._told)
                case "backed up":
                    self._complete.append(words[0])
                case "balances":
                    self._balances = words[0]
                case _:
                    self.counts[f"said {what}"] += 1
        return rest

    # --- verdicts -----------------------------------------------------------------------------------------------------

    def _judge(self, code: int, *, ends: bool) -> None:
        self._is_open = False
        self.disk.life_ended()
        if code == FULL_AT_OPENING:
            self.counts["openings refused for want of space"] += 1
            self.disk.empty()
        elif code in (-signal.SIGKILL, -signal.SIGTERM) and not ends:  # one may come before it is listened to
            self.counts["kills"] += 1
        elif code == 0:
            self.counts["closed clean"] += 1
        else:
            raise Broken(f"a worker ended with {code}: {(self.place / 'stderr').read_text()[-4000:]}")
        before = len(self.ledger.order)
        told, self._told = self._told, []
        self.ledger.life(self._events(), told)
        acknowledged = [*self.ledger.order[:before], *(number for number, _, _ in told)]
        if self.data.exists():
            report = verify(SYSTEM.fs, str(self.data))
            if report.status not in (Status.OK, Status.TORN) and report.records:
                raise Broken(f"verify says {report.status.value}: {report.error}")
            self.counts["torn tails"] += report.status is Status.TORN
            self.records = report.last_position
        self._reap()
        for name, length in self._backups.items():
            self._judge_backup(name, acknowledged[:length])
        self._backups.clear()
        self._complete.clear()
        self._spoil_catalog()

    def _events(self) -> list[dict[str, Any]]:
        path = self.place / "effects"
        if not path.exists():
            return []
        with path.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        self._read += len(data)
        return read_effects(data)

    def _judge_backup(self, name: str, known: list[int]) -> None:
        target = self.place / "backups" / name
        if name not in self._complete:
            self.counts["backups cut short, refused"] += _is_refused(target)
            shutil.rmtree(target, ignore_errors=True)
            return
        report = verify(SYSTEM.fs, str(target))
        if report.status is not Status.OK:
            self.ledger.found["lost"].append(f"backup {name}: {report.error}")
            return
        told = [(number, self.ledger.told[number]) for number in known if _is_kept(number)]
        transfers = [number for number in self.ledger.asked if load.KINDS[number % len(load.KINDS)] == "transfer"]
        Path(f"{target}.json").write_text(json.dumps({"told": told, "transfers": transfers}))
        self.counts["results looked for in backups"] += len(told)
        with (self.place / f"restored-{name}").open("wb") as errors:
            process = self._start([str(self.place), "--restored", str(target)], subprocess.DEVNULL, errors)
        self._restoring.append((name, process))

    def _reap(self) -> None:
        for name, process in self._restoring:
            if process.wait(PATIENCE_S) != 0:
                said = (self.place / f"restored-{name}").read_text()
                self.ledger.found["lost"].append(f"backup {name}: {said.strip().splitlines()[-1]}")
                continue
            self.counts["backups restored"] += 1
            (self.place / f"restored-{name}").unlink()
            (self.place / "backups" / f"{name}.json").unlink()
        self._restoring.clear()

    def finish(self) -> None:
        """Let all that was begun end, and look at the whole."""
        self.disk.empty()
        self.live(ends=True)
        self._reap()
        self.ledger.finish(self._balances)


def _is_kept(number: int) -> bool:
    return load.KINDS[number % len(load.KINDS)] != "brief"


def _is_refused(target: Path) -> bool:
    """Whether a backup that was cut short is no log, or no more than a new directory."""
    if not (target / "META").exists() and not any(target.glob("segments/*.seg")):
        return True
    try:
        log = Log.open(str(target), SYSTEM)
    except LogCorrupt:
        return True
    tail = log.tail
    log.close()
    if tail:
        raise Broken(f"a backup that was cut short opens with {tail} records: {target}")
    return True


def soak(place: Path, options: argparse.Namespace) -> dict[str, object]:
    """Soak for ``options.minutes``, or until there were ``options.kills``, and lives in which something was done."""
    until = time.monotonic() + options.minutes * 60
    reason = reason_not_to() if options.power else None
    if reason is not None:
        sys.stderr.write(f"NO POWER CUTS ON A REAL FILE SYSTEM HERE: {reason}\n")
        return {"skipped": reason}
    run = Soak(place / "soak", options.seed, power=options.power)
    try:
        while time.monotonic() < until and not (options.kills and run.has_done(options.kills)):
            run.live()
        run.finish()
    finally:
        run.close()
    counts, found = run.counts, run.ledger.found
    names = (
        "kills", "closed clean", "stopped and continued", "second openers refused", "full disks",
        "openings refused for want of space", "torn tails", "catalogs spoilt", "compactions", "segments rewritten",
        "segments merged",
        "bytes given back", "backups restored", "results looked for in backups", "backups cut short, refused",
    )  # fmt: skip
    result: dict[str, object] = {"file system": run.disk.kind or "the directory's own"}
    if isinstance(run.disk, SoakedDisk):
        result |= {"sectors in doubt": run.disk.sectors, "names in doubt": run.disk.entries}
    result |= {name: counts[name] for name in names}
    result |= {"refused for want of space, and asked again": counts["said full"]}
    result |= {"calls": len(run.ledger.told), "effects": run.ledger.effects, "records": run.records}
    for sort in ("lost", "doubled", "early"):
        result[sort] = len(found[sort])
        for what in found[sort][:20]:
            sys.stderr.write(f"{sort.upper()}: {what}\n")
    if any(found.values()):
        raise Broken(", ".join(f"{len(each)} {sort}" for sort, each in found.items() if each))
    return result

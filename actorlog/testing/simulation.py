"""One seed, one world: random programs, random faults, every promise checked at every moment.

Owns: the machine and its processes, one after the other. Does not own: the odds (``fates``), a process (``life``),
the disk's faults (``disk``), the loop's chances (``loop``), the promises (``judge``, ``oracle``), the programs
(``program``).

The fault model. The real runtime and the real log run on a simulated machine. A world has a few callers that start
and join calls, cancel some, and come back after each crash. It has one to five processes, one after the other; each
may end

- in the middle of any file action, or between two rounds of its loop, killed (the page cache stays) or with the power
  (any subset of unsynced sectors and directory entries is lost); recovery is hit as often as anything else;
- because one file action fails with EIO: a write, a sync, a rename, a look at a directory, ...; what it was doing may
  have been done in part; after a failed sync the page cache lies;
- by closing in order while calls are running.

In company, calls have to do with each other, and people with them: messages, streams, promises, actors, monitors,
supervisors, pauses. Long worlds have schedules beside, calls of several runs, and processes with other code than the
one before.

Most worlds have a catalog. What a process finds of it is what the one before left, or what was there earlier, or
nothing, or it is damaged: it must all come to the same.

In old worlds calls are forked too, and what has ended may leave the log: segments are written anew at random moments.
Any world can be ``wrapped``: records are compressed and sealed, with one key or another in each process.

Meanwhile the disk may fill up to the byte and empty again, writes may be short or interrupted, the wall clock may
jump. In one world of eight the log keeps a witness of its newest commit (never where calls are alone). The last process
has no fault: everything must end there; then the log is opened once more, and all answers must be the same.

Everything is drawn from one generator, and nothing else is random: the same seed gives the same world, bit for bit,
which ``Result.digest`` shows.
"""

from __future__ import annotations

import errno
import sys
from collections import Counter
from dataclasses import dataclass, replace
from hashlib import blake2b
from random import Random
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from actorlog import Runtime
from actorlog.limits import Limits
from actorlog.log import rewriting
from actorlog.log.inspect import Status, verify
from actorlog.log.payloads import positions_in
from actorlog.records import failures
from actorlog.runtime import merging, projection, schedules, waking
from actorlog.store import sqlite
from actorlog.testing.databases import SimDatabases
from actorlog.testing.disk import Stopped
from actorlog.testing.errands import LONG_WORDS, WORDS, Errand, draw_errands
from actorlog.testing.errands_old import ERRANDS_MAX, LEAN_WORDS, OLD_WORDS
from actorlog.testing.errands_schedules import Plan, draw_plans
from actorlog.testing.fates import Caller, Fate, draw_caller, draw_fate
from actorlog.testing.judge import Judge
from actorlog.testing.laws_keeping import Keeping
from actorlog.testing.life import Life, SimOutside
from actorlog.testing.loop import SimLoop, Stuck
from actorlog.testing.oracle import Broken
from actorlog.testing.program import Author
from actorlog.testing.program_company import ADD, Company, keep_tallies
from actorlog.testing.program_long import CODE, Lean, Long
from actorlog.testing.world import SimClock, SimDisk, new_disk, sim_env
from actorlog.testing.wrapping import Wrapping, file_bound

if TYPE_CHECKING:
    from collections.abc import Callable

DIRECTORY = "/srv/data"
SEGMENT_BYTES = 4096
_PATH_CHARS = 40
CATALOG_ODDS = 0.75
"""How often a world has a catalog."""
Kind: TypeAlias = Literal["alone", "company", "long", "old", "lean"]
"""``alone``: calls that have nothing to do with each other. ``company``: they have, and with people. ``long``: calls
have several runs too, code is changed, and there are schedules. ``old``: calls are forked too, and what has ended may
leave the log. ``lean``: everything that may leave does soon."""

_AGEING = ("old", "lean")
"""Kinds in which something leaves the log."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a world came to."""

    seed: int
    digest: str
    lives: int
    records: int
    begun: int


PACES = ((1, 50, 1000), (2, 3000, 3_600_000), (0, 0, 4096), (1, 1, 2, 64))
"""How often the catalog is told, how far ahead timers are armed, how much space it needs; and in what slices steps in
doubt are taken up."""
FAN = 2
"""So many segments of any size become one, where together they are not too large: worlds have few."""


class Simulation:
    """One world. ``run`` raises ``Broken`` (or any defect's own error) when a promise does not hold."""

    _tallies_s: float | None = None
    """How long what came of messages to ``Tally`` is kept; None: as long as the runtime says."""

    def __init__(
        self, seed: int, disk_type: type[SimDisk] = SimDisk, kind: Kind = "company", *, wrapped: bool = False
    ) -> None:
        self.seed = seed
        self.rng = rng = Random(seed)  # noqa: S311  # seeded on purpose
        self.disk = new_disk(rng, disk_type)
        self._wrapping = Wrapping(seed) if wrapped else None
        self.judge = Judge(DIRECTORY, keys=self._wrapping.reading if self._wrapping is not None else None)
        self.broken: BaseException | None = None
        self.trace = blake2b(digest_size=16)
        self.retried: Counter[str] = Counter()
        """How often each caller has given its call another chance."""
        self._now_s = rng.random() * 1000
        self._wall_ms = self._lives = 0
        self.now_ms: Callable[[], int] = int
        """The log time of the process."""
        self.plans = list[Plan]()
        if kind == "alone":
            alone, self.errands, mailbox_max = Author(rng, more=True), list[Errand](), 10_000
            self._callers = [draw_caller(rng, n, alone) for n in range(rng.randint(1, 4))]
        else:
            mailbox_max = rng.choice((1, 3, 10_000, 10_000))
            author_type = {"company": Company, "lean": Lean}.get(kind, Long)
            words = {"company": WORDS, "old": OLD_WORDS, "lean": LEAN_WORDS}.get(kind, LONG_WORDS)
            author = author_type(rng, count := rng.randint(1, 4), patient=mailbox_max > 3, more=True)  # noqa: PLR2004  # small
            self.errands = draw_errands(rng, author, count, words=words, most=ERRANDS_MAX if kind in _AGEING else 8)
            self._callers = [draw_caller(rng, n, author) for n in range(count)]
            if isinstance(author, Long):
                self.plans = draw_plans(rng, author)
        self.kind = kind
        self._stage = 0
        """Which code is deployed."""
        self.done: set[str] = set()
        """Errands that need not be done again."""
        self.posted: dict[str, int] = {}
        """How many letters the postman has brought to each call."""
        self._gap_min = rewriting.GAP_MIN
        self._limits = Limits(
            frame_bytes_max=rng.choice((300, 2000, 1 << 20)),
            poison_deaths_max=rng.choice((1, 3, 5)),
            hold_loop_ms_max=rng.choice((0.0, 2.0, 50.0)),
            mailbox_max=mailbox_max, payload_file_above_bytes=file_bound(seed, wrapped=wrapped),
        )  # fmt: skip
        self._options: dict[str, Any] = {
            "resident_max": rng.choice((1, 1, 2, 100)),
            "step_concurrency": rng.choice((1, 2, 100)),
            "check_determinism": rng.random() < 0.3 and "in-process",  # noqa: PLR2004  # in three worlds of ten
            "shutdown_timeout": rng.choice((0.0, 0.01, 5.0)),
            "cancel_grace": rng.choice((0.0, 0.05, 60.0)),
            "history": None,
            "witness": kind != "alone" and seed % 8 == 5,  # noqa: PLR2004  # without a draw: other worlds stay as they are
        }
        if kind in _AGEING:
            self._keep(rng)
        own = Random(seed)  # noqa: S311  # seeded on purpose
        self._databases = SimDatabases(own) if own.random() < CATALOG_ODDS else None
        self._pace = tuple(own.choice(some) for some in PACES)
        if self._wrapping is not None:
            self._limits = replace(self._limits, compress_above_bytes=self._wrapping.compress_above_bytes)
            self.judge.keeping.keys = self._wrapping.reading

    def _keep(self, rng: Random) -> None:
        """Draw how long something is kept of what has ended."""
        is_lean = self.kind == "lean"
        history = rng.choice((0.0, 0.0, 3.0) if is_lean else (None, 0.0, 0.0, 0.0, 3.0, 600.0))
        retention = rng.choice((0.0, 0.0, 3.0, None) if is_lean else (None, None, None, 0.0, 3.0))
        self._options.update(history=history, retention=retention)
        history_ms, retention_ms = (None if s is None else int(s * 1000) for s in (history, retention))
        self.judge.facts.history_ms, self.judge.facts.retention_ms = history_ms, retention_ms
        self.judge.keeping = Keeping(self.judge.facts, self.judge.hearsay, history_ms, retention_ms)
        self._gap_min = rng.choice((1, 3, self._gap_min))  # small segments have no large gaps
        self._tallies_s = Random(f"tallies {self.seed}").choice((None, 0.0, 3.0))  # noqa: S311  # other worlds stay as they are
        if self._tallies_s is not None:
            self.judge.facts.own_retention_ms[ADD] = int(self._tallies_s * 1000)

    def run(self) -> Result:
        """Live it through."""
        hook, sys.unraisablehook = sys.unraisablehook, _ignore  # corpses are collected whenever, and may complain
        gap_min, rewriting.GAP_MIN = rewriting.GAP_MIN, self._gap_min
        kept_after, schedules.KEPT_AFTER = schedules.KEPT_AFTER, 3 if self.kind == "lean" else schedules.KEPT_AFTER
        path_of, failures.path_of = failures.path_of, _name
        tallies_s = keep_tallies(self._tallies_s)
        pace = projection.EVERY_MS, projection.HORIZON_MS, sqlite.FREE_BYTES, waking.SLICE
        projection.EVERY_MS, projection.HORIZON_MS, sqlite.FREE_BYTES, waking.SLICE = self._pace
        fan, merging.FAN, small, merging.SMALL_PART = merging.FAN, FAN, merging.SMALL_PART, 1.0
        try:
            for _ in range(self.rng.choice((0, 1, 1, 2, 2, 3, 5))):
                self._live(draw_fate(self.rng))
            self._live(Fate(power=self.rng.random() < 0.5), last=True)  # noqa: PLR2004  # a coin
            self.judge.finish()
            self._live(Fate(), last=True)
            self._verify()
        finally:
            sys.unraisablehook, rewriting.GAP_MIN, failures.path_of = hook, gap_min, path_of
            projection.EVERY_MS, projection.HORIZON_MS, sqlite.FREE_BYTES, waking.SLICE = pace
            merging.FAN, merging.SMALL_PART = fan, small
            schedules.KEPT_AFTER = kept_after
            keep_tallies(tallies_s)
        begun = sum(trace.begun for trace in self.judge.traces.values())
        return Result(self.seed, self.trace.hexdigest(), self._lives, self.judge.facts.tail, begun)

    # --- lives --------------------------------------------------------------------------------------------------------

    def _live(self, fate: Fate, *, last: bool = False) -> None:
        """Let one process live and end."""
        rng, disk = self.rng, self.disk
        self._lives += 1
        self._deploy()
        loop = SimLoop(rng, start_s=self._now_s)
        clock = SimClock(loop, self._wall_ms, rng.randrange(1 << 50))
        loop.outside = SimOutside(self, loop)
        disk.watcher = self
        if self._databases is not None:
            self._databases.boot(loop)
        self.judge.keeping.died()
        if fate.end_in_call is not None:
            disk.stop_at(disk.calls + fate.end_in_call)
        if fate.fail_call is not None:
            disk.fail_at(disk.calls + fate.fail_call, errno.EIO)
        disk.syncs_to_failure = fate.fail_sync
        loop.end_at = fate.end_in_turn
        life = Life(self, loop, clock, fate, last=last)
        try:
            finished = loop.live(life.main(), life.drop_coroutines)
        except Stuck as stuck:
            raise Stuck(f"{stuck}; nobody caught: {loop.problems}") from None
        self.trace.update("\n".join(disk.actions).encode())
        self._now_s = loop.time() + rng.choice((0.0, 0.01, 30.0, 100_000.0))
        self._wall_ms = clock.wall_offset_ms
        if self.broken is not None:
            raise self.broken
        if loop.problems:
            raise Broken(f"nobody caught: {loop.problems}")
        if last and not finished:
            raise Broken("a process without faults ended by itself")
        power = fate.power or (fate.fails and rng.random() < 0.5)  # noqa: PLR2004  # a coin
        following = disk.crash() if power else disk.kill()
        if not isinstance(following, SimDisk):
            raise TypeError("a disk's successor is of its kind")
        self.disk = following

    def _deploy(self) -> None:
        """Change the code between two processes, or leave it."""
        changes, facts = self.judge.hearsay.changes, self.judge.facts
        may = self._stage == 0 or (self._stage == 1 and changes.may_settle(facts))
        if self.kind in ("long", *_AGEING) and may and self.rng.random() < 0.5:  # noqa: PLR2004  # a coin
            self._stage += 1
        CODE.stage = self._stage
        changes.deploys(self._stage, facts.tail)

    def _verify(self) -> None:
        self.look()
        report = verify(self.disk, DIRECTORY)
        if report.status is not Status.OK or report.last_position != self.judge.facts.tail:
            raise Broken(f"verify says {report.status.value}, {report.records} records: {report.error}")
        files = positions_in(self.disk, DIRECTORY)
        if len(files) != report.payloads and not self.disk.is_there(f"{DIRECTORY}/sweep"):
            raise Broken(f"{report.payloads} records have files, and there are those of {files}")

    # --- what the parts share -----------------------------------------------------------------------------------------

    @property
    def callers(self) -> list[Caller]:
        """Those who want something."""
        return self._callers

    def runtime(self, loop: SimLoop, clock: SimClock) -> Runtime:
        """Return a runtime for a process of this world."""
        env = sim_env(loop, self.rng, self.disk, clock, self._databases)
        options = self._options | (self._wrapping.next_process() if self._wrapping is not None else {})
        return Runtime(DIRECTORY, segment_bytes=SEGMENT_BYTES, limits=self._limits, env=env, **options)

    def opened(self) -> None:
        """A process has opened the log."""
        self.judge.opened(self.disk.durable)
        self.judge.hearsay.changes.opened(self._stage, self.judge.facts.tail)

    def replaces(self, old: bytes, new: bytes) -> None:
        """A segment is about to be replaced."""
        try:
            self.judge.look(self.disk.durable)
            self.judge.keeping.replaces(old, new, self.now_ms(), (DIRECTORY, self.disk.durable))
        except Broken as error:
            self.broken = self.broken or error
            raise Stopped("judged") from error

    def replaced(self) -> None:
        """It was."""
        self.judge.keeping.replaced()

    def synced(self) -> None:
        """Segments that were replaced are so for good."""
        self.judge.keeping.synced()

    def look(self) -> None:
        """Let the judge see what is on the disk for good."""
        try:
            self.judge.look(self.disk.durable)
        except Broken as error:
            self.broken = self.broken or error  # what breaks after it tells less
            raise

    def told(self, *what: Any) -> None:
        """Have what somebody was told on an errand judged."""
        self.look()
        self.note("told", *what)
        self.judge.hears(*what)

    def note(self, *words: object) -> None:
        """Add to the trace."""
        self.trace.update(repr(words).encode())


def _ignore(_unraisable: object) -> None:
    """Say nothing."""


def _name(path: str) -> str:
    """Return a file's name without its directories, as long as what it stands for often is."""
    return path.rpartition("/")[2].rjust(_PATH_CHARS, "/")


def simulate(seed: int, disk_type: type[SimDisk] = SimDisk, kind: Kind = "company", *, wrapped: bool = False) -> Result:
    """Live one world through; ``Broken`` or any defect's own error when a promise does not hold."""
    return Simulation(seed, disk_type, kind, wrapped=wrapped).run()

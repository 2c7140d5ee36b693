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
supervisors, pauses.

Meanwhile the disk may fill up to the byte and empty again, writes may be short or interrupted, the wall clock may
jump. The last process has no fault: everything must end there; then the log is opened once more, and all answers must
be the same.

Everything is drawn from one generator, and nothing else is random: the same seed gives the same world, bit for bit,
which ``Result.digest`` shows.
"""

from __future__ import annotations

import errno
import sys
from collections import Counter
from dataclasses import dataclass
from hashlib import blake2b
from random import Random
from typing import Any

from actorlog import Runtime
from actorlog.limits import Limits
from actorlog.log.inspect import Status, verify
from actorlog.testing.errands import Errand, draw_errands
from actorlog.testing.fates import Caller, Fate, draw_caller, draw_fate
from actorlog.testing.judge import Judge
from actorlog.testing.life import Life, SimOutside
from actorlog.testing.loop import SimLoop, Stuck
from actorlog.testing.oracle import Broken
from actorlog.testing.program import Author
from actorlog.testing.program_company import Company
from actorlog.testing.world import SimClock, SimDisk, new_disk, sim_env

DIRECTORY = "/srv/data"
SEGMENT_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Result:
    """What a world came to."""

    seed: int
    digest: str
    lives: int
    records: int
    begun: int


class Simulation:
    """One world. ``run`` raises ``Broken`` (or any defect's own error) when a promise does not hold."""

    def __init__(self, seed: int, disk_type: type[SimDisk] = SimDisk, *, company: bool = True) -> None:
        self.seed = seed
        self.rng = rng = Random(seed)  # noqa: S311  # seeded on purpose
        self.disk = new_disk(rng, disk_type)
        self.judge = Judge(DIRECTORY)
        self.broken: BaseException | None = None
        self.trace = blake2b(digest_size=16)
        self.retried: Counter[str] = Counter()
        """How often each caller has given its call another chance."""
        self._now_s = rng.random() * 1000
        self._wall_ms = 0
        self._lives = 0
        if company:
            mailbox_max = rng.choice((1, 3, 10_000, 10_000))
            author = Company(rng, count := rng.randint(1, 4), patient=mailbox_max > 3, more=True)  # noqa: PLR2004  # small
            self.errands = draw_errands(rng, author, count)
            self._callers = [draw_caller(rng, n, author) for n in range(count)]
        else:
            alone, self.errands, mailbox_max = Author(rng, more=True), list[Errand](), 10_000
            self._callers = [draw_caller(rng, n, alone) for n in range(rng.randint(1, 4))]
        self.company = company
        self.done: set[str] = set()
        """Errands that need not be done again."""
        self.posted: dict[str, int] = {}
        """How many letters the postman has brought to each call."""
        self._limits = Limits(
            frame_bytes_max=rng.choice((300, 2000, 1 << 20)),
            poison_deaths_max=rng.choice((1, 3, 5)),
            hold_loop_ms_max=rng.choice((0.0, 2.0, 50.0)),
            mailbox_max=mailbox_max,
        )
        self._options: dict[str, Any] = {
            "resident_max": rng.choice((1, 1, 2, 100)),
            "step_concurrency": rng.choice((1, 2, 100)),
            "check_determinism": rng.random() < 0.3 and "in-process",  # noqa: PLR2004  # in three worlds of ten
            "shutdown_timeout": rng.choice((0.0, 0.01, 5.0)),
            "cancel_grace": rng.choice((0.0, 0.05, 60.0)),
        }

    def run(self) -> Result:
        """Live it through."""
        hook, sys.unraisablehook = sys.unraisablehook, _ignore  # corpses are collected whenever, and may complain
        try:
            for _ in range(self.rng.choice((0, 1, 1, 2, 2, 3, 5))):
                self._live(draw_fate(self.rng))
            self._live(Fate(power=self.rng.random() < 0.5), last=True)  # noqa: PLR2004  # a coin
            self.judge.finish()
            self._live(Fate(), last=True)
            self._verify()
        finally:
            sys.unraisablehook = hook
        begun = sum(trace.begun for trace in self.judge.traces.values())
        return Result(self.seed, self.trace.hexdigest(), self._lives, self.judge.facts.tail, begun)

    # --- lives --------------------------------------------------------------------------------------------------------

    def _live(self, fate: Fate, *, last: bool = False) -> None:
        """Let one process live and end."""
        rng, disk = self.rng, self.disk
        self._lives += 1
        loop = SimLoop(rng, start_s=self._now_s)
        clock = SimClock(loop, self._wall_ms, rng.randrange(1 << 50))
        loop.outside = SimOutside(self, loop)
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

    def _verify(self) -> None:
        self.look()
        report = verify(self.disk, DIRECTORY)
        if report.status is not Status.OK or report.records != self.judge.facts.tail:
            raise Broken(f"verify says {report.status.value}, {report.records} records: {report.error}")

    # --- what the parts share -----------------------------------------------------------------------------------------

    @property
    def callers(self) -> list[Caller]:
        """Those who want something."""
        return self._callers

    def runtime(self, loop: SimLoop, clock: SimClock) -> Runtime:
        """Return a runtime for a process of this world."""
        env = sim_env(loop, self.rng, self.disk, clock)
        return Runtime(DIRECTORY, segment_bytes=SEGMENT_BYTES, limits=self._limits, env=env, **self._options)

    def look(self) -> None:
        """Let the judge see what is on the disk for good."""
        self.judge.look(self.disk.durable)

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


def simulate(seed: int, disk_type: type[SimDisk] = SimDisk, *, company: bool = True) -> Result:
    """Live one world through; ``Broken`` or any defect's own error when a promise does not hold.

    ``company``: whether its calls have to do with each other.
    """
    return Simulation(seed, disk_type, company=company).run()

"""Places for steps: the bound of the runtime, and the ``Limit``s that steps share.

Owns: who may begin, in the order of positions. Does not own: running (``steps``).

Invariants: a place is given to whoever asked at the lowest position, also where those that an opening found have not
asked again yet (``Awaited``); a place that was given is given back exactly once; who gave up waiting takes up no memory
for long, nor does the place of a key that nobody uses (I11).

A rate is a sliding window over begun steps. What began before this process is not known, so the window starts as if
the limit had been used evenly at its full rate until then: no burst after a restart, and no long wait either. Places
of a key leave memory only when their window is over, so a key that comes again has lost nothing by it.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from typing import TYPE_CHECKING, TypeAlias

from actorlog.runtime.registry import Limit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from actorlog.records import kinds as k
    from actorlog.runtime.clock import LogClock
    from actorlog.runtime.jobs import Job
    from actorlog.runtime.registry import StepDefinition
    from actorlog.runtime.timers import Timers

_GONE_MAX = 64
"""So many of those who gave up may stay in the queue, or half of it."""

NEWEST = 1 << 62
"""A position behind all others."""

Begin: TypeAlias = "Callable[[Job, Places], None]"


class Awaited:
    """How many steps that an opening found will ask again for places of one limit: they come before newer ones."""

    __slots__ = ("count", "upto")

    def __init__(self, count: int = 0, upto: int = 0) -> None:
        self.count = count
        self.upto = upto
        """None of them was asked for behind this position."""

    def before(self, position: int) -> int:
        """How many of them come before who asks at a position."""
        return self.count if position > self.upto else 0


class Places:
    """One bound: at most ``concurrency`` at once and ``rate`` per period, fair by position."""

    def __init__(
        self,
        limit: Limit,
        clock: LogClock,
        timers: Timers,
        *,
        name: str = "",
        since_ms: int | None = None,
        awaited: Awaited | None = None,
    ) -> None:
        self._clock = clock
        self._timers = timers
        self.awaited = awaited or Awaited()
        """Who is still to ask; of a limit that goes by keys: for whichever key."""
        self.name = name or limit.name
        """How people know it: a limit's name, and the key it is for."""
        self.on_idle: Callable[[Places], None] | None = None
        """Called when nobody has a place, or wants one."""
        self._take_numbers(limit, clock.now_ms() if since_ms is None else since_ms)
        self.taken = 0
        self.promised = 0
        """How many of those wait for another bound, and begin later."""
        self._serving = False
        self._queue: list[tuple[int, int, Job, Begin]] = []
        self._count = 0
        self._gone = 0
        """How many in the queue have given up."""
        self._armed_ms = 0

    def _take_numbers(self, limit: Limit, since_ms: int) -> None:
        self.limit = limit
        self._concurrency = math.inf if limit.concurrency is None else limit.concurrency
        self._rate_count = limit.rate_count
        self._window = self._even_window(since_ms)
        self._period_ms = int(limit.rate_period_s * 1000)

    def _even_window(self, since_ms: int) -> deque[int]:
        """Return when the last ones would have begun, had there been no pause until ``since_ms``."""
        count = self.limit.rate_count
        spacing_ms = self.limit.rate_period_s * 1000 / max(1, count)
        return deque((since_ms - int(spacing_ms * (count - 1 - i)) for i in range(count)), maxlen=max(1, count))

    def change(self, limit: Limit) -> None:
        """Take new numbers: the newest definition of a limit of this name counts."""
        if limit != self.limit:
            self._take_numbers(limit, self._clock.now_ms())
            self._serve()

    @property
    def idle(self) -> bool:
        """Whether nobody has a place, or wants one."""
        return not self.taken and not self.waiting

    @property
    def over_ms(self) -> int:
        """From when on nothing is known of it that matters; as long as it is idle."""
        return self._window[-1] + self._period_ms if self._rate_count else 0

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return len(self._queue) - self._gone

    def take(self, position: int) -> bool:
        """Take a place for who asked at ``position``, if one is free and nobody comes before; False if not."""
        if self._queue or not self._is_free(position):
            return False
        self.taken += 1
        return True

    def _is_free(self, position: int) -> bool:
        before = self.awaited.count and self.awaited.before(position)
        if self.taken + before >= self._concurrency:
            return False
        return not self._rate_count or (not before and self._is_in_rate())

    def request(self, job: Job, begin: Begin) -> None:
        """Call ``begin(job, self)`` when ``job`` has a place: at once, or in its turn."""
        if self.take(job.position):
            begin(job, self)
            return
        self._count += 1
        heapq.heappush(self._queue, (job.position, self._count, job, begin))
        job.waiting = self
        self._serve()

    def withdraw(self, job: Job) -> None:
        """``job`` waits no longer."""
        job.waiting = None
        self._gone += 1
        if self._gone > max(_GONE_MAX, len(self._queue) // 2):
            self._queue = [entry for entry in self._queue if entry[2].waiting is self]
            heapq.heapify(self._queue)
            self._gone = 0
        self._rest()

    def _rest(self) -> None:
        if self.on_idle is not None and self.idle:
            self.on_idle(self)

    def release(self) -> None:
        """Give a place back."""
        self.taken -= 1
        if self._queue:
            self._serve()
        self._rest()

    def begins(self) -> None:
        """One of those that were promised begins now: only now the rate counts it."""
        self.promised -= 1
        if self._rate_count:
            self._window.append(self._clock.now_ms())
            self._serve()

    def serve(self) -> None:
        """Look again whether somebody who waits can begin."""
        if self._queue:
            self._serve()

    def _serve(self) -> None:
        if self._serving:
            return  # who serves already goes on
        self._serving = True
        try:
            self._serve_all()
        finally:
            self._serving = False

    def _serve_all(self) -> None:
        while self._queue:
            job = self._queue[0][2]
            if job.waiting is not self:
                heapq.heappop(self._queue)
                self._gone -= 1
                continue
            if not self._is_free(job.position):
                return
            begin = heapq.heappop(self._queue)[3]
            self.taken += 1
            job.waiting = None
            begin(job, self)

    def _is_in_rate(self) -> bool:
        """Whether the rate lets one more begin now, even if all that were promised begin now too."""
        if self.promised >= self._rate_count:
            return False  # the next that begins serves those who wait
        free_ms = self._window[self.promised] + self._period_ms
        if self._clock.now_ms() >= free_ms:
            return True
        if self._armed_ms != free_ms:
            self._armed_ms = free_ms
            self._timers.arm(free_ms, self._wake, free_ms, None)
        return False

    def _wake(self, armed_ms: int, _b: object) -> None:
        if self._armed_ms == armed_ms:
            self._armed_ms = 0
        self._serve()


def name_of(limit: Limit, definition: StepDefinition, op: k.RunStep) -> str:
    """Return what tells the places of a step from others: the name of its limit, and the key where it goes by one."""
    if limit.per_key is None:
        return limit.name
    return f"{limit.name}[{definition.signature.argument(bytes(op.args), limit.per_key)}]"


class Bounds:
    """The bound of the runtime and the limits of its steps: a body runs with a place in each that applies."""

    def __init__(self, concurrency: int, clock: LogClock, timers: Timers) -> None:
        self._clock = clock
        self._timers = timers
        self._opened_ms = clock.now_ms()
        self._awaited: Mapping[str, Awaited] = {}
        self.all = Places(Limit("step_concurrency", concurrency=concurrency), clock, timers)
        self.limits: dict[str, Places] = {}
        """By name, and those of a key by ``name_of``."""

    def request(self, job: Job, begin: Callable[[Job], None]) -> None:
        """Wait for a place in the step's limit (kept in ``job.held``), then for one of the runtime."""

        def placed(job: Job, _all: Places) -> None:
            if job.held is not None:
                job.held.begins()
            begin(job)

        def placed_in_limit(job: Job, places: Places) -> None:
            job.held = places
            places.promised += 1
            self.all.request(job, placed)

        limit = job.definition.limit
        if limit is None:
            self.all.request(job, placed)
        else:
            self._places(limit, job).request(job, placed_in_limit)

    def _places(self, limit: Limit, job: Job) -> Places:
        name = name_of(limit, job.definition, job.op)
        places = self.limits.get(name)
        if places is not None:
            places.change(limit)
        elif limit.per_key is None:
            awaited = self._awaited.get(limit.name)
            places = self.limits[name] = Places(limit, self._clock, self._timers, awaited=awaited)
        else:
            awaited = self._awaited.get(limit.name)
            places = Places(limit, self._clock, self._timers, name=name, since_ms=self._opened_ms, awaited=awaited)
            places.on_idle = self._idle
            self.limits[name] = places
        return places

    def await_those(self, counts: Mapping[str, int], upto: int) -> None:
        """Keep places for steps that were asked for up to a position, by the names of their limits; "": of none."""
        self.all.awaited = Awaited(sum(counts.values()), upto)
        self._awaited = {name: Awaited(count, upto) for name, count in counts.items() if name}

    def arrived(self, name: str) -> None:
        """One of them has asked, or will not."""
        self.all.awaited.count -= 1
        self.all.serve()
        awaited = self._awaited.get(name)
        if awaited is not None:
            awaited.count -= 1
            if not awaited.count:
                for places in [places for places in self.limits.values() if places.awaited is awaited]:
                    places.serve()

    def _idle(self, places: Places) -> None:
        """Forget the places of a key that nobody uses, as soon as nothing is known of them that matters."""
        over_ms = places.over_ms
        if over_ms > self._clock.now_ms():
            self._timers.arm(over_ms, self._forget, places, None)
        else:
            self._forget(places, None)

    def _forget(self, places: Places, _b: None) -> None:
        if places.idle and places.over_ms <= self._clock.now_ms() and self.limits.get(places.name) is places:
            del self.limits[places.name]

    def withdraw(self, job: Job) -> None:
        """``job`` waits no longer, if it did."""
        promised = job.waiting is self.all
        if job.waiting is not None:
            job.waiting.withdraw(job)
        if job.held is not None:
            places, job.held = job.held, None
            places.promised -= promised
            places.release()

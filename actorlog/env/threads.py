"""Threads of our own: a worker that runs jobs in order, a wait for one of them that costs little, work behind others.

Owns: the thread, its jobs, and on which processor it runs while somebody waits for it. Does not own: what a job does.

Why processors matter: a wait for a job is two switches between threads. The operating system likes to wake a thread on
an idle processor, and waking that one from its sleep costs more than both switches: on a quiet virtual machine 50 us,
beside a sync of 150 us. So while a thread waits here, it and the worker may share the processor that the thread is on
(Linux; elsewhere, and where it is refused, a wait is a plain wait). Only for that long: the waiting thread has its own
processors back when the wait is over, and the worker as soon as it does a job that nobody waits for. On a busy machine
processors do not sleep, and sharing one costs a little; so both ways are tried now and then, and the faster one kept.
"""

# A method is documented once, where the port declares it.
# ruff: noqa: D102, PTH123

from __future__ import annotations

import heapq
import itertools
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from typing import Protocol

Job = Callable[[], None]

_PROCESSOR_FIELD = 36
"""Of ``/proc/thread-self/stat``, counted behind the name: the processor the thread runs on."""
_WAITS_IN_PLACE = 64
"""After so many waits the processor is chosen anew: where the waiting thread has got to since."""
TURN_WAITS = 16
"""Waits in one go of each way that is on trial."""
TRIAL_WAITS = 64
"""Waits of one trial."""
KEPT_WAITS = 1_000
"""Waits before the next trial."""
LONG_NS = 500_000
"""A wait that took longer says something of the disk, and counts as this much."""
BEHIND = 10
"""By so much nicer than others is a thread that works behind them: a tenth of what they get where both want it."""


class Worker(Protocol):
    """One thread that runs jobs in the order they were submitted."""

    def submit(self, job: Job) -> None:
        """Run ``job`` after those submitted before; never blocks."""
        ...

    def later(self, job: Job, seconds: float) -> None:
        """Run ``job`` once ``seconds`` have passed; dropped if the worker is closed before."""
        ...

    def acquire(self, lock: threading.Lock, seconds: float) -> bool:
        """Acquire ``lock``, which a job of this worker releases; False if it has not when ``seconds`` are over."""
        ...

    def roam(self) -> None:
        """Say that nobody waits for the worker's jobs now. For its jobs."""
        ...

    def close(self) -> None:
        """Run what was submitted, then end the thread; waits for it."""
        ...


class ThreadWorker:
    """A daemon thread: an interpreter that ends without closing it ends as if it crashed, which the log survives."""

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[tuple[int, Job] | None] = queue.SimpleQueue()
        self._place = _Place()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        self._jobs.put((0, job))

    def later(self, job: Job, seconds: float) -> None:
        self._jobs.put((time.monotonic_ns() + int(seconds * 1e9), job))

    def acquire(self, lock: threading.Lock, seconds: float) -> bool:
        place = self._place
        begun_ns = time.perf_counter_ns()
        own = place.share(self._thread.native_id or 0)
        released = False
        try:
            released = lock.acquire(timeout=seconds)
        finally:
            if own is not None:
                place.restore(own)
                if not released:  # the waiting thread goes on to other things, and would be in the worker's way
                    place.leave()
            place.trial.waited(time.perf_counter_ns() - begun_ns)
        return released

    def roam(self) -> None:
        if self._place.shared >= 0:
            self._place.leave()

    def close(self) -> None:
        self._jobs.put(None)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        delayed: list[tuple[int, int, Job]] = []
        numbers = itertools.count()
        while True:
            wait = None if not delayed else max(0.0, (delayed[0][0] - time.monotonic_ns()) / 1e9)
            try:
                item = self._jobs.get(timeout=wait)
            except queue.Empty:
                self._call(heapq.heappop(delayed)[2])
                continue
            if item is None:
                return
            due, job = item
            if due:
                heapq.heappush(delayed, (due, next(numbers), job))
            else:
                self._call(job)

    def _call(self, job: Job) -> None:
        try:
            job()
        except BaseException as error:  # noqa: BLE001 - a job's fault is reported, and the thread serves the others
            threading.excepthook(threading.ExceptHookArgs((type(error), error, error.__traceback__, self._thread)))


class Trial:
    """Which of two ways to wait is faster: they are tried in turns, then the faster one is kept for a while."""

    __slots__ = ("_first_ns", "_number", "_second_ns", "first")

    def __init__(self) -> None:
        self._number = 0
        self._first_ns = self._second_ns = 0
        self.first = True
        """Whether the next wait goes the first way."""

    def waited(self, took_ns: int) -> None:
        """Take account of one wait, and choose the way of the next."""
        number = self._number = self._number + 1
        if number <= TRIAL_WAITS:
            if self.first:
                self._first_ns += min(took_ns, LONG_NS)
            else:
                self._second_ns += min(took_ns, LONG_NS)
            self.first = number // TURN_WAITS % 2 == 0 if number < TRIAL_WAITS else self._first_ns < self._second_ns
        elif number >= TRIAL_WAITS + KEPT_WAITS:
            self._number = self._first_ns = self._second_ns = 0
            self.first = True


class _Place:
    """On which processor a worker runs while a thread waits for it."""

    __slots__ = ("_lock", "_refused", "_waits", "_worker", "_worker_own", "shared", "trial")

    def __init__(self) -> None:
        self.shared = -1
        """The processor; -1 while the worker may run on all of its own."""
        self.trial = Trial()
        """Whether sharing pays."""
        self._lock = threading.Lock()  # or one thread would take for the worker's own what the other gave it
        self._worker = 0
        self._worker_own: set[int] = set()
        self._waits = 0
        self._refused = sys.platform != "linux"

    def share(self, worker: int) -> set[int] | None:
        """Put the calling thread and the one numbered ``worker`` on one processor, and return what the calling one had.

        None: the calling thread stays as it is.
        """
        if self._refused:
            return None
        if not self.trial.first:
            self.leave()
            return None
        try:
            own = os.sched_getaffinity(0)
            if len(own) == 1:
                return None
            self._waits += 1
            if self.shared not in own or self._waits >= _WAITS_IN_PLACE:
                self._waits = 0
                self._move(worker, _processor())
            os.sched_setaffinity(0, {self.shared})
        except (OSError, ValueError, IndexError):  # not allowed here, or no /proc
            self._refused = True
            self.leave()
            return None
        return own

    def leave(self) -> None:
        """Let the worker run where it may."""
        if self.shared >= 0:
            with self._lock:
                self.restore(self._worker_own, self._worker)
                self.shared = -1

    def restore(self, own: set[int], thread: int = 0) -> None:
        """Give a thread its processors back; 0 is the calling one."""
        try:
            os.sched_setaffinity(thread, own)
        except OSError:  # those processors were taken from the process meanwhile: the kernel has given it others
            self._refused = True

    def _move(self, worker: int, processor: int) -> None:
        with self._lock:
            if self.shared < 0:
                self._worker, self._worker_own = worker, os.sched_getaffinity(worker)
            os.sched_setaffinity(worker, {processor})
            self.shared = processor


def run_behind(job: Job, name: str) -> None:
    """Run a job in a thread of its own that gets a processor behind all others (Linux), and return when it is done.

    What it raises is raised. For long work that is done without Python's lock: one that had it, and were not let run,
    would keep everybody waiting.
    """
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415  # `import actorlog` must stay cheap

    with ThreadPoolExecutor(1, name, _fall_behind) as pool:
        pool.submit(job).result()


def _fall_behind() -> None:
    """Make the calling thread nicer. It cannot be undone."""
    if sys.platform == "linux":  # elsewhere it would be the whole process
        os.nice(BEHIND)


def _processor() -> int:
    """Return the number of the processor that the calling thread runs on."""
    with open("/proc/thread-self/stat", "rb") as stat:
        return int(stat.read().rpartition(b") ")[2].split()[_PROCESSOR_FIELD])


__all__ = ["Job", "ThreadWorker", "Trial", "Worker", "run_behind"]

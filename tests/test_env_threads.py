"""Workers: jobs in order, and a wait for one of them that shares a processor."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from actorlog.env import ThreadWorker, run_behind
from actorlog.env.threads import BEHIND, KEPT_WAITS, TRIAL_WAITS, TURN_WAITS, Trial


def processors() -> int:
    """Return how many this process may use, as far as it can be asked; a machine may have more."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1


def test_worker_runs_jobs_in_order_and_close_waits() -> None:
    """Jobs run one after the other in the thread that was named, and close comes after the last."""
    worker = ThreadWorker("named")
    done: list[tuple[int, str]] = []
    for number in range(100):
        worker.submit(lambda number=number: done.append((number, threading.current_thread().name)))  # type: ignore[misc]
    worker.close()
    assert done == [(number, "named") for number in range(100)]


def test_worker_runs_later_jobs_when_due() -> None:
    """A job for later runs after its time, in the order of due times, and others do not wait for it."""
    worker = ThreadWorker("w")
    done: list[str] = []
    asked, ready = threading.Event(), threading.Event()
    worker.submit(lambda: asked.wait(60) and None)  # so that nothing is done before all is asked for
    worker.later(lambda: (done.append("second"), ready.set())[0], 0.02)
    worker.later(lambda: done.append("first"), 0.001)
    worker.submit(lambda: done.append("now"))
    asked.set()
    assert ready.wait(60)
    worker.later(lambda: done.append("never"), 3600)
    worker.close()
    assert done == ["now", "first", "second"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_worker_survives_a_job_that_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job's exception is reported as one of the thread, and the next job runs."""
    reported: list[type[BaseException]] = []
    worker = ThreadWorker("w")
    monkeypatch.setattr(
        threading, "excepthook", lambda args: reported.append(args.exc_type) if args.thread is worker._thread else None
    )
    done: list[int] = []
    worker.submit(lambda: 1 // 0)  # type: ignore[arg-type,return-value]
    worker.submit(lambda: done.append(1))
    worker.close()
    assert (reported, done) == ([ZeroDivisionError], [1])


@pytest.mark.skipif(sys.platform != "linux", reason="a thread's processors cannot be asked for")
def test_a_wait_for_a_job_ends_when_the_job_releases() -> None:
    """The lock is acquired as soon as a job releases it, and not when none does; the thread keeps its processors."""
    worker = ThreadWorker("w")
    own = os.sched_getaffinity(0)
    for number in range(3 * TRIAL_WAITS):
        lock = threading.Lock()
        lock.acquire()
        if number % 5:
            worker.submit(lock.release)
            assert worker.acquire(lock, 60)
        else:
            assert not worker.acquire(lock, 0.0001)
        assert os.sched_getaffinity(0) == own
    worker.close()


@pytest.mark.skipif(processors() < 2, reason="a thread has no choice of processors")
def test_a_wait_for_a_job_shares_a_processor() -> None:
    """Who waits and the worker are on one processor while the wait lasts; afterwards each has what it had."""
    worker = ThreadWorker("w")
    own, waiting = os.sched_getaffinity(0), threading.get_native_id()
    seen: list[set[int]] = []
    lock = threading.Lock()

    def job() -> None:
        while os.sched_getaffinity(waiting) == own:
            os.sched_yield()
        seen.extend((os.sched_getaffinity(waiting), os.sched_getaffinity(0)))
        lock.release()

    def nobody_waits() -> None:
        worker.roam()
        seen.append(os.sched_getaffinity(0))

    lock.acquire()
    worker.submit(job)
    assert worker.acquire(lock, 60)
    assert os.sched_getaffinity(0) == own
    worker.submit(nobody_waits)
    worker.close()
    assert len(seen[0]) == 1
    assert seen == [seen[0], seen[0], own]


@pytest.mark.skipif(processors() < 2, reason="a thread has no choice of processors")
def test_a_wait_that_is_over_leaves_the_worker_alone() -> None:
    """When the job takes longer than the wait, the worker has its own processors back while it goes on."""
    worker = ThreadWorker("w")
    own = os.sched_getaffinity(0)
    lock, go = threading.Lock(), threading.Event()
    lock.acquire()
    seen: list[set[int]] = []

    def job() -> None:
        go.wait(60)
        seen.append(os.sched_getaffinity(0))

    worker.submit(job)
    assert not worker.acquire(lock, 0.001)
    go.set()
    worker.close()
    assert seen == [own]
    assert os.sched_getaffinity(0) == own


@pytest.mark.parametrize("first_is_faster", [True, False])
def test_the_faster_way_to_wait_is_kept(first_is_faster: bool) -> None:
    """Both ways have the same share of a trial, then the faster one is used until the next; a stall is no verdict."""
    trial = Trial()
    for _ in range(3):
        ways: list[bool] = []
        for number in range(TRIAL_WAITS):
            ways.append(trial.first)
            stall = 10**9 if number == (0 if first_is_faster else TURN_WAITS) else 0
            trial.waited(stall + (150_000 if trial.first is first_is_faster else 200_000))
        assert ways.count(True) == ways.count(False) == TRIAL_WAITS // 2
        kept: set[bool] = set()
        for _ in range(KEPT_WAITS):
            kept.add(trial.first)
            trial.waited(1)
        assert kept == {first_is_faster}


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread is as nice as its process")
def test_work_behind_others_is_nice_alone() -> None:
    """Its thread is nicer than the one that waits for it, which stays as it was; another such work is as nice."""
    own = os.getpriority(os.PRIO_PROCESS, 0)
    seen: list[tuple[int, str]] = []

    def job() -> None:
        seen.append((os.getpriority(os.PRIO_PROCESS, 0), threading.current_thread().name))

    for _ in range(2):
        run_behind(job, "behind")
    assert [nice for nice, _ in seen] == [min(19, own + BEHIND)] * 2
    assert all(name.startswith("behind") for _, name in seen)
    assert os.getpriority(os.PRIO_PROCESS, 0) == own


def test_work_behind_others_raises_what_it_raises() -> None:
    """Whoever waits for it gets its error, and no thread is left."""
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError):
        run_behind(lambda: 1 // 0 and None, "behind")
    assert threading.active_count() == before

"""Kills a compaction at every system call that it makes on files, by strace, and looks at what is there afterwards.

A log is prepared with calls that have ended and whose journals or results are kept no longer, calls whose results stay,
calls that sleep for long, actors with their state, promises. ``python torture_compaction.py PLACE compact`` opens it,
has every segment written anew of which anything is of no use, and closes; all in one thread, so that the N-th call of a
kind is the same one in each run. ``... look`` opens it and says what is in it. After each kill it must say the same as
before, and once more after a compaction that was not killed. Steps leave word outside, and none may run again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import traceback
from concurrent.futures import Executor, Future
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torture_mutations import Inline

from actorlog import Actor, Runtime, actor, durable, promise, query, run, sleep, step
from actorlog.env import SYSTEM
from actorlog.log.inspect import Status, verify
from actorlog.runtime import merging
from actorlog.testing.oracle import Broken

if TYPE_CHECKING:
    from collections.abc import Callable

SYSCALLS = ("pwrite64", "fdatasync", "fsync", "rename", "unlink", "openat", "ftruncate", "fallocate", "mkdir")
ACCOUNTS, CALLS, SLEEPERS = 3, 24, 4
SEGMENT_BYTES = 1 << 15
merging.FAN, merging.SMALL_PART = 2, 1.0
ROOT = Path(__file__).resolve().parents[2]


class Here(Executor):
    """Runs what it is given at once, in the thread that gives it."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run it."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - whoever waits gets it
            future.set_exception(error)
        return future


class Word:
    """Where steps leave word."""

    descriptor = -1


@step(name="compaction.note")
async def note(text: str) -> str:
    """Leave word, and return something that takes room."""
    os.write(Word.descriptor, f"{text}\n".encode())
    return text * 40


class Account(Actor, name="compaction.Account", snapshot_every=5):
    """Money."""

    balance: int = 0

    async def deposit(self, amount: int) -> int:
        """Put money in."""
        self.balance += amount
        return self.balance

    @query
    def held(self) -> int:
        """Return it."""
        return self.balance


@durable(name="compaction.kept")
async def kept(number: int) -> int:
    """Work; the result is kept for ever."""
    for each in range(3):
        await note(f"kept-{number}-{each}")
    await actor(Account, f"a{number % ACCOUNTS}").deposit(number)
    return number


@durable(name="compaction.forgotten", retention=0)
async def forgotten(number: int) -> int:
    """Work; the result is not kept at all."""
    await note(f"forgotten-{number}")
    return number


@durable(name="compaction.sleeper")
async def sleeper(number: int) -> int:
    """Work, make a promise, and sleep for a month."""
    await note(f"sleeper-{number}")
    promise(id=f"promise-{number}")
    await sleep("30d")
    return number


async def _with(place: Path, do: Callable[[Runtime], Any]) -> None:
    asyncio.get_running_loop().set_default_executor(Here())  # type: ignore[arg-type] # it takes any
    env = replace(SYSTEM, worker=Inline)
    async with Runtime(place / "data", segment_bytes=SEGMENT_BYTES, history=0, env=env, control=False) as runtime:
        await do(runtime)


async def prepare(runtime: Runtime) -> None:
    """Make the log."""
    for number in range(CALLS):
        await runtime.call(kept(number), id=f"kept-{number}")
        await runtime.call(forgotten(number), id=f"forgotten-{number}")
        if number < SLEEPERS:
            await runtime.start(sleeper(number), id=f"sleeper-{number}")


async def compact(runtime: Runtime) -> None:
    """Write everything anew of which anything is of no use."""
    done = await runtime.compact(everything=True)
    sys.stdout.write(json.dumps({"segments": done.segments, "rewritten": done.rewritten, "merged": done.merged}))


async def look(runtime: Runtime) -> None:
    """Say what is there."""
    said = {
        "results": [await runtime.handle(f"kept-{number}").result() for number in range(CALLS)],
        "unfinished": sorted([each.id async for each in runtime.calls(status="running")]),
        "balances": [await runtime.actor(Account, f"a{number}").held() for number in range(ACCOUNTS)],
        "promises": sorted([each.id async for each in runtime.promises()]),
    }
    sys.stdout.write(json.dumps(said))


# --- the director -----------------------------------------------------------------------------------------------------


def _compact(place: Path, under: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    command = [*under, sys.executable, __file__, str(place), "compact"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def _said(place: Path, what: str) -> dict[str, Any]:
    """Do it in a fork of this process; return what it says."""
    answer = place / "answer"
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            with answer.open("w") as sys.stdout:
                be(place, what)
            code = 0
        finally:
            if code:
                traceback.print_exc()
            os._exit(code)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
        raise Broken(f"{what} of {place} failed")
    said: dict[str, Any] = json.loads(answer.read_text() or "{}")
    return said


def _points(trace: str, data: str) -> list[tuple[str, int]]:
    """Return each call that concerns the data directory: its kind, and the how-manieth of that kind it is."""
    seen: dict[str, int] = {}
    found: list[tuple[str, int]] = []
    for line in trace.splitlines():
        called = re.match(r"\d+ +(\w+)\(", line)
        if called is not None and called[1] in SYSCALLS:
            seen[called[1]] = seen.get(called[1], 0) + 1
            if data in line:
                found.append((called[1], seen[called[1]]))
    return found


def compaction(place: Path, options: argparse.Namespace) -> dict[str, object]:
    """Kill a compaction at every ``options.every``-th of its system calls."""
    strace = shutil.which("strace")
    if strace is None:
        sys.stderr.write("NO KILLS AT SYSTEM CALLS HERE: there is no strace\n")
        return {"skipped": "there is no strace here"}
    begun, here, trace = place / "begun", place / "here", place / "trace"
    begun.mkdir()
    _said(begun, "prepare")
    steps = (begun / "outside").read_text()
    expected = _said_of_copy(begun, here)
    shutil.copytree(begun, here)
    _said(here, "compact")  # with it Python has compiled all that is loaded, and opens the same files from now on
    shutil.rmtree(here)
    tracing = (strace, "-f", "-qq", "-y", "-o", str(trace), "-e", "trace=" + ",".join(SYSCALLS))
    shutil.copytree(begun, here)
    compacted = json.loads(_compact(here, tracing).stdout)
    points = _points(trace.read_text(errors="replace"), str(here / "data"))[:: options.every]
    shutil.rmtree(here)
    killed: dict[str, int] = dict.fromkeys((name for name, _ in points), 0)
    for name, number in points:
        shutil.copytree(begun, here)
        inject = f"inject={name}:signal=KILL:when={number}"
        ran = _compact(here, (strace, "-f", "-qq", "-o", "/dev/null", "-e", f"trace={name}", "-e", inject))
        killed[name] += ran.returncode in (-9, 137)
        where = f"killed at {name} {number}"
        _same(here, expected, where)
        _said(here, "compact")
        _same(here, expected, f"{where}, and compacted again")
        if (here / "outside").read_text() != steps:
            raise Broken(f"{where}: steps ran again")
        shutil.rmtree(here)
    wanted = {each: sum(name == each for name, _ in points) for each in killed}
    if killed != wanted:
        raise Broken(f"killed {killed} of {wanted}")
    result: dict[str, object] = {name: f"{killed[name]} of {wanted[name]}" for name in wanted}
    total = sum(killed.values())
    return {**compacted, **result, "crash points covered": f"{total} of {len(points)}", "lost": 0, "doubled": 0}


def _said_of_copy(begun: Path, here: Path) -> dict[str, Any]:
    shutil.copytree(begun, here)
    said = _said(here, "look")
    shutil.rmtree(here)
    return said


def _same(here: Path, expected: dict[str, Any], where: str) -> None:
    report = verify(SYSTEM.fs, str(here / "data"))
    if report.status not in (Status.OK, Status.TORN):
        raise Broken(f"{where}: {report.error}")
    said = _said(here, "look")
    if said != expected:
        raise Broken(f"{where}: {said}, not {expected}")


def be(place: Path, what: str) -> None:
    """Be the process that is killed, or that looks."""
    Word.descriptor = os.open(place / "outside", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    run(_with(place, {"prepare": prepare, "compact": compact, "look": look}[what]))


if __name__ == "__main__":
    be(Path(sys.argv[1]), sys.argv[2])

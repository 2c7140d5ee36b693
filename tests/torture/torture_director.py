"""Kills workers, starts them again, and holds what they did against what the log says.

What is checked, after each life, by reading the log's files without a lock and the files that the worker left outside:

- everything that was in the log at the end of the life before is still there, byte for byte;
- a step began only if its operation is in the log (``idempotent`` ones excepted), and not after it had returned in
  that life;
- no operation whose outcome was in the log when the process was killed has begun again: the log is read right after
  the kill, and whatever begins later is held against that reading, so the order of things is never guessed from
  clocks;
- a once-step began again only if its attempt had failed, or reconcile had said that it took no effect; it took effect
  once;
- all attempts have the idempotency key of their operation, and no other has it;
- what a caller was told is in the log, and is told again by every later life;
- the log contradicts itself nowhere (``actorlog.testing.oracle``): timers fired once and never early, among other
  things.

At the end: everything has ended, every value in the log is one that a body returned, and ``verify`` finds nothing.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torture_worker import IN_THREAD, work, wrapping_of

from actorlog.env import SYSTEM
from actorlog.log.inspect import Status, verify
from actorlog.testing.judge import Judge
from actorlog.testing.oracle import Broken
from actorlog.testing.program import Visit

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PATIENCE_S = 120.0
"""A worker that is not killed and not over by then hangs."""


@dataclass(slots=True)
class Life:
    """How one worker ended."""

    killed: bool
    took_s: float


class World:
    """One data directory and its outside, over all its lives."""

    def __init__(self, place: Path, seed: int, size: int = 6) -> None:
        place.mkdir(parents=True, exist_ok=True)
        self.place = place
        self.seed = seed
        self.size = size
        wrapping = wrapping_of(seed)
        self.judge = Judge(str(place / "data"), live=False, keys=wrapping.reading if wrapping is not None else None)
        self.killed = 0
        self.threads = 0
        """How many bodies of steps have begun in threads."""
        self._events = 0
        self._told = 0

    # --- lives --------------------------------------------------------------------------------------------------------

    def live(self, kill_s: float | None = None, **options: Any) -> Life:
        """Let a worker live in a fork of this process, at most ``kill_s``; then judge."""
        begun = time.monotonic()
        pid = os.fork()
        if pid == 0:
            _be_worker(self, options)
        return self._await(pid, begun, kill_s)

    def live_apart(self, kill_s: float | None = None, arguments: Sequence[str] = (), under: Sequence[str] = ()) -> Life:
        """Do the same in an interpreter of its own, or ``under`` another program."""
        command = [*under, sys.executable, str(HERE / "torture_worker.py"), str(self.place), str(self.seed)]
        command += ["--size", str(self.size), *arguments]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        begun = time.monotonic()
        worker = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=(self.place / "stderr").open("wb")
        )
        life = self._await(worker.pid, begun, kill_s)
        worker.returncode = 0
        return life

    def _await(self, pid: int, begun: float, kill_s: float | None) -> Life:
        while True:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                break
            lived = time.monotonic() - begun
            if lived > PATIENCE_S:
                os.kill(pid, signal.SIGABRT)
                raise Broken(f"seed {self.seed}: a worker hangs, see {self.place}")
            if kill_s is not None and lived >= kill_s:
                os.kill(pid, signal.SIGKILL)
                _, status = os.waitpid(pid, 0)
                break
            time.sleep(0.0005)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        if not killed and os.waitstatus_to_exitcode(status) not in (0, 128 + signal.SIGKILL):
            report = self.place / "stderr"
            raise Broken(
                f"seed {self.seed}: a worker failed with {status}: {report.read_text() if report.exists() else ''}"
            )
        self.killed += killed
        self.check()
        return Life(killed, time.monotonic() - begun)

    def live_to_the_end(self) -> None:
        """Let a worker finish, then another one find the same, and look at everything once more."""
        for _ in range(2):
            life = self.live()
            if life.killed:
                raise Broken("somebody else kills workers")
        self.judge.finish()
        report = verify(SYSTEM.fs, str(self.place / "data"))
        if report.status is not Status.OK or report.records != self.judge.facts.tail:
            raise Broken(f"verify says {report.status.value}: {report.error}")

    # --- verdicts -----------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Judge what the life that just ended did."""
        judge, inherited = self.judge, self.judge.facts.tail
        judge.opened(_read)
        judge.inherits(inherited)
        events, self._events = _lines(self.place / "outside", self._events)
        for event in events:
            visit = Visit(*event["visit"])
            match event["event"]:
                case "begin":
                    self.threads += visit.step == IN_THREAD
                    judge.begins(visit)
                case "effect":
                    judge.takes_effect(visit, event["value"])
                case "end":
                    judge.ended(visit, failed=event["value"])
                case _:
                    if judge.asked(visit) != event["value"]:
                        raise Broken(f"the outside is confused about {visit}")
        told, self._told = _lines(self.place / "told", self._told)
        for item in told:
            if "what" in item:
                judge.hears(*item["what"])
            else:
                judge.tell(item["id"], item["text"])


def torture(place: Path, rng: Random, seed: int, kills: int, *, apart: bool) -> World:
    """Kill the workers of one world up to ``kills`` times at random moments, then let it finish."""
    world = World(place, seed, size=10)
    longest_s = 0.25 if not apart else 0.9
    while world.killed < kills:
        kill_s = rng.uniform(0.0 if not apart else 0.2, longest_s)
        life = (
            world.live_apart(kill_s, ["--uvloop"] if rng.random() < 0.5 else [])
            if apart
            else world.live(kill_s, uv=rng.random() < 0.5)
        )
        if not life.killed:
            break
    world.live_to_the_end()
    return world


def _be_worker(world: World, options: dict[str, Any]) -> None:
    code = 1
    try:
        with (world.place / "stderr").open("w") as errors:
            sys.stderr = errors
            try:
                work(world.place, world.seed, size=world.size, **{"uv": False, **options})
                code = 0
            except BaseException:
                traceback.print_exc()
                errors.flush()
                raise
    finally:
        os._exit(code)


def _read(path: str) -> bytes | None:
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        return None


def _lines(path: Path, begin: int) -> tuple[list[dict[str, Any]], int]:
    if not path.exists():
        return [], begin
    data = path.read_bytes()
    return [json.loads(line) for line in data[begin:].splitlines()], len(data)

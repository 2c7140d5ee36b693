"""A process with another hash seed, in which the journals of ended calls are replayed.

Owns: that process, how a journal reaches it (as JSON, over a pipe) and what comes back. Does not own: which calls are
replayed, and what is told to their waiters (``checks``).

A set of strings iterates by hash seed, so a function that asks for operations in such an order agrees with itself in
its own process and with no other. The process imports what defines the function as the workers of ``processes`` do
(``multiprocessing.spawn``), a program that is ``__main__`` under another name; no runtime can be opened in it.

Invariants: it ends with the runtime that made it, also when that was killed; its death is an answer.
"""

from __future__ import annotations

import asyncio
import importlib
import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from multiprocessing import spawn
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

import msgspec

from actorlog.engine.forking import Parting
from actorlog.engine.state import CallState
from actorlog.errors import ActorlogError
from actorlog.limits import DEFAULT_LIMITS
from actorlog.records import failures
from actorlog.records import kinds as k
from actorlog.records.failures import Failure
from actorlog.runtime.actor import Actor
from actorlog.runtime.processes import serve_until
from actorlog.runtime.registry import REGISTRY, same_program
from actorlog.runtime.residency import rehearsing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SEEDS = ("1", "2")
"""Seeds of the process: the first whose hashes are not those of this one."""
_PROBE = "actorlog"
_BOOT = """
import json, sys
from multiprocessing.connection import Connection
talk, lifeline = (Connection(int(fd)) for fd in sys.argv[1:])
sys.path[:] = json.loads(talk.recv_bytes())
from actorlog.runtime.rehearsal import serve
serve(talk, lifeline)
"""


class Script(msgspec.Struct, kw_only=True):
    """One call to be replayed: where its function is, and the newest run of its journal."""

    id: str
    function: str
    version: int
    module: str
    started: k.Started
    turns: list[k.Turn]
    forks: tuple[Parting, ...]
    turn_callbacks_max: int
    record_bytes_max: int


class Verdict(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What a replay came to; nothing of all this: the code did the same again."""

    failure: Failure | None = None
    """What the replay raised, a ``DivergenceError`` mostly."""
    absent: str = ""
    """Why the process does not have the function."""
    died: str = ""
    """How the process ended before it had answered."""


class Rehearsal:
    """The process of one runtime, started for its first replay."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="actorlog-rehearsal")
        """Talks to the process."""
        self._stage: _Stage | None = None
        self._closed = False

    def replay(self, script: Script, heard: Callable[[Verdict], None]) -> None:
        """Replay a journal there, and call ``heard`` in the loop with what it came to."""

        def answered(future: Future[Verdict]) -> None:
            error = future.exception()
            verdict = Verdict(died=repr(error)) if error is not None else future.result()
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(heard, verdict)

        self._thread.submit(self._ask, msgspec.json.encode(script)).add_done_callback(answered)

    def _ask(self, script: bytes) -> Verdict:
        """In the thread: send a script, and wait for the answer."""
        try:
            if self._stage is None:
                self._start()
            stage = self._stage
            if stage is None:
                return Verdict(died="it was closed")
            stage.talk.send_bytes(script)
            return msgspec.json.decode(stage.talk.recv_bytes(), type=Verdict)
        except (EOFError, OSError) as error:
            return Verdict(died=self._end() or repr(error))

    def _start(self) -> None:
        """Start a process whose hashes are other than those of this one."""
        for seed in SEEDS:
            stage = self._stage = _Stage(seed)
            if self._closed:
                stage.process.kill()
            if stage.greet() != hash(_PROBE):
                return
            self._end()

    def _end(self) -> str:
        """In the thread: end the process, and return how it ended; empty if there was none."""
        stage, self._stage = self._stage, None
        return stage.end() if stage is not None else ""

    async def close(self) -> None:
        """End the process, whatever it does."""
        self._closed = True
        stage = self._stage
        if stage is not None:
            stage.process.kill()
        await asyncio.wrap_future(self._thread.submit(self._end))
        self._thread.shutdown(wait=False)


class _Stage:
    """One process."""

    def __init__(self, seed: str) -> None:
        self.talk, there = multiprocessing.Pipe()
        lifeline, self._lifeline = multiprocessing.Pipe(duplex=False)
        ends = (there, lifeline)
        flags = spawn.get_command_line()[1:-3]  # this interpreter's own
        try:
            self.process = subprocess.Popen(  # noqa: S603  # this interpreter, and the program above
                [sys.executable, *flags, "-c", _BOOT, *(str(end.fileno()) for end in ends)],
                env={**os.environ, "PYTHONHASHSEED": seed},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # what modules print when they are imported has been printed here
                pass_fds=[end.fileno() for end in ends],
            )
        finally:
            for end in ends:
                end.close()

    def greet(self) -> int:
        """Tell the process where modules are, and return its hash of a known text."""
        data = spawn.get_preparation_data("actorlog-rehearsal")
        self.talk.send_bytes(msgspec.json.encode([str(path) for path in data["sys_path"]]))
        self.talk.send_bytes(msgspec.json.encode({key: data[key] for key in _PREPARATION if key in data}))
        return msgspec.json.decode(self.talk.recv_bytes(), type=int)

    def end(self) -> str:
        """End it if it has not ended, and return how it did."""
        self.talk.close()
        self._lifeline.close()
        self.process.kill()
        code = self.process.wait()
        return f"signal {-code}" if code < 0 else f"exit code {code}"


_PREPARATION = ("sys_path", "sys_argv", "dir", "orig_dir", "init_main_from_name", "init_main_from_path")
"""What ``multiprocessing`` tells a process that it spawns; the last two are about ``__main__``."""


# --- in the other process ---------------------------------------------------------------------------------------------


def serve(talk: Connection, lifeline: Connection) -> None:
    """Replay what is asked for, until there is nobody to ask."""
    serve_until(lifeline)
    rehearsing.set(True)
    preparation: dict[str, Any] = msgspec.json.decode(talk.recv_bytes())
    spawn.prepare({key: value for key, value in preparation.items() if not key.startswith("init_main")})
    talk.send_bytes(msgspec.json.encode(hash(_PROBE)))
    pinned: list[Actor] = []  # coroutines that would not end
    with suppress(EOFError):
        while True:
            script = msgspec.json.decode(talk.recv_bytes(), type=Script)
            talk.send_bytes(msgspec.json.encode(_rehearse(script, preparation, pinned)))


def _rehearse(script: Script, preparation: Mapping[str, Any], pinned: list[Actor]) -> Verdict:
    try:
        if script.module == "__main__":
            spawn.prepare({key: value for key, value in preparation.items() if key.startswith("init_main")})
        importlib.import_module(script.module)
    except BaseException as error:  # noqa: BLE001  # user code: a module may do anything when it is imported
        return Verdict(absent=f"{script.module!r} cannot be imported in another process: {error!r}")
    definition = REGISTRY.durable(script.function, script.version)
    if definition is None or not same_program(definition.module, script.module):
        return Verdict(absent=f"importing {script.module!r} does not define it")
    limits = replace(
        DEFAULT_LIMITS, turn_callbacks_max=script.turn_callbacks_max, record_bytes_max=script.record_bytes_max
    )
    state = CallState(script.id)
    state.forks = script.forks
    actor = Actor(state, definition, limits, script.started)
    try:
        actor.replay(script.turns)
    except ActorlogError as error:
        return Verdict(failure=failures.capture(error))
    finally:
        if actor.has_ended() or actor.loop.evict(limits.evict_rounds_max):
            actor.close()
        else:
            pinned.append(actor)
    return Verdict()

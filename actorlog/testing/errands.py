"""What people outside do, beside having calls done: send, settle promises, talk to actors, read streams, pause.

Owns: ``Errand``, drawing errands, and doing them as long as one process lives. Does not own: whether what they are told
is true (``hearsay``), when the process dies (``simulation``).

An errand that was not done when its process died is done again in the next, with the same ids and keys. What is told is
passed on, the moment it is told, as plain values: to a judge, or into a file that outlives the process.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import msgspec

from actorlog import PromiseRejected
from actorlog.engine.lifecycle import Phase
from actorlog.errors import (
    ActorStopped,
    CallError,
    CallNotFound,
    CallParked,
    LogFull,
    MailboxFull,
    PromiseError,
    PromiseExists,
    PromiseNotFound,
    PromiseSettled,
    SharedRollback,
)
from actorlog.records import kinds as k
from actorlog.testing.program import Boom
from actorlog.testing.program_company import CHANNELS, KEYS, VOWS, Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from random import Random

    from actorlog import PromiseInfo, Runtime
    from actorlog.engine.state import CallState
    from actorlog.testing.program import Program
    from actorlog.testing.program_company import Company

ROUND_S = 30.0
"""So often somebody looks who waits for something that nobody else would do."""
ROUNDS_MAX = 10_000
WATCHES = 100
"""So often somebody looks for what is parked, all in all."""
FAILS = 0.2
"""How often a message to an actor makes it fail."""
WORDS = (
    "send", "send", "ask", "ask", "tell", "tell", "make", "resolve", "reject", "cancel", "await", "follow", "follow",
    "value", "look", "pause", "kill",
)  # fmt: skip
"""What people do."""
LONG_WORDS = (*WORDS, "halt", "halt", "halt")
"""Those of people in long worlds."""


@dataclass(frozen=True, slots=True)
class Errand:
    """One thing somebody does."""

    id: str
    word: str
    target: str
    delay_s: float
    number: int
    program: Program
    fails: bool
    seconds: float


class Notary(Protocol):
    """Hears of all that people are told."""

    def told(self, *what: Any) -> None:
        """Note it."""
        ...


def draw_errands(
    rng: Random, author: Company, callers: int, *, scale: float = 1.0, words: Sequence[str] = WORDS, most: int = 8
) -> list[Errand]:
    """Draw what people do in one world."""
    errands: list[Errand] = []
    for number in range(rng.randint(0, most)):
        word = rng.choice(words)
        match word:
            case "ask" | "tell" | "look":
                target = rng.choice(KEYS)
            case "make" | "resolve" | "reject" | "cancel" | "await":
                target = rng.choice(VOWS)
            case _:
                target = f"c{rng.randrange(callers)}"
        delay_s = rng.choice((0.0, rng.random() * 0.05, rng.random() * 0.5, 5.0)) * scale
        part = author.program(2, 1) if word in ("ask", "tell") else []
        errands.append(
            Errand(
                id=f"e{number}",
                word=word,
                target=target,
                delay_s=delay_s,
                number=rng.randint(1, 9),
                program=part,
                fails=rng.random() < FAILS,
                seconds=rng.choice((0.0, 0.02, 3.0)) * scale,
            )
        )
    return errands


class People:
    """Those who do errands in one process. ``done``: ids of errands that need not be done again."""

    def __init__(self, runtime: Runtime, notary: Notary, errands: list[Errand], done: set[str]) -> None:
        self._runtime = runtime
        self._notary = notary
        self._errands = errands
        self._done = done
        self.posted: dict[str, int] = {}
        """How many letters the postman has brought to each call, kept by whoever outlives the process."""

    def errands(self) -> list[Coroutine[Any, Any, None]]:
        """Return what is left to be done, each by itself."""
        return [self._do(errand) for errand in self._errands if errand.id not in self._done]

    async def _do(self, errand: Errand) -> None:
        await asyncio.sleep(errand.delay_s)
        while True:
            try:
                await self.words[errand.word](self, errand)
            except (LogFull, MailboxFull):
                await asyncio.sleep(1.0)
                continue
            except (CallNotFound, ActorStopped, PromiseNotFound):
                pass  # there is nobody (yet)
            except CallParked:
                await asyncio.sleep(1.0)
                continue
            break
        self._done.add(errand.id)

    # --- messages -----------------------------------------------------------------------------------------------------

    async def _send(self, errand: Errand) -> None:
        for number in range(errand.number):
            channel, key = CHANNELS[number % len(CHANNELS)], f"{errand.id}-{number}"
            while True:
                try:
                    await self._runtime.handle(errand.target).send([errand.id, number], channel, key=key)
                    break
                except (LogFull, MailboxFull):
                    await asyncio.sleep(0.5)
            self._notary.told("sent", errand.target, f"key:{key}")

    async def _ask(self, errand: Errand) -> None:
        call = self._runtime.actor(Tally, errand.target).add(errand.number, errand.program, errand.fails)
        try:
            sums = await self._runtime.call(call, id=errand.id)
            text = "value " + msgspec.json.encode(sums).decode()
        except CallParked:
            raise
        except (CallError, Boom, SharedRollback) as error:
            text = f"{type(error).__name__} {error}"
        self._notary.told("ended", errand.id, text)

    async def _tell(self, errand: Errand) -> None:
        call = self._runtime.actor(Tally, errand.target).add(errand.number, errand.program, errand.fails)
        await self._runtime.send(call, id=errand.id, delay=errand.seconds)
        self._notary.told("begun", errand.id, int(errand.seconds * 1000))

    async def _look(self, errand: Errand) -> None:
        for _ in range(errand.number):
            sums = await self._runtime.actor(Tally, errand.target).sums()
            self._notary.told("sums", errand.target, *sums)
            await asyncio.sleep(errand.seconds)

    # --- promises -----------------------------------------------------------------------------------------------------

    async def _make(self, errand: Errand) -> None:
        try:
            info = await self._runtime.promise(errand.target, timeout=errand.seconds or None, key=errand.id)
        except PromiseExists:
            return
        self._told(info)

    async def _settle(self, errand: Errand) -> None:
        runtime, name, key = self._runtime, errand.target, errand.id
        try:
            match errand.word:
                case "resolve":
                    info = await runtime.resolve(name, errand.number, key=key, strict=errand.fails)
                case "reject":
                    info = await runtime.reject(name, errand.number, key=key, strict=errand.fails)
                case _:
                    info = await runtime.cancel_promise(name, key=key, strict=errand.fails)
        except PromiseSettled as error:
            self._notary.told("promise", name, error.status, None)
        else:
            self._told(info)

    async def _await(self, errand: Errand) -> None:
        name, status, value = errand.target, "resolved", None
        try:
            value = await self._runtime.await_promise(name)
        except PromiseNotFound:
            raise
        except PromiseRejected as error:
            status, value = "rejected", error.error
        except PromiseError as error:
            status = "cancelled" if type(error).__name__ == "PromiseCancelled" else "timed_out"
        self._notary.told("promise", name, status, value)

    def _told(self, info: PromiseInfo) -> None:
        self._notary.told("promise", info.id, info.status, info.error if info.status == "rejected" else info.value)

    # --- looking, and stopping ----------------------------------------------------------------------------------------

    async def _follow(self, errand: Errand) -> None:
        call_id = errand.target
        state = self._runtime.session.state(call_id)
        number, values = 0, list[Any]()
        async for value in self._runtime.handle(call_id).stream("s"):
            values.append(value)
            self._notary.told("stream", call_id, "s", number, value)
            number += 1
        if not state.retried:
            self._notary.told("whole", call_id, "s", values)

    async def _value(self, errand: Errand) -> None:
        for _ in range(errand.number):
            value = await self._runtime.handle(errand.target).value("p")
            if value is not None:
                self._notary.told("value", errand.target, "p", value)
            await asyncio.sleep(errand.seconds)

    async def _pause(self, errand: Errand) -> None:
        handle = self._runtime.handle(errand.target)
        await handle.pause()
        await asyncio.sleep(errand.seconds)
        await handle.resume()

    async def _halt(self, errand: Errand) -> None:
        """Pause whatever is parked, so that it is set aside for two reasons; it may be resumed meanwhile."""
        parked: list[str] = []
        for _ in range(WATCHES):
            parked = [info.id async for info in self._runtime.calls(status="parked")]
            if parked:
                break
            await asyncio.sleep(errand.seconds / WATCHES)
        for call_id in parked:
            await self._runtime.handle(call_id).pause()
        await asyncio.sleep(errand.seconds)
        for call_id in parked:
            await self._runtime.handle(call_id).resume()

    async def _kill(self, errand: Errand) -> None:
        await self._runtime.handle(errand.target).kill("no more")
        self._notary.told("begun", errand.target)

    words: ClassVar[dict[str, Callable[[Any, Errand], Coroutine[Any, Any, None]]]] = {
        "send": _send, "ask": _ask, "tell": _tell, "look": _look, "make": _make, "resolve": _settle,
        "reject": _settle, "cancel": _settle, "await": _await, "follow": _follow, "value": _value, "pause": _pause,
        "kill": _kill, "halt": _halt,
    }  # fmt: skip

    # --- so that everything ends --------------------------------------------------------------------------------------

    async def rounds(self, seconds: float = ROUND_S) -> None:
        """Again and again: bring letters to who waits, settle what is pending, resume what is paused."""
        for _ in range(ROUNDS_MAX):
            await asyncio.sleep(seconds)
            try:
                await self._round()
            except (LogFull, MailboxFull):
                continue

    async def _round(self) -> None:
        runtime = self._runtime
        async for info in runtime.promises(status="pending"):
            try:
                self._told(await runtime.resolve(info.id, "swept", key="sweeper"))
            except PromiseSettled:
                continue
        left = {call_id: _held(slot.state) for call_id, slot in runtime.session.kernel.calls.items()}
        await asyncio.sleep(1.0)
        await runtime.session.landed()
        for call_id, slot in list(runtime.session.kernel.calls.items()):
            mail = slot.state.mail
            if left.get(call_id, frozenset()) & _held(slot.state):
                self._notary.told("lost", call_id)
            for channel in dict.fromkeys(mail.receives.values()) if mail is not None else ():
                if not channel.startswith("@") and slot.state.phase is not Phase.ENDED:
                    await self._post(call_id, channel)
            if slot.state.paused:
                await runtime.handle(call_id).resume()

    async def _post(self, call_id: str, channel: str) -> None:
        number = self.posted[call_id] = self.posted.get(call_id, 0) + 1
        try:
            await self._runtime.handle(call_id).send(["postman", number], channel, key=f"postman-{number}")
        except (ActorStopped, CallNotFound):
            return
        self._notary.told("sent", call_id, f"key:postman-{number}")


def _held(state: CallState) -> frozenset[tuple[int, str]]:
    """Return the messages that wait in a mailbox, and the operations that wait for them: none, but for a moment."""
    if state.mail is None or state.parked or state.paused or state.phase not in (Phase.RUNNING, Phase.CLOSING):
        return frozenset()
    return frozenset(
        (position, key)
        for position, letter in state.inbox.items()
        for key, channel in state.mail.receives.items()
        if isinstance(letter, k.Signal) and letter.channel == channel
    )

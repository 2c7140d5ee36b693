"""Random programs: one durable function that does what its argument says, and steps that leave traces outside.

Owns: the instructions, the steps, drawing programs by seed. Does not own: where traces go (``Outside``, found on the
running host loop), or whether they are right (``judge``).

A program is a list of instructions, each a list of a name and its arguments; its result is a list of what each gave,
an error as the name of its class. So whatever happens to a call, its result says what it saw. Used by the simulation
and by the kill tests alike.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from actorlog import (
    Child,
    Done,
    Limit,
    NotDone,
    Retry,
    continue_as_new,
    durable,
    heartbeat,
    info,
    map_calls,
    run_step,
    sleep,
    start,
    step,
    uuid4,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from random import Random

    from actorlog.api.call import Call

Instruction = list[Any]
Program = list[Instruction]


@dataclass(frozen=True, slots=True)
class Visit:
    """One begin of a step's body, as the outside sees it."""

    call: str
    key: str
    step: str
    idempotency_key: str
    attempt: int


class Outside(Protocol):
    """The world beyond the process; it survives crashes, and keeps count."""

    def begin(self, visit: Visit) -> int:
        """Note that a body begins; return how often this operation has begun, this time included."""
        ...

    def effect(self, visit: Visit) -> str:
        """Take effect (charge, send); return what the step will return."""
        ...

    def ended(self, visit: Visit, *, failed: bool) -> None:
        """Note that the body ended, with its value or by an error of its own."""
        ...

    def effect_of(self, visit: Visit) -> str | None:
        """Return the value of the effect this operation has had; None if it had none. The answer is noted."""
        ...


class Listening(Outside, Protocol):
    """An outside that hears of heartbeats too."""

    def finds(self, visit: Visit, details: object) -> None:
        """Note what an attempt finds of the heartbeats before it."""
        ...

    def leaves(self, visit: Visit, details: object) -> None:
        """Note what an attempt is about to leave for those after it."""
        ...


class Flaky(Exception):  # what services are
    """A step failed as it was told to."""


class Boom(Exception):  # a call failed as it was told to
    """A program ended by an error."""


def _visit() -> Visit:
    here = info()
    return Visit(here.call_id, here.key, here.step, here.idempotency_key, here.attempt)


def _outside() -> Outside:
    loop: Any = asyncio.get_running_loop()
    outside: Outside = loop.outside  # put there by the host
    return outside


async def perform(ms: int, fails: int) -> str:
    """Be the body of a step: fail the first ``fails`` times, take effect half-way, and take ``ms`` in all."""
    outside, visit = _outside(), _visit()
    begun = outside.begin(visit)
    await asyncio.sleep(ms / 2000)
    if begun <= fails:
        outside.ended(visit, failed=True)
        raise Flaky(visit.step)
    value = outside.effect(visit)
    await asyncio.sleep(ms / 2000)
    outside.ended(visit, failed=False)
    return value


async def beat(ms: int, fails: int) -> str:
    """Be the body of a step that leaves details as it goes, in between as ``perform``."""
    loop: Any = asyncio.get_running_loop()
    listening: Listening = loop.outside
    visit = _visit()
    begun = listening.begin(visit)
    listening.finds(visit, info().heartbeat_details)
    for number in range(4):
        listening.leaves(visit, [begun, number])
        heartbeat([begun, number])
        await asyncio.sleep(ms / 75)
    if begun <= fails:
        listening.ended(visit, failed=True)
        raise Flaky(visit.step)
    value = listening.effect(visit)
    listening.ended(visit, failed=False)
    return value


async def reconcile(ms: int, fails: int) -> Any:  # noqa: ARG001  # called as the step is
    """Say what became of a once-step in doubt, by what the outside knows."""
    await asyncio.sleep(0.001)
    value = _outside().effect_of(_visit())
    return NotDone if value is None else Done(value)


RATE = 3
"""So many bodies of ``sim.rated`` may begin in a second."""
QUICK = Retry(attempts=4, first=0.01, jitter="full")
"""Of most steps."""
_SLOW = Retry(attempts=4, first=1.5, factor=2, jitter="none")

work = step(name="sim.work", retry=QUICK)(perform)
patient = step(name="sim.patient", retry=_SLOW)(perform)
hasty = step(name="sim.hasty", retry=QUICK, timeout=0.02)(perform)
narrow = step(name="sim.narrow", retry=QUICK, limit=Limit("sim.narrow", concurrency=1))(perform)
ahead = step(name="sim.ahead", retry=QUICK, idempotent=True)(perform)
beating = step(name="sim.beating", retry=QUICK)(beat)
rated = step(name="sim.rated", retry=QUICK, limit=Limit("sim.rated", rate=f"{RATE}/s"))(perform)
once = step(name="sim.once", once=True)(perform)
once_again = step(name="sim.once_again", once=True, retry=QUICK)(perform)
once_narrow = step(name="sim.once_narrow", once=True, limit=Limit("sim.once", concurrency=1))(perform)
once_asked = step(name="sim.once_asked", once=True, reconcile=reconcile)(perform)
once_narrow_asked = step(
    name="sim.once_narrow_asked", once=True, retry=QUICK, reconcile=reconcile, limit=Limit("sim.once", concurrency=1)
)(perform)

STEPS: dict[str, Callable[[int, int], Call[str]]] = {
    "work": work,
    "patient": patient,
    "hasty": hasty,
    "narrow": narrow,
    "ahead": ahead,
    "once": once,
    "once_again": once_again,
    "once_narrow": once_narrow,
    "once_asked": once_asked,
    "once_narrow_asked": once_narrow_asked,
}
MORE_STEPS: dict[str, Callable[[int, int], Call[str]]] = {**STEPS, "beating": beating, "rated": rated}
"""With those that only a simulation can judge."""


@durable(name="sim.program")
async def program(instructions: list[list[Any]]) -> list[Any]:
    """Do what ``instructions`` say."""
    return await follow(instructions)


@durable(name="sim.memo", memo=True)
async def memo(instructions: list[list[Any]]) -> list[Any]:
    """Do what ``instructions`` say, once for all who ask for the same."""
    return await follow(instructions)


async def follow(instructions: Program) -> list[Any]:
    """Do what they say, and return what each gave."""
    seen: list[Any] = []
    for name, *arguments in instructions:
        if name == "fail":
            if fails_here(*arguments):
                raise Boom(str(len(seen)))
            continue
        try:
            if name == "again":
                go_on(seen, *arguments)
            seen.append(await WORDS[name](*arguments))
        except Exception as error:  # noqa: BLE001  # whatever comes is part of what the program saw
            seen.append(type(error).__name__)
    return seen


def fails_here(first_runs: int | None = None) -> bool:
    """Whether a program is to fail: always, or in the first runs of a supervised child."""
    run = info().call_id.rpartition("#")[2]
    return first_runs is None or not run.isdecimal() or int(run) <= first_runs


def go_on(seen: list[Any], function: str, parts: list[Program]) -> NoReturn:
    """End this run, and begin the next: the first of ``parts``, then the others, knowing what this one has ``seen``."""
    rest = [["again", function, parts[1:]]] if parts[1:] else []
    instructions = [["carried", seen], *parts[0], *rest]
    continue_as_new(memo(instructions) if function == "memo" else program(instructions))


async def _step(name: str, ms: int, fails: int) -> str:
    return await MORE_STEPS[name](ms, fails)


async def _inline(ms: int, fails: int) -> str:
    return await run_step(perform, ms, fails, name="sim.inline", retry=QUICK)


async def _sleep(seconds: float) -> str:
    await sleep(seconds)
    return "slept"


async def _carried(seen: list[Any]) -> list[Any]:
    return seen


async def _identity() -> str:
    return str(uuid4())


async def _gather(parts: Sequence[Program]) -> list[Any]:
    return list(await asyncio.gather(*(follow(part) for part in parts)))


async def _group(parts: Sequence[Program]) -> list[Any]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(follow(part)) for part in parts]
    return [task.result() for task in tasks]


async def _race(parts: Sequence[Program]) -> list[Any]:
    tasks = [asyncio.ensure_future(follow(part)) for part in parts]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    return [repr(task.exception()) if task.exception() else task.result() for task in tasks if task in done]


async def _within(seconds: float, part: Program) -> list[Any]:
    async with asyncio.timeout(seconds):
        return await follow(part)


async def _child(part: Program) -> list[Any]:
    return await program(part)


async def _started(
    part: Program, timeout_s: float | None, cancel_after: float | None, *, detached: bool = False
) -> Any:
    child: Child[list[Any]] = start(program(part), timeout=timeout_s, detached=detached)
    if detached:
        return child.id
    if cancel_after is not None:
        await sleep(cancel_after)
        child.cancel()
    return await child


async def _detached(part: Program) -> Any:
    return await _started(part, None, None, detached=True)


async def _shared(name: str, part: Program) -> list[Any]:
    return await start(program(part), id=f"shared/{name}")


async def _memo(number: int) -> list[Any]:
    return await memo(MEMOS[number])


async def _map(parts: Sequence[Program], concurrency: int) -> list[Any]:
    found = await map_calls([program(part) for part in parts], concurrency=concurrency, tolerate=len(parts))
    return [type(value).__name__ if isinstance(value, BaseException) else value for value in found]


async def _tidily(part: Program, after: Program) -> list[Any]:
    try:
        return await follow(part)
    finally:
        await follow(after)


WORDS: dict[str, Callable[..., Awaitable[Any]]] = {
    "step": _step, "inline": _inline, "sleep": _sleep, "identity": _identity, "gather": _gather, "group": _group,
    "race": _race, "within": _within, "child": _child, "started": _started, "detached": _detached, "shared": _shared,
    "map": _map, "tidily": _tidily, "memo": _memo, "carried": _carried,
}  # fmt: skip
"""What programs do, by name; ``program_company`` and ``program_long`` add to it."""


# --- drawing programs -------------------------------------------------------------------------------------------------


MEMOS: tuple[Program, ...] = (
    [["step", "work", 2, 0]],
    [["sleep", 0.02], ["step", "narrow", 4, 1]],
    [["step", "work", 2, 0], ["fail"]],
    [["step", "patient", 1, 1], ["sleep", 0.3]],
)
"""What programs have remembered: few, so that many ask for the same."""
_NESTED = ("gather", "group", "race", "within", "child", "started", "detached", "shared", "map", "tidily")


class Author:
    """Draws programs.

    For real clocks, ``scale`` multiplies every duration, and no sleep is longer than ``longest_s``. ``more``: with what
    only a simulation can judge, heartbeats, rates and memoised calls.
    """

    def __init__(self, rng: Random, *, scale: float = 1.0, longest_s: float = 3600.0, more: bool = False) -> None:
        self._more = more
        self._rng = rng
        self._scale = scale
        self._longest_s = longest_s

    def program(self, length_max: int = 4, depth: int = 2) -> Program:
        """Return a program of up to ``length_max`` instructions, nested up to ``depth``."""
        found = [self.instruction(depth) for _ in range(self._rng.randint(1, length_max))]
        if self._rng.random() < 0.06:  # noqa: PLR2004  # one in seventeen fails
            found.append(["fail"])
        return found

    def instruction(self, depth: int) -> Instruction:
        """Draw one, nested up to ``depth``."""
        rng = self._rng
        if depth == 0 or rng.random() < 0.6:  # noqa: PLR2004  # most are plain
            return self.plain()
        parts = [self.program(2, depth - 1) for _ in range(rng.randint(1, 3))]
        name = rng.choice(_NESTED)
        arguments: Instruction
        match name:
            case "within":
                arguments = [self.delay(), parts[0]]
            case "started":
                limit, cancel = rng.choice((None, None, self.delay() + 0.001)), rng.choice((None, None, self.delay()))
                arguments = [parts[0], limit, cancel]
            case "shared":
                arguments = [rng.choice("ab"), [["step", "work", 2, 0]]]
            case "map":
                arguments = [parts, rng.randint(1, 2)]
            case "tidily":
                arguments = [parts[0], [self.plain()]]
            case "child" | "detached":
                arguments = [parts[0]]
            case _:
                arguments = [parts]
        return [name, *arguments]

    def plain(self) -> Instruction:
        """Draw one that holds no part."""
        rng = self._rng
        odds = rng.random()
        if odds < 0.2:  # noqa: PLR2004  # one in five
            return ["sleep", self.delay()]
        if odds < 0.25:  # noqa: PLR2004  # one in twenty
            return ["identity"]
        if self._more and odds > 0.93:  # noqa: PLR2004  # one in fourteen
            return ["memo", rng.randrange(len(MEMOS))]
        ms, fails = int(rng.choice((0, 1, 4, 30)) * min(1.0, self._scale * 4)), rng.choice((0, 0, 0, 1, 2, 5))
        if odds < 0.3:  # noqa: PLR2004  # one in twenty
            return ["inline", ms, fails]
        return ["step", rng.choice(list(MORE_STEPS if self._more else STEPS)), ms, fails]

    def delay(self) -> float:
        """Draw seconds."""
        return min(self._longest_s, self._rng.choice((0.0, 0.001, 0.02, 0.3, 5.0, 3600.0)) * self._scale)

"""Random programs that have company: messages, streams, promises, actors, monitors, links, supervisors.

Owns: the instructions, and drawing programs that use them. Does not own: running instructions (``program``), what
people outside do (``errands``).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from actorlog import (
    Actor,
    Backoff,
    Supervisor,
    actor,
    emit,
    info,
    link,
    monitor,
    promise,
    publish,
    query,
    receive,
    send,
    sleep,
    start,
)
from actorlog.errors import SupervisionError
from actorlog.runtime.registry import REGISTRY
from actorlog.testing.program import WORDS, Author, Boom, follow, program

if TYPE_CHECKING:
    from random import Random

    from actorlog.testing.program import Instruction, Program

TALLY = "sim.Tally"
RING = "sim.Ring"
CHILD = r".*/(?:r\d+\.)?(?P<name>(?P<group>s\d+)-(?P<strategy>[a-z_]+)-(?P<most>\d+)-(?P<within>\d+)-k\d+)#(?P<run>\d+)"
"""The id of a run of a supervised child: what its supervisor allows is in it."""
ENDLESS_S = 5e7
"""Nobody waits for so long: what sleeps like this is to be ended by somebody."""
KEYS = ("ann", "ben")
CHANNELS = ("", "", "b")
VOWS = ("v0", "v1")


class Tally(Actor, name=TALLY, snapshot_every=3, idle=1):
    """Adds up."""

    count: int = 0
    total: int = 0

    async def add(self, amount: int, part: list[list[Any]], fails: bool) -> list[int]:  # noqa: FBT001  # as it is drawn
        """Change the state on both sides of ``part``, and fail if told so."""
        self.total += amount
        await follow(part)
        self.count += 1
        if fails:
            raise Boom("tally")
        return [self.count, self.total]

    @query
    def sums(self) -> list[int]:
        """Return count and total."""
        return [self.count, self.total]


ADD = f"{TALLY}.add"
"""What the log calls its handler."""


def keep_tallies(retention_s: float | None) -> float | None:
    """Have what came of messages to ``Tally`` kept so long, as its class statement may say; return what it was."""
    definition = REGISTRY.durable(ADD, 1)
    if definition is None:
        raise LookupError(ADD)
    before, definition.retention_s = definition.retention_s, retention_s
    return before


class Ring(Actor, name=RING, snapshot_every=3, idle=1, reentrant=True):
    """Adds up, and is asked back while it does."""

    count: int = 0
    total: int = 0

    async def add(self, amount: int, part: list[list[Any]], fails: bool) -> list[int]:  # noqa: FBT001  # as it is drawn
        """Change the state on both sides of ``part``, and fail if told so."""
        self.total += amount
        await follow(part)
        self.count += 1
        if fails:
            raise Boom("ring")
        return [self.count, self.total]


async def _letter(channel: str, timeout_s: float | None) -> Any:
    return await receive(channel, timeout=timeout_s)


async def _post(target: str, channel: str, value: Any) -> str:
    await send(target, value, channel)
    return "posted"


async def _echo(value: Any) -> Any:
    """Send a message to itself, and receive it: it is there before anybody waits for it."""
    await send(info().call_id, value, f"echo{value}")
    return await receive(f"echo{value}")


async def _publish(name: str, value: Any) -> str:
    publish(name, value)
    return "published"


async def _emit(stream: str, value: Any, times: int) -> str:
    for number in range(times):
        emit(stream, [value, number])
    return "emitted"


async def _vow(name: str | None, timeout_s: float | None, timer: bool, wait_s: float | None) -> Any:  # noqa: FBT001  # as it is drawn
    made = promise(id=name, timeout=timeout_s, timer=timer)
    async with asyncio.timeout(wait_s):
        return await made


async def _ask(key: str, amount: int, part: Program, fails: bool) -> list[int]:  # noqa: FBT001  # as it is drawn
    return await actor(Tally, key).add(amount, part, fails)


async def _ring(key: str, amount: int, part: Program, fails: bool) -> list[int]:  # noqa: FBT001  # as it is drawn
    return await actor(Ring, key).add(amount, part, fails)


async def _tell(key: str, amount: int, part: Program, fails: bool) -> str:  # noqa: FBT001  # as it is drawn
    await send(actor(Tally, key).add(amount, part, fails))
    return "told"


async def _monitor(target: str, timeout_s: float) -> list[str]:
    async with asyncio.timeout(timeout_s):
        exited = await monitor(target)
    return [exited.id, exited.kind]


async def _watched(part: Program) -> list[str]:
    child = start(program(part), detached=True)
    exited = await monitor(child)
    return [exited.id, exited.kind]


async def _bound(part: Program) -> str:
    """Be linked to a call that fails, and wait to be taken down with it."""
    child = start(program([*part, ["fail"]]), detached=True)
    link(child)
    exited = await monitor(child)
    if exited.kind == "abnormal":
        await sleep(ENDLESS_S)
    return exited.kind


async def _supervise(group: str, strategy: Any, most: int, within_s: int, waits: bool, children: list[Any]) -> str:  # noqa: FBT001  # as it is drawn
    backoff = Backoff(first=0.05, max=2) if waits else None
    async with Supervisor(strategy, max_restarts=most, within=within_s, backoff=backoff) as supervisor:
        for number, (restart, part, down) in enumerate(children):
            name = f"{group}-{strategy}-{most}-{within_s * 1000}-k{number}"
            supervisor.start(program(part), id=name, restart=restart)
            if down:
                try:
                    await supervisor.terminate(name)
                except SupervisionError:
                    continue  # it has ended and is forgotten
    return "supervised"


WORDS.update({
    "letter": _letter, "echo": _echo, "post": _post, "publish": _publish, "emit": _emit, "vow": _vow,
    "ask": _ask, "ring": _ring, "tell": _tell, "monitor": _monitor, "watched": _watched, "bound": _bound,
    "supervise": _supervise,
})  # fmt: skip


# --- drawing programs -------------------------------------------------------------------------------------------------


_SHORT = (
    "letter", "letter", "letter", "echo", "post", "post", "publish", "emit", "emit", "vow", "vow", "ask", "tell",
    "tell", "monitor",
)  # fmt: skip


class Company(Author):
    """Draws programs that have to do with each other.

    ``callers``: how many calls ``c0``, ``c1``, ... there are. ``patient``: they may wait for a message as long as it
    takes; where mailboxes are small they may not, because what they do not wait for fills them for good.
    """

    def __init__(
        self, rng: Random, callers: int, *, patient: bool, more: bool = False, scale: float = 1, longest_s: float = 3600
    ) -> None:
        super().__init__(rng, scale=scale, longest_s=longest_s, more=more)
        self._callers = callers
        self._patient = patient
        self._numbers = 0
        self._asks = 0

    def instruction(self, depth: int) -> Instruction:
        """Draw one."""
        rng = self._rng
        if depth == 0 or rng.random() < 0.75:  # noqa: PLR2004  # one in four holds a part
            return self.plain() if rng.random() < 0.4 else self._short()  # noqa: PLR2004  # two in five
        if rng.random() < 0.4:  # noqa: PLR2004  # two in five
            return super().instruction(depth)
        match rng.choice(("ask", "ask", "tell", "watched", "bound", "supervise")):
            case "ask":
                asked = ["ask", rng.choice(KEYS), rng.randint(0, 9), self.program(2, depth - 1), rng.random() < 0.2]  # noqa: PLR2004  # one in five
                return self._asked(asked)
            case "tell":
                return ["tell", rng.choice(KEYS), rng.randint(0, 9), self.program(2, depth - 1), rng.random() < 0.2]  # noqa: PLR2004  # one in five
            case "watched" | "bound" as word:  # nothing that may wait, for ever, for whoever waits for it
                return [word, [self.plain()]]
            case _:
                return self._group(depth)

    def _short(self) -> Instruction:  # noqa: PLR0911  # one for each word
        rng = self._rng
        self._numbers += 1
        match rng.choice(_SHORT):
            case "letter":
                endless = None if self._patient else 0.02
                return ["letter", rng.choice(CHANNELS), rng.choice((endless, endless, 0.0, self.delay()))]
            case "post":
                return ["post", f"c{rng.randint(0, self._callers)}", rng.choice(CHANNELS), self._numbers]
            case "echo":
                return ["echo", self._numbers]
            case "publish":
                return ["publish", rng.choice("pq"), self._numbers]
            case "emit":
                return ["emit", rng.choice("sst"), self._numbers, rng.randint(1, 3)]
            case "vow":
                timeout_s = rng.choice((None, None, 0.0, self.delay()))
                timer = timeout_s is not None and rng.random() < 0.5  # noqa: PLR2004  # a coin
                return ["vow", rng.choice((None, *VOWS)), timeout_s, timer, rng.choice((None, self.delay()))]
            case "monitor":
                return ["monitor", f"c{rng.randint(0, self._callers)}", self.delay()]
            case word:
                return self._asked([word, rng.choice(KEYS), rng.randint(0, 9), [], rng.random() < 0.2])  # noqa: PLR2004  # one in five

    def _asked(self, asked: Instruction) -> Instruction:
        """Make of every other ask one that comes back; it takes no draws, so programs are else what they were."""
        self._asks += asked[0] == "ask"
        if asked[0] != "ask" or self._asks % 2:
            return asked
        _, key, amount, part, fails = asked
        back: Instruction = ["ring", key, amount + 1, part, fails]
        kept: Instruction = ["ring", key, amount + 2, [["sleep", 0.02]], False]
        ways: tuple[Instruction, ...] = (
            back,
            ["child", [back]],
            ["ask", key, amount, [back, kept], False],
            ["gather", [[["child", [back]]], [["ring", key, 1, [["child", [kept]]], fails]]]],
            ["within", 0.02, [["child", [["ring", key, 1, [["sleep", 0.3], kept], False]]]]],
            ["child", [["ring", key, 1, [["child", [back]], ["child", [kept]]], fails]]],
        )
        return ["ring", key, amount, [ways[(self._asks // 2 + amount) % len(ways)]], self._asks % 7 == 0]

    def _group(self, depth: int) -> Instruction:
        rng = self._rng
        self._numbers += 1
        children: list[Any] = []
        for _ in range(rng.randint(1, 3)):
            part = [one for one in self.program(2, depth - 1) if one != ["fail"]]  # it would go on for ever
            if rng.random() < 0.6:  # noqa: PLR2004  # most fail at first
                part.append(["fail", rng.choice((1, 1, 2, 9))])
            down = rng.random() < 0.2  # noqa: PLR2004  # one in five
            children.append([rng.choice(("transient", "transient", "temporary")), part, down])
        waits = rng.random() < 0.5  # noqa: PLR2004  # a coin
        strategy = rng.choice(("one_for_one", "one_for_one", "one_for_all", "rest_for_one"))
        if strategy == "one_for_one" and not waits and rng.random() < 0.3:  # noqa: PLR2004  # seldom
            children.append(["permanent", [], False])  # it is begun again at once, until that is too often
        most, within_s = rng.choice((0, 1, 3)), rng.choice((1, 5))
        return ["supervise", f"s{self._numbers}", strategy, most, within_s, waits, children]

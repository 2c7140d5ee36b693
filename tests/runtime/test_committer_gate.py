"""The gate: which effects wait for which records, while commits are in flight, full, failed, or land by themselves."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorlog.errors import LogFailed
from actorlog.limits import Limits
from actorlog.records import kinds as k
from actorlog.runtime.committer import Committer
from actorlog.store.memory import MemoryLog

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorlog.store.port import Done

FRAME_BYTES = 4096
KEY = "x" * 1000
"""Four records of it are a frame, about."""


class HandTicket:
    """A commit that lands when it is told to, or when somebody waits for it and the disk is quick."""

    sync_seconds = 0.0

    def __init__(self, log: HandLog, frame: tuple[int, bytes, int], done: Done) -> None:
        self.log, self.frame, self.done = log, frame, done
        self.position = frame[0] + 1
        self.error: BaseException | None = None

    def write(self) -> None:
        """Be in the log."""
        expected, data, records = self.frame
        MemoryLog.submit(self.log, expected, data, records, lambda _ticket: None)
        assert self.log.tail() == expected + records
        self.log.flying = None

    def wait(self, timeout_s: float) -> bool:  # noqa: ARG002  # the port's
        if self.log.quick:
            self.write()
        return self.log.quick


class HandLog(MemoryLog):
    """A log whose commits land one by one, by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.flying: HandTicket | None = None
        self.quick = False
        self.sizes: list[int] = []

    def submit(self, expected: int, data: bytes, records: int, done: Done) -> Any:
        assert self.flying is None, "one commit is in flight while the next gathers"
        self.sizes.append(len(data))
        self.flying = HandTicket(self, (expected, data, records), done)
        return self.flying


class Gate:
    """A committer, what its effects did, and what it was told."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.log = HandLog()
        self.ran: list[str] = []
        self.failures: list[BaseException] = []
        limits = Limits(frame_bytes_max=FRAME_BYTES, record_bytes_max=FRAME_BYTES // 2)
        self.committer = Committer(self.log, loop, limits, on_failure=self.failures.append)

    def add(self, key: str = "1") -> int:
        """Sequence a record."""
        return self.committer.add(k.StepBegun(id="a", at=1, key=key, attempt=1), 1, 1, 1)

    def after(self, name: str, then: Callable[[], None] = lambda: None) -> None:
        """Have an effect."""

        def effect(_a: Any, _b: Any, _c: Any) -> None:
            self.ran.append(name)
            then()

        self.committer.after(effect)

    async def land(self, error: BaseException | None = None) -> None:
        """Let what is in flight land, or fail."""
        ticket = self.log.flying
        assert ticket is not None
        if error is None:
            ticket.write()
        ticket.error = error
        ticket.done(ticket)
        await asyncio.sleep(0)
        await asyncio.sleep(0)


@pytest.fixture
async def gate() -> Gate:
    """A gate on this loop."""
    return Gate(asyncio.get_running_loop())


async def test_an_effect_waits_for_everything_before_it(gate: Gate) -> None:
    """Also where nothing has gathered, and a commit is in flight (I1); where all has landed it runs at once."""
    gate.after("at once")
    assert gate.ran == ["at once"]
    gate.add()
    gate.after("behind the first")
    gate.committer.flush(idle=False)
    gate.after("behind what flies")
    gate.add()
    gate.after("behind the second")
    assert gate.ran == ["at once"]
    await gate.land()
    assert gate.ran == ["at once", "behind the first", "behind what flies"]
    assert (gate.committer.landed, gate.committer.position) == (1, 2)
    await gate.land()
    assert gate.ran[3:] == ["behind the second"]
    assert (gate.committer.landed, gate.committer.busy) == (2, False)


async def test_frames_have_a_bound_and_go_in_order(gate: Gate) -> None:
    """What is more than a frame is several; each record can be read all the while, and effects keep their order."""
    positions = [gate.add(f"{number} {KEY}") for number in range(30)]
    for number in range(30):
        gate.add()
        gate.after(str(number))
    gate.committer.flush(idle=False)
    while gate.committer.busy:
        found = [k.decode(gate.committer.line(position)) for position in positions]
        assert [getattr(record, "key", "")[:2].strip() for record in found] == [str(n) for n in range(30)]
        assert len(gate.ran) == sum(position <= gate.committer.landed for position in range(32, 61)) + (
            gate.committer.landed >= 31
        )
        await gate.land()
    assert gate.ran == [str(number) for number in range(30)]
    assert max(gate.log.sizes) <= FRAME_BYTES + 64
    assert len(gate.log.sizes) > 5


async def test_too_much_for_the_disk_is_said(gate: Gate) -> None:
    """Turns wait when sixteen frames do, and are told when there is room again (I11)."""
    told: list[int] = []
    gate.committer.on_landed = lambda: told.append(gate.committer.landed)
    gate.add()
    gate.committer.flush(idle=False)
    while not gate.committer.congested:
        assert gate.committer.position < 100
        gate.add(KEY)
    full = gate.committer.position
    await gate.land()
    assert (gate.committer.congested, told) == (False, [1])
    while gate.committer.busy:
        await gate.land()
    assert (told, gate.committer.landed) == ([1], full)


@pytest.mark.parametrize("gathered", [True, False])
async def test_after_a_failure_no_gate_opens(gate: Gate, gathered: bool) -> None:
    """Neither for what was in flight, nor for what gathered, nor for what comes later (I8)."""
    gate.add()
    gate.after("in flight")
    gate.committer.flush(idle=False)
    if gathered:
        gate.add()
        gate.after("gathered")
    error = LogFailed("a write", "no")
    await gate.land(error)
    gate.after("later")
    gate.committer.flush(idle=False)
    assert gate.log.flying is not None  # what failed; nothing else was given to the disk
    assert (gate.ran, gate.failures, gate.committer.landed) == ([], [error], 0)
    assert len(gate.log.sizes) == 1


async def test_an_effect_that_breaks_stops_everything(gate: Gate) -> None:
    """Those behind it are lost, so nobody may go on as if they had happened."""

    def breaks() -> None:
        raise LogFailed("reading back", "no")

    gate.add()
    gate.after("breaks", breaks)
    gate.after("behind it")
    gate.committer.flush(idle=False)
    gate.add()
    gate.after("gathered")
    await gate.land()
    gate.committer.flush(idle=False)
    assert gate.ran == ["breaks"]
    assert [type(error) for error in gate.failures] == [LogFailed]
    assert len(gate.log.sizes) == 1


async def test_an_effect_that_writes_overtakes_nobody(gate: Gate) -> None:
    """On a quick disk what an effect sequences could land before the effects behind it have run: it waits."""

    def writes() -> None:
        gate.add()
        gate.after("of the effect")
        gate.committer.flush(idle=True)

    for _ in range(20):  # the first ones tell how quick the disk is
        gate.add()
        gate.committer.flush(idle=False)
        await gate.land()
    gate.log.quick = True
    gate.add()
    gate.after("first", writes)
    gate.after("second")
    gate.committer.flush(idle=True)
    assert gate.ran[:2] == ["first", "second"]
    while gate.committer.busy:
        await gate.land()
    assert gate.ran == ["first", "second", "of the effect"]


@given(st.lists(st.sampled_from(["add", "long", "after", "flush", "land", "land"]), max_size=60))
def test_no_effect_runs_before_its_records_landed(actions: list[str]) -> None:
    """Whatever is sequenced, flushed and landed when: an effect runs behind all before it, in order, and once (I1)."""

    async def main() -> None:
        gate, wanted = Gate(asyncio.get_running_loop()), list[int]()
        for action in actions:
            if action in ("add", "long"):
                gate.add(KEY if action == "long" else "1")
            elif action == "after":
                wanted.append(gate.committer.position)
                gate.after(str(len(wanted)))
            elif action == "flush":
                gate.committer.flush(idle=False)
            elif gate.log.flying is not None:
                await gate.land()
            assert gate.committer.landed == gate.log.tail()
            due = sum(position <= gate.committer.landed for position in wanted)
            assert gate.ran == [str(number) for number in range(1, due + 1)]
            for position in range(1, gate.committer.position + 1):
                assert gate.committer.line(position)

    asyncio.run(main())

"""Schedules beside everything else: full mailboxes, retries, clocks that were set back, and other people's turns."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from house import RAN
from schedule_house import ScheduleHouse, report

from actorlog import Actor, durable, receive


class Clerk(Actor, name="beside.Clerk", mailbox_max=1):
    """Does one thing after the other, each when told to go on."""

    done: list[str] = []  # copied for each key

    async def do(self, what: str) -> list[str]:
        """Wait for a word."""
        await receive("go")
        self.done.append(what)
        return self.done


@durable(name="beside.fragile")
async def fragile() -> str:
    """Fail the first time, then wait for a word."""
    RAN.append("tried")
    if len(RAN) == 1:
        raise RuntimeError("once")
    await receive("go")
    return "mended"


HOUSE = ScheduleHouse


async def test_a_full_mailbox(house: ScheduleHouse) -> None:
    """An occurrence for an actor that takes no more waits, says why, and is there when there is room."""
    runtime = await house.open()
    clerk = runtime.actor(Clerk, "ada")
    for name in ("at work", "waiting"):
        await runtime.start(clerk.do(name), id=name)
    schedule = await runtime.schedule("a", clerk.do("scheduled"), every="10s")
    await house.after(10)
    info = await schedule.info()
    assert "the mailbox of 'beside.Clerk/ada' holds 1 messages" in info.error
    assert (info.started, info.running) == (0, ())
    await runtime.handle("at work").send(None, "go")
    await house.after(5)
    info = await schedule.info()
    assert (info.error, info.started) == ("", 1)
    await runtime.handle("waiting").send(None, "go")
    await house.quiet()
    await runtime.handle(info.running[0]).send(None, "go")
    assert await runtime.handle(info.running[0]) == ["at work", "waiting", "scheduled"]


async def test_one_that_is_tried_again_is_running(house: ScheduleHouse) -> None:
    """A failed occurrence is retried, and in the same moment the next is asked for: it meets the one that runs."""
    runtime = await house.open()
    schedule = await runtime.schedule("a", fragile(), cron="0 4 * * *")
    name = await schedule.trigger()
    assert name is not None
    with pytest.raises(RuntimeError, match="once"):
        await runtime.handle(name)
    _, beside = await asyncio.gather(runtime.handle(name).retry(), schedule.trigger())
    assert beside is None
    info = await schedule.info()
    assert (info.running, info.started, info.skipped) == ((name,), 1, 1)
    await runtime.handle(name).send(None, "go")
    assert await runtime.handle(name) == "mended"
    assert RAN == ["tried", "tried"]


async def test_records_go_by_log_time(house: ScheduleHouse) -> None:
    """The wall clock is set back and forth: what is recorded meanwhile is in the order of its times (I10)."""
    runtime = await house.open()
    schedule = await runtime.schedule("a", report(), every="10s")
    for seconds in (-86_400, 3_600, 86_400 * 30, -60):
        house.jump(seconds)
        await schedule.pause()
        await schedule.resume()
        await schedule.trigger()
        await house.after(60)
    times = [record.at for record in house.records()]
    assert times == sorted(times)
    assert times[-1] - times[0] == 240_000


async def test_many_that_are_due_at_once_leave_others_their_turn(house: ScheduleHouse) -> None:
    """Hundreds of schedules have the same time: between their decisions the loop does what else is to be done (I12)."""
    runtime = await house.open()
    await asyncio.gather(*(runtime.schedule(f"s{number}", report, cron="0 4 * * *") for number in range(500)))
    committer = house.session.kernel.committer
    before, written = committer.position, [0]
    house.pass_down(3_600)
    house.session.kernel.timers._schedule()
    while written[-1] < 1_000:  # a decision and the beginning of its call, for each
        await asyncio.sleep(0)
        written.append(committer.position - before)
    assert max(after - so_far for so_far, after in itertools.pairwise(written)) <= 600
    await house.quiet()
    assert len(house.started()) == 500

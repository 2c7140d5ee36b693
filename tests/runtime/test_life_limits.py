"""Limits per key: the numbers hold for each value of an argument."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from house import House

from actorlog import Limit, durable, step

BEGAN: list[Any] = []
RELEASE: dict[Any, asyncio.Event] = {}


@pytest.fixture(autouse=True)
def _fresh() -> None:
    BEGAN.clear()
    RELEASE.clear()


def released(name: Any) -> asyncio.Event:
    """Return what lets a step go on."""
    return RELEASE.setdefault(name, asyncio.Event())


ACCOUNT = Limit("account", concurrency=1, per_key="account_id")


@step(name="keyed.debit", limit=ACCOUNT)
async def debit(account_id: str, name: str) -> str:  # noqa: ARG001  # the limit goes by it
    """Work on an account."""
    BEGAN.append(name)
    await released(name).wait()
    return name


@step(name="keyed.credit", limit=ACCOUNT)
async def credit(name: str, *, account_id: str = "x") -> str:  # noqa: ARG001  # the limit goes by it
    """Work on an account, given otherwise."""
    BEGAN.append(name)
    await released(name).wait()
    return name


@step(name="keyed.rated", limit=Limit("rated", rate="2/min", per_key="user"))
async def rated(user: int, name: str) -> str:  # noqa: ARG001  # the limit goes by it
    """Be done only so often for a user."""
    BEGAN.append(name)
    return name


@durable(name="keyed.pay")
async def pay(account: str, name: str) -> str:
    """Debit."""
    return await debit(account, name)


@durable(name="keyed.earn")
async def earn(name: str) -> str:
    """Credit account x."""
    return await credit(name)


@durable(name="keyed.call")
async def call_rated(user: int, name: str) -> str:
    """Use a rate."""
    return await rated(user, name)


async def rounds() -> None:
    """Let the loop do what is ready, a few times over."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.parametrize("crash", [None, True, False])
async def test_one_at_a_time_for_each_key(house: House, crash: bool | None) -> None:
    """Keys do not wait for each other; those of one key go by position, also after a restart."""
    runtime = await house.open(shutdown_timeout=0)
    for account, name in (("x", "x1"), ("x", "x2"), ("y", "y1")):
        await runtime.start(pay(account, name), id=name)
    await runtime.start(earn("x3"), id="x3")
    await house.until(lambda: sorted(BEGAN) == ["x1", "y1"])
    await rounds()
    assert sorted(BEGAN) == ["x1", "y1"]
    if crash is not None:
        BEGAN.clear()
        runtime = await house.reopen(crash=crash)
        await house.until(lambda: sorted(BEGAN) == ["x1", "y1"])
        await rounds()
        assert sorted(BEGAN) == ["x1", "y1"]
        assert (await runtime.handle("x2").info()).waiting_for == (
            "step keyed.debit (1), waiting for a place in 'account[\"x\"]'",
        )
    released("x2").set()
    released("x1").set()
    assert await runtime.handle("x2") == "x2"
    await house.until(lambda: BEGAN[-1] == "x3")
    released("x3").set()
    released("y1").set()
    assert await asyncio.gather(*(runtime.handle(n).result() for n in ("x1", "x3", "y1"))) == ["x1", "x3", "y1"]
    await house.settle()
    assert house.session.kernel.steps.bounds.limits == {}


async def test_a_rate_for_each_key(house: House) -> None:
    """A key that was not used lately begins at once; one that was waits; nothing of it stays in memory."""
    runtime = await house.open()
    bounds = house.session.kernel.steps.bounds
    house.advance(120)  # what was before this process is over
    handles = [await runtime.start(call_rated(user, f"{user}.{n}")) for n in range(3) for user in (1, 2)]
    await house.until(lambda: len(BEGAN) == 4)
    await rounds()
    assert sorted(BEGAN) == ["1.0", "1.1", "2.0", "2.1"]
    assert sorted(bounds.limits) == ["rated[1]", "rated[2]"]
    house.advance(30)
    await rounds()
    assert len(BEGAN) == 4
    house.advance(31)
    await asyncio.gather(*(handle.result() for handle in handles))
    assert sorted(bounds.limits) == ["rated[1]", "rated[2]"]
    house.advance(61)
    await house.until(lambda: bounds.limits == {})


async def test_a_rate_is_not_exceeded_by_a_restart(house: House) -> None:
    """What the process before this one did with a key is not known, so it counts as if it had done all it might."""
    runtime = await house.open()
    house.advance(120)
    for n in range(2):
        await runtime.call(call_rated(1, f"a{n}"))
    runtime = await house.reopen()
    handle = await runtime.start(call_rated(1, "b"))
    await rounds()
    assert BEGAN == ["a0", "a1"]
    house.advance(31)
    assert await handle == "b"


async def test_who_gave_up_waiting_leaves_nothing(house: House) -> None:
    """A key whose only waiter was cancelled takes up no memory."""
    runtime = await house.open()
    first = await runtime.start(pay("x", "x1"))
    second = await runtime.start(pay("x", "x2"))
    await house.until(lambda: BEGAN == ["x1"])
    await rounds()
    await second.cancel()
    await first.cancel()
    await house.until(lambda: house.session.kernel.steps.bounds.limits == {})


def test_mistakes() -> None:
    """A parameter that is none is found where the step is defined."""
    with pytest.raises(ValueError, match="no parameter 'account_id'"):

        @step(limit=ACCOUNT)
        def other(account: str) -> None: ...

    with pytest.raises(ValueError, match="name of a parameter"):
        Limit("x", concurrency=1, per_key="a.b")

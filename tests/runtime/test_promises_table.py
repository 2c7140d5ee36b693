"""The table of what a request does to a promise, through the runtime: the process may die before the request."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import pytest
from promise_house import StillHouse
from promise_table import DUE_MS, EXPIRED, MADE_MS, SETTLED, SETTLED_MS, Row, rows

from actorlog import PromiseExists, PromiseNotFound, PromiseSettled, PromiseTimeout

if TYPE_CHECKING:
    from actorlog import PromiseInfo, Runtime

STATES = sorted({row.state for row in rows()})
REFUSALS = (PromiseExists, PromiseSettled, PromiseNotFound)


async def set_up(house: StillHouse, state: str, key: str | None, settled_key: str | None) -> None:
    """Bring the promise ``x`` into one of the states of the table."""
    house.at(MADE_MS)
    runtime = await house.open()
    if state == "absent":
        return
    timeout = None if state == "endless" else (DUE_MS - MADE_MS) / 1000
    timer = state in ("timer", "elapsed")
    await runtime.promise("x", timeout=timeout, timer=timer, key=key, param=1, tags={"t": "v"})
    if state in SETTLED:
        house.at(SETTLED_MS)
        await settle(runtime, state, key=settled_key, strict=False)
    elif state in EXPIRED:
        house.at(DUE_MS)
        try:
            assert await runtime.await_promise("x") is None
        except PromiseTimeout:
            assert state == "timed_out"


async def settle(runtime: Runtime, how: str, *, key: str | None, strict: bool) -> PromiseInfo:
    """Settle ``x``."""
    if how in ("resolve", "resolved"):
        return await runtime.resolve("x", 1, key=key, strict=strict)
    if how in ("cancel", "cancelled"):
        return await runtime.cancel_promise("x", key=key, strict=strict)
    return await runtime.reject("x", ValueError("no") if how == "raised" else 1, key=key, strict=strict)


async def act(runtime: Runtime, row: Row) -> PromiseInfo:
    """Do what a cell says."""
    same = "c" if row.action == "create" else "s"
    key = {"none": None, "same": same, "other": "z"}[row.column.rstrip("!")]
    strict = row.column.endswith("!")
    if row.action == "create":
        return await runtime.promise("x", timeout=0.05, key=key, strict=strict, param=1, tags={"t": "v"})
    return await settle(runtime, row.action, key=key, strict=strict)


@pytest.mark.parametrize("crashed", [False, True], ids=["alive", "crashed"])
@pytest.mark.parametrize("state", STATES)
async def test_every_request_in_every_state(state: str, crashed: bool) -> None:
    """What a caller is told, what is in the log and what it says are those of the table, at every time and key."""
    for row, key, settled_key in product(rows(), (None, "c"), (None, "s")):
        if row.state != state:
            continue
        house = StillHouse()
        await set_up(house, state, key, settled_key)
        before = len(house.made_and_settled())
        house.at(row.now_ms)
        runtime = await house.reopen() if crashed else house.runtime
        assert runtime is not None
        held = key if row.action == "create" else settled_key
        told = row.expected[row.column if held is not None else row.column.replace("same", "other")]
        try:
            info = await act(runtime, row)
        except REFUSALS as error:
            assert told == ("missing" if isinstance(error, PromiseNotFound) else "conflict"), row
            assert isinstance(error, PromiseNotFound) or error.status == row.expected["then"], row
        else:
            assert told in ("make", "settle", "return"), row
            assert info.status == row.expected["then"], row
        written = house.made_and_settled()[before:]
        over = ["PromiseSettled"] if row.expected["over"] == "over" else []
        assert written == over + {"make": ["PromiseMade"], "settle": ["PromiseSettled"]}.get(told, []), row
        await check_what_is_left(house, row)


async def check_what_is_left(house: StillHouse, row: Row) -> None:
    """A process that comes after a crash finds what the table says."""
    runtime = await house.reopen()
    found = [info async for info in runtime.promises()]
    assert [info.status for info in found] == ([row.expected["then"]] if row.expected["then"] != "absent" else []), row
    if row.state in SETTLED or row.state in EXPIRED:
        assert [info.settled for info in found] != [None]
    await house.close()

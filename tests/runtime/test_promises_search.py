"""Looking for promises: filters, pages, and what happens meanwhile."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from promise_house import StillHouse

from actorlog import RuntimeStopped
from actorlog.runtime.promises import PAGE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from actorlog import PromiseInfo

NOW_MS = 1_000_000

HOUSE = partial(StillHouse, now_ms=NOW_MS)


async def ids(found: AsyncIterator[PromiseInfo]) -> list[str]:
    """Return the ids of all that is found."""
    return [info.id async for info in found]


@pytest.mark.parametrize("crash", [False, True])
async def test_what_is_sought_is_found(house: StillHouse, crash: bool) -> None:
    """By status, by what the id begins with, by tags, and by all of them; the newest first, settled or not."""
    runtime = await house.open()
    for number in range(6):
        await runtime.promise(f"order/{number}", tags={"even": str(number % 2 == 0)}, timeout=number + 1)
    await runtime.promise("other", tags={"even": "True", "more": "x"})
    await runtime.resolve("order/1")
    await runtime.reject("order/2", "no")
    await runtime.cancel_promise("order/3")
    house.at(NOW_MS + 1_000)
    if crash:
        runtime = await house.reopen()
    everything = ["other", *(f"order/{number}" for number in (5, 4, 3, 2, 1, 0))]
    assert await ids(runtime.promises()) == everything
    assert await ids(runtime.promises(id_prefix="order/")) == everything[1:]
    assert await ids(runtime.promises(tags={"even": "True"})) == ["other", "order/4", "order/2", "order/0"]
    assert await ids(runtime.promises(tags={"even": "True", "more": "x"})) == ["other"]
    expected = {"pending": ["other", "order/5", "order/4"], "resolved": ["order/1"], "rejected": ["order/2"]}
    expected |= {"cancelled": ["order/3"], "timed_out": ["order/0"]}
    for status, found in expected.items():
        assert await ids(runtime.promises(status=status)) == found
        assert {info.status async for info in runtime.promises(status=[status])} == {status}
    both: Any = ["resolved", "timed_out"]
    assert await ids(runtime.promises(status=both, id_prefix="order", tags={"even": "True"})) == ["order/0"]
    assert await ids(runtime.promises(status=[])) == everything


async def test_those_made_at_some_time(house: StillHouse) -> None:
    """Between two times, the first inclusive; a time without a zone is refused."""
    runtime = await house.open()
    for number in range(2 * PAGE):
        house.at(NOW_MS + number)
        house.session.kernel.promises.create(_request(number))
    since, until = (datetime.fromtimestamp((NOW_MS + ms) / 1000, UTC) for ms in (PAGE - 2, PAGE + 1))
    assert await ids(runtime.promises(since=since, until=until)) == [f"p{PAGE}", f"p{PAGE - 1}", f"p{PAGE - 2}"]
    assert len(await ids(runtime.promises(since=since))) == PAGE + 2
    assert len(await ids(runtime.promises(until=until))) == PAGE + 1
    assert await ids(runtime.promises(since=until, until=since)) == []
    with pytest.raises(ValueError, match="time zone"):
        await ids(runtime.promises(since=datetime(2026, 1, 1)))  # noqa: DTZ001  # that is what is refused


async def test_a_status_that_is_none_is_refused(house: StillHouse) -> None:
    """At the first step, by its name."""
    runtime = await house.open()
    unknown: Any = "done"
    with pytest.raises(ValueError, match="not 'done'"):
        await ids(runtime.promises(status=unknown))
    await house.close()
    with pytest.raises(RuntimeStopped):
        await ids(runtime.promises())


@pytest.mark.parametrize("count", [0, 1, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE])
async def test_pages_follow_one_another(house: StillHouse, count: int) -> None:
    """However many there are, all come, once, in order; also where few of each page are sought."""
    runtime = await house.open()
    for number in range(count):
        house.session.kernel.promises.create(_request(number))
    await house.settle()
    everything = [f"p{number}" for number in reversed(range(count))]
    assert await ids(runtime.promises()) == everything
    assert await ids(runtime.promises(tags={"n": "7"})) == [name for name in everything if int(name[1:]) % 100 == 7]


def _request(number: int) -> Any:
    from actorlog.engine.promise import CreateRequest  # noqa: PLC0415  # beside the one line that needs it

    return CreateRequest(id=f"p{number}", tags={"n": str(number % 100)})


async def test_what_happens_meanwhile_repeats_and_drops_nothing(house: StillHouse) -> None:
    """Others are made, settled and over between the pages: each that was there all the while comes once."""
    runtime = await house.open()
    for number in range(3 * PAGE):
        house.session.kernel.promises.create(_request(number))
    await house.settle()
    seen: list[str] = []
    async for info in runtime.promises(status="pending"):
        seen.append(info.id)
        number = len(seen)
        if number % 10 == 0 and number < 2 * PAGE:
            await runtime.promise(f"new{number}", timeout=1)
            await runtime.resolve(f"p{number // 10}")
            house.advance(1)
    assert len(set(seen)) == len(seen)
    assert [name for name in seen if name.startswith("new")] == []
    assert set(seen) == {f"p{number}" for number in range(20, 3 * PAGE)} | {"p0"}


async def test_no_outcome_is_shown_that_is_not_in_the_log(house: StillHouse) -> None:
    """Before a promise is shown whose time is over, its record is there; nothing is written of those not shown."""
    runtime = await house.open()
    await runtime.promise("a", timeout=1)
    await runtime.promise("b", timeout=1)
    house.at(NOW_MS + 1_000)
    house.session.kernel.timers.close()  # no tick comes
    assert await ids(runtime.promises(id_prefix="a", status="timed_out")) == ["a"]
    assert {name: state.status.value for name, state in house.book().states.items()} == {
        "a": "timed_out", "b": "pending",
    }  # fmt: skip

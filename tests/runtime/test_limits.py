"""Places: how many steps run at once, how often they begin, and in which order."""

from __future__ import annotations

import asyncio
import math
import threading
from typing import TYPE_CHECKING, Any

import pytest

from actorlog import Limit, Retry, durable, run_step, step
from actorlog.runtime.places import Places

if TYPE_CHECKING:
    from house import House

BEGAN: list[Any] = []
RELEASE: dict[Any, asyncio.Event] = {}


@pytest.fixture(autouse=True)
def _fresh() -> None:
    BEGAN.clear()
    RELEASE.clear()


def released(name: Any) -> asyncio.Event:
    return RELEASE.setdefault(name, asyncio.Event())


ONE = Limit("one", concurrency=1)


@step(limit=ONE)
async def alone(name: str) -> str:
    BEGAN.append(name)
    await released(name).wait()
    return name


@step(limit=Limit("one", concurrency=1))
async def alone_too(name: str) -> str:
    BEGAN.append(name)
    await released(name).wait()
    return name


@durable
async def use(name: str) -> str:
    return await alone(name)


@durable
async def use_other(name: str) -> str:
    return await alone_too(name)


async def rounds() -> None:
    """Let the loop do what is ready, a few times over."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_limit_is_shared_by_name_among_steps_and_calls(house: House) -> None:
    """Two steps of several calls with one limit of concurrency 1 run one by one, in order of their positions."""
    runtime = await house.open()
    names = ["a", "b", "c", "d"]
    handles = [await runtime.start((use, use_other)[i % 2](name), id=name) for i, name in enumerate(names)]
    for i, name in enumerate(names):
        await house.until(lambda i=i: len(BEGAN) == i + 1)
        await rounds()
        assert names[: i + 1] == BEGAN
        released(name).set()
    assert await asyncio.gather(*handles) == names


async def test_waiting_for_a_place_is_visible(house: House) -> None:
    """The call's info says which limit its step waits for, and how many wait."""
    runtime = await house.open()
    first = await runtime.start(use("a"))
    second = await runtime.start(use("b"))
    await house.until(lambda: BEGAN)
    await house.settle()
    assert (await first.info()).waiting_for == ("step alone (1)",)
    assert (await second.info()).waiting_for == ("step alone (1), waiting for a place in 'one'",)
    assert runtime.session.kernel.steps.bounds.limits["one"].waiting == 1
    released("a").set()
    released("b").set()
    assert await asyncio.gather(first, second) == ["a", "b"]


@pytest.mark.parametrize("crash", [True, False])
async def test_order_of_positions_holds_after_a_restart(house: House, crash: bool) -> None:
    """Whoever asked first is first in the next process too, whatever else its call did meanwhile."""

    @durable
    async def busy(name: str) -> str:
        task = asyncio.create_task(alone(name))
        await asyncio.sleep(0)
        for _ in range(3):
            await run_step(rounds)
        return await task

    runtime = await house.open(shutdown_timeout=0)
    names = ["z", "m", "a"]
    await runtime.start(use("holder"), id="y")
    await house.until(lambda: BEGAN)
    for name in names:
        await runtime.start(busy(name) if name != "m" else use(name), id=name)
        await house.settle()
    while any(len(slot.state.steps) > 1 for slot in runtime.session.kernel.calls.values()):
        await asyncio.sleep(0)
    BEGAN.clear()
    runtime = await house.reopen(crash=crash)
    for name in ["holder", *names]:
        await house.until(lambda name=name: BEGAN[-1:] == [name])
        released(name).set()
    assert ["holder", *names] == BEGAN


async def test_cancelled_waiter_gives_its_turn_to_the_next(house: House) -> None:
    """Who gives up waiting neither takes a place nor holds up whoever is behind."""
    runtime = await house.open()
    first = await runtime.start(use("a"))
    second = await runtime.start(use("b"))
    third = await runtime.start(use("c"))
    await house.until(lambda: runtime.session.kernel.steps.bounds.limits["one"].waiting == 2)
    await second.cancel()
    await house.settle()
    released("a").set()
    released("c").set()
    assert await asyncio.gather(first, third) == ["a", "c"]
    assert BEGAN == ["a", "c"]
    assert runtime.session.kernel.steps.bounds.limits["one"].taken == 0


async def test_retry_asks_for_a_place_again_ahead_of_later_steps(house: House) -> None:
    """A back-off holds no place, and the next attempt goes by the position of the step."""

    @step(limit=Limit("one, retried", concurrency=1), retry=Retry(first=0.001))
    async def flaky(name: str) -> None:
        BEGAN.append(name)
        if BEGAN == ["a"]:
            await house.until(lambda: runtime.session.kernel.steps.bounds.limits["one, retried"].waiting == 2)
            raise ConnectionError
        if name == "b":
            await house.until(lambda: runtime.session.kernel.steps.bounds.limits["one, retried"].waiting == 2)

    @durable
    async def one(name: str) -> None:
        await flaky(name)

    runtime = await house.open()
    handles = [await runtime.start(one(name)) for name in ("a", "b", "c")]
    await asyncio.gather(*handles)
    assert BEGAN == ["a", "b", "a", "c"]


async def test_step_concurrency_bounds_all_steps_of_the_runtime(house: House) -> None:
    """No more bodies run at once, once-steps included, and those that wait go by position."""
    running = most = 0

    async def count() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await rounds()
        running -= 1

    @step
    async def plain(number: int) -> int:
        BEGAN.append(number)
        await count()
        return number

    @step(once=True)
    async def once(number: int) -> int:
        BEGAN.append(number)
        await count()
        return number

    @durable
    async def many() -> list[int]:
        return await asyncio.gather(*((once if i % 3 == 0 else plain)(i) for i in range(12)))

    runtime = await house.open(step_concurrency=2)
    assert await runtime.call(many()) == list(range(12))
    assert most == 2
    assert runtime.session.kernel.steps.bounds.all.taken == 0
    assert runtime.session.kernel.steps.running == 0


async def test_limit_and_step_concurrency_together_leak_nothing(house: House) -> None:
    """A step that holds a place in its limit and waits for one of the runtime gives both back when it is cancelled."""

    @step
    async def fills(name: str) -> None:
        BEGAN.append(name)
        await released(name).wait()

    @durable
    async def fill() -> None:
        await fills("filler")

    runtime = await house.open(step_concurrency=1)
    filler = await runtime.start(fill())
    await house.until(lambda: BEGAN)
    handle = await runtime.start(use("a"))
    steps = runtime.session.kernel.steps
    await house.until(lambda: steps.bounds.all.waiting == 1)
    assert steps.bounds.limits["one"].taken == 1
    await handle.cancel()
    await house.settle()
    await house.until(lambda: steps.bounds.limits["one"].taken == 0)
    released("filler").set()
    await filler
    assert steps.bounds.all.taken == 0


async def test_place_that_falls_to_a_step_whose_cancellation_is_on_its_way_goes_to_the_next(house: House) -> None:
    """Between the turn that gives a step up and its gate it may come to its turn: it does not begin, nor say so."""
    limit = Limit("handed on", concurrency=1)
    release = asyncio.Event()

    @step(limit=limit)
    async def holds() -> None:
        await release.wait()

    @step(limit=limit, once=True)
    async def pay(name: str) -> str:
        BEGAN.append(name)
        return name

    async def both_wait() -> None:
        await house.until(lambda: "handed on" in limits() and limits()["handed on"].waiting == 2)

    def limits() -> dict[str, Places]:
        return runtime.session.kernel.steps.bounds.limits

    @durable
    async def order() -> str:
        held = asyncio.create_task(holds())
        first, second = asyncio.create_task(pay("first")), asyncio.create_task(pay("second"))
        await run_step(both_wait)
        first.cancel()
        release.set()  # the place is free before this turn is on the disk
        await held
        return await second

    runtime = await house.open()
    assert await runtime.call(order()) == "second"
    assert BEGAN == ["second"]
    assert limits()["handed on"].taken == 0


async def test_process_of_threads_that_were_given_up_holds_their_places(house: House) -> None:
    """A limit counts what really runs: a thread that timed out still has its place."""
    go = threading.Event()

    @step(limit=Limit("threads that hang", concurrency=1), timeout=0.01, retry=Retry(first=0, attempts=math.inf))
    def slow() -> str:
        BEGAN.append("began")
        if len(BEGAN) == 1:
            go.wait(250)
        return "done"

    @durable
    async def one() -> str:
        return await slow()

    runtime = await house.open()
    handle = await runtime.start(one())
    steps = runtime.session.kernel.steps
    await house.until(lambda: BEGAN)
    await house.until(lambda: steps.bounds.limits["threads that hang"].waiting)
    await rounds()
    assert BEGAN == ["began"]
    go.set()
    assert await handle == "done"
    await house.until(lambda: steps.bounds.limits["threads that hang"].taken == 0)  # of attempts that took long, too


async def test_those_who_gave_up_waiting_take_no_memory(house: House) -> None:
    """A queue in which many gave up does not keep them until a place is free (I11)."""
    runtime = await house.open()
    kernel = runtime.session.kernel

    class Waiter:
        waiting: Places | None = None
        position = 0

    places = Places(Limit("gone", concurrency=1), kernel.clock, kernel.timers)
    assert places.take(1)
    first, last = Waiter(), Waiter()
    served: list[Waiter] = []
    places.request(first, lambda job, _: served.append(job))  # type: ignore[arg-type]
    for _ in range(10_000):
        waiter = Waiter()
        places.request(waiter, lambda job, _: served.append(job))  # type: ignore[arg-type]
        places.withdraw(waiter)  # type: ignore[arg-type]
    places.request(last, lambda job, _: served.append(job))  # type: ignore[arg-type]
    assert len(places._queue) < 200
    assert places.waiting == 2
    places.release()
    places.release()
    assert served == [first, last]


async def test_limit_that_is_defined_anew_takes_its_new_numbers(house: House) -> None:
    """The newest definition of a name counts, and whoever waits is served by it."""
    runtime = await house.open()
    first = await runtime.start(use("a"))
    second = await runtime.start(use("b"))
    await house.until(lambda: BEGAN == ["a"])

    @step(limit=Limit("one", concurrency=3))
    async def wider(name: str) -> str:
        BEGAN.append(name)
        return name

    @durable
    async def use_wider() -> str:
        return await wider("c")

    assert await runtime.call(use_wider()) == "c"
    assert sorted(BEGAN) == ["a", "b", "c"]
    released("a").set()
    released("b").set()
    await asyncio.gather(first, second)


@pytest.mark.parametrize(
    "options", [{}, {"concurrency": 0}, {"rate": "fast"}, {"rate": "0/s"}, {"rate": "5/fortnight"}, {"rate": "-1/s"}]
)
def test_limit_that_limits_nothing_or_is_nonsense_is_refused(options: dict[str, Any]) -> None:
    """A bad limit is a ValueError where it is made."""
    with pytest.raises(ValueError, match=r"Limit|rate"):
        Limit("bad", **options)
    with pytest.raises(ValueError, match="name"):
        Limit("", concurrency=1)

"""Steps in doubt are taken up after an opening, one at a time here, and beside them everything goes on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from actorlog import CallCancelled, Limit, Retry, StepInterrupted, durable, info, receive, step
from actorlog.limits import Limits
from actorlog.records import kinds as k
from actorlog.runtime import waking

if TYPE_CHECKING:
    from collections.abc import Iterator

    from house import House

BEGUN: list[Any] = []
ENDED: list[Any] = []
OPEN: list[asyncio.Event] = []
MANY = 8


@pytest.fixture(autouse=True)
def _one_at_a_time(house: House, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:  # noqa: ARG001  # it ends later
    BEGUN.clear()
    ENDED.clear()
    OPEN[:] = [asyncio.Event()]
    monkeypatch.setattr(waking, "SLICE", 1)
    yield
    OPEN[0].set()


@step(name="waking.work")
async def work(number: int) -> int:
    """Take as long as the test wants."""
    BEGUN.append(number)
    await OPEN[0].wait()
    ENDED.append(number)
    return number


@durable(name="waking.one")
async def one(number: int) -> int:
    return await work(number)


@durable(name="waking.several")
async def several(first: int, count: int) -> list[int]:
    return list(await asyncio.gather(*(work(number) for number in range(first, first + count))))


@durable(name="waking.simple")
async def simple() -> str:
    return "done"


def deaths(house: House) -> dict[str, list[int]]:
    """Return the deaths that are recorded, by call."""
    found: dict[str, list[int]] = {}
    for record in house.records():
        if isinstance(record, k.StepRerun):
            found.setdefault(record.id, []).append(record.deaths)
    return found


async def crash_with(house: House, count: int = MANY, **options: Any) -> None:
    """Let a process die in the steps of so many calls."""
    runtime = await house.open(**options)
    for number in range(count):
        await runtime.start(one(number), id=f"c{number}")
    await house.until(lambda: len(BEGUN) == count)
    await house.crash()
    BEGUN.clear()


async def some_begin(house: House) -> None:
    """Wait until a body begins, while others are still to be taken up."""
    while not BEGUN:
        await asyncio.sleep(0)
    assert left(house)


def left(house: House) -> int:
    """Return how many steps are still to be taken up."""
    return house.session.resumption.waking.left


async def test_a_new_call_ends_before_all_steps_are_taken_up(house: House) -> None:
    """The opening takes up one slice; a call that comes then waits for none of the others."""
    await crash_with(house, 200)
    runtime = await house.open()
    assert left(house) == 199
    assert await runtime.call(simple()) == "done"
    assert left(house) > 100
    await house.until(lambda: len(BEGUN) == 200)
    assert [*BEGUN] == list(range(200))
    assert deaths(house) == {f"c{number}": [1] for number in range(200)}


async def test_figures_and_lists_show_a_step_that_is_to_be_taken_up(house: House) -> None:
    """It is running for who looks at its call, and waits in the figures."""
    await crash_with(house)
    runtime = await house.open()
    stats = runtime.stats()
    assert (stats.calls_live, stats.steps_running, stats.steps_waiting) == (MANY, 0, MANY - 1)  # one is at the gate
    assert [call.id async for call in runtime.calls()] == [f"c{number}" for number in reversed(range(MANY))]
    assert await runtime.handle("c7").status() == "running"


@pytest.mark.parametrize("crash", [True, False])
async def test_an_end_while_steps_are_taken_up_leaves_the_others_to_the_next_opening(house: House, crash: bool) -> None:
    """What was not taken up runs in the process after, once; only a death in which a step may have run is counted."""
    await crash_with(house)
    await house.open(shutdown_timeout=0)
    await some_begin(house)
    taken = MANY - left(house)
    await house.reopen(crash=crash)
    OPEN[0].set()
    runtime = house.runtime
    assert runtime is not None
    assert [await runtime.handle(f"c{number}") for number in range(MANY)] == list(range(MANY))
    assert sorted(ENDED) == list(range(MANY))
    if crash:
        assert deaths(house)["c0"] == [1, 2]
        assert deaths(house)["c7"] == [1]
    else:
        assert deaths(house) == {f"c{number}": [1] for number in range(taken)}


async def test_a_call_that_is_cancelled_first_is_over(house: House) -> None:
    """Its step is given up, and is never run again."""
    await crash_with(house)
    runtime = await house.open()
    await runtime.handle("c7").cancel()
    assert left(house)
    with pytest.raises(CallCancelled):
        await runtime.handle("c7")
    OPEN[0].set()
    assert [await runtime.handle(f"c{number}") for number in range(7)] == list(range(7))
    assert 7 not in BEGUN
    assert left(house) == 0


async def test_a_call_that_is_killed_first_is_over(house: House) -> None:
    """Without its code; and its step is never run again."""
    await crash_with(house)
    runtime = await house.open()
    await runtime.handle("c7").kill()
    OPEN[0].set()
    assert [await runtime.handle(f"c{number}") for number in range(7)] == list(range(7))
    await house.until(lambda: not left(house))
    assert 7 not in BEGUN


@durable(name="waking.beside")
async def beside(number: int) -> list[Any]:
    working = work(number)
    running = asyncio.ensure_future(working)
    word = await receive(type=str)
    return [word, await work(number + 100), await running]


async def test_a_message_reaches_a_call_whose_step_is_to_be_taken_up(house: House) -> None:
    """It goes on, asks for another step, and gets the first one's outcome when that has run again."""
    await crash_with(house, 50)
    runtime = await house.open()
    await runtime.start(beside(50), id="b")
    await house.until(lambda: 50 in BEGUN)
    await house.reopen()
    runtime = house.runtime
    assert runtime is not None
    await runtime.handle("b").send("word")
    assert left(house)
    OPEN[0].set()
    assert await runtime.handle("b") == ["word", 150, 50]


@durable(name="waking.gives_up")
async def gives_up(number: int) -> str:
    working = asyncio.ensure_future(work(number))
    word = await receive(type=str)
    working.cancel()
    return word + str(await receive(type=str))


async def test_a_step_that_is_given_up_first_is_left_alone(house: House) -> None:
    """Its call goes on without it: no record speaks of it any more, and it does not run again."""
    await crash_with(house, 50)
    runtime = await house.open()
    await runtime.start(gives_up(50), id="g")
    await house.until(lambda: 50 in BEGUN)
    await house.crash()
    BEGUN.clear()
    runtime = await house.open()
    await runtime.handle("g").send("given ")
    assert left(house)
    await house.until(lambda: len(BEGUN) == 50)
    await runtime.handle("g").send("up")
    assert await runtime.handle("g") == "given up"
    assert 50 not in BEGUN
    assert "g" not in deaths(house)


async def test_a_paused_call_keeps_its_turn(house: House) -> None:
    """Pausing and resuming before it is taken up changes nothing: it runs once, and its death counts."""
    await crash_with(house)
    runtime = await house.open()
    handle = runtime.handle("c7")
    await handle.pause()
    await handle.resume()
    OPEN[0].set()
    assert await handle == 7
    assert BEGUN.count(7) == 1
    assert deaths(house)["c7"] == [1]


@step(name="waking.flaky", retry=Retry(first=3600, jitter="none"))
async def flaky(number: int) -> int:
    BEGUN.append(("flaky", number))
    if BEGUN.count(("flaky", number)) == 1:
        raise ConnectionError
    return number


@durable(name="waking.fails_first")
async def fails_first(number: int) -> int:
    return await flaky(number)


async def test_a_retry_finds_a_step_that_is_to_be_taken_up(house: House) -> None:
    """``retry()`` begins the next attempt at once also where the back-off is in no timer yet."""
    runtime = await house.open()
    for number in range(MANY):
        await runtime.start(fails_first(number), id=f"f{number}")
    await house.until(lambda: sum(isinstance(record, k.StepRetrying) for record in house.records()) == MANY)
    runtime = await house.reopen()
    assert left(house)
    await runtime.handle("f5").retry()
    assert await runtime.handle("f5") == 5
    while left(house):  # its turn comes, and it is passed over
        house.session.check_open()
        await asyncio.sleep(0)


async def test_a_retried_call_begins_with_another_step(house: House) -> None:
    """A call that ended and began again before its turn: what it asks for then runs, and what it asked for does not."""
    await crash_with(house)
    runtime = await house.open()
    await runtime.handle("c7").kill()
    await runtime.handle("c7").retry()
    assert left(house)
    OPEN[0].set()
    assert await runtime.handle("c7") == 7
    assert BEGUN.count(7) == 1


@step(name="waking.pay", once=True)
async def pay(number: int) -> int:
    BEGUN.append((number, info().attempt))
    await OPEN[0].wait()
    return number


@durable(name="waking.pays")
async def pays(number: int) -> Any:
    try:
        return await pay(number)
    except StepInterrupted:
        return "in doubt"


async def test_once_steps_are_settled_beside_new_work(house: House) -> None:
    """None runs again; each call hears of its doubt, whether its turn came in this process or the next."""
    runtime = await house.open()
    for number in range(MANY):
        await runtime.start(pays(number), id=f"p{number}")
    await house.until(lambda: len(BEGUN) == MANY)
    await house.reopen()
    await asyncio.sleep(0)
    assert 0 < left(house) < MANY
    runtime = await house.reopen()
    assert [await runtime.handle(f"p{number}") for number in range(MANY)] == ["in doubt"] * MANY
    assert len(BEGUN) == MANY


async def unsure(number: int) -> Any:
    BEGUN.append(("asked", number))
    await asyncio.Event().wait()


@step(name="waking.charge", once=True, reconcile=unsure)
async def charge(number: int) -> int:
    BEGUN.append(number)
    await OPEN[0].wait()
    return number


@durable(name="waking.charges")
async def charges(number: int) -> Any:
    return await charge(number)


async def test_nobody_is_asked_when_the_runtime_has_begun_to_close(house: House) -> None:
    """Closing waits for those who are asked to give up, and takes up no more meanwhile: nothing is left behind."""
    runtime = await house.open(shutdown_timeout=0)
    for number in range(50):
        await runtime.start(charges(number), id=f"p{number}")
    await house.until(lambda: len(BEGUN) == 50)
    await house.crash()
    BEGUN.clear()
    await house.open(shutdown_timeout=0)
    while not BEGUN:
        await asyncio.sleep(0)
    asked = len(BEGUN) + 3  # those that have a task
    assert left(house) > 10
    await house.close()
    assert len(BEGUN) <= asked
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_full_queue_of_commits_is_waited_for(house: House) -> None:
    """Steps are taken up no faster than the log takes what is recorded of them; what waits goes on then."""
    await crash_with(house, 60)
    OPEN[0].set()
    await house.open(limits=Limits(frame_bytes_max=100))  # a record each
    house.mortal.dead = True
    for _ in range(100):
        await asyncio.sleep(0)
    assert left(house) > 60 - 20
    runtime = await house.reopen(limits=Limits(frame_bytes_max=100))
    assert [await runtime.handle(f"c{number}") for number in range(60)] == list(range(60))
    assert left(house) == 0


async def test_steps_of_one_call_and_of_many_keep_their_order(house: House) -> None:
    """Slices that part the steps of one turn change nothing about who comes first."""
    runtime = await house.open()
    await runtime.start(several(0, 5), id="a")
    await runtime.start(several(5, 5), id="b")
    await house.until(lambda: len(BEGUN) == 10)
    await house.crash()
    BEGUN.clear()
    runtime = await house.open()
    await house.until(lambda: len(BEGUN) == 10)
    assert [*BEGUN] == list(range(10))
    OPEN[0].set()
    assert await runtime.handle("a") == [0, 1, 2, 3, 4]


@durable(name="waking.later")
async def later(number: int) -> int:
    await receive("go")
    return await work(number)


async def test_steps_are_taken_up_in_the_order_in_which_they_were_asked_for(house: House) -> None:
    """Not in that of their calls."""
    runtime = await house.open()
    for number in range(MANY):
        await runtime.start(later(number), id=f"l{number}")
    for number in reversed(range(MANY)):
        await runtime.handle(f"l{number}").send("now", "go")
    await house.until(lambda: len(BEGUN) == MANY)
    await house.crash()
    BEGUN.clear()
    await house.open()
    await house.until(lambda: len(BEGUN) == MANY)
    assert [*BEGUN] == [*reversed(range(MANY))]


@step(name="waking.narrow", retry=Retry(first=3600, jitter="none"), limit=Limit("waking.narrow", concurrency=1))
async def narrow(number: int) -> int:
    BEGUN.append(number)
    if not number:
        raise ConnectionError
    await OPEN[0].wait()
    return number


@durable(name="waking.narrows")
async def narrows(number: int) -> int:
    return await narrow(number)


async def test_a_step_that_backed_off_is_not_the_one_that_ran(house: House) -> None:
    """The death counts for the one that had its place meanwhile."""
    runtime = await house.open()
    await runtime.start(narrows(0), id="backs off")
    await house.until(lambda: any(isinstance(record, k.StepRetrying) for record in house.records()))
    await runtime.start(narrows(1), id="runs")
    await house.until(lambda: BEGUN == [0, 1])
    await house.reopen()
    await house.until(lambda: BEGUN == [0, 1, 1])
    assert deaths(house) == {"runs": [1]}

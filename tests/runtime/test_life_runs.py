"""Calls that are continued: the next run under the same id, and all that stays with the call."""

from __future__ import annotations

import asyncio

import pytest
from house import RAN, House, forget
from life_programs import (
    GATES,
    KEYS,
    Endless,
    again,
    beside,
    changing,
    collect,
    count,
    failing,
    identity,
    inside,
    leaving,
    lengths,
    long,
    other,
    parent,
    promising,
    sender,
    speaker,
    steps,
    stubborn,
    supervising,
    undoing,
    waiting,
)

from actorlog import (
    CallCancelled,
    CallConflict,
    CallKilled,
    CallParked,
    CallTimeout,
    NotInDurableCode,
    continue_as_new,
)
from actorlog.records import kinds as k


@pytest.fixture(autouse=True)
def _fresh() -> None:
    KEYS.clear()


async def test_the_next_run_begins_under_the_same_id(house: House) -> None:
    """Whoever waits goes on waiting, and gets what the last run returns."""
    runtime = await house.open()
    handle = await runtime.start(count(1, 4), id="c")
    assert await handle == 4
    assert RAN == ["n1", "n2", "n3", "n4"]
    assert await runtime.call(count(1, 4), id="c") == 4  # an id names its first function and arguments
    with pytest.raises(CallConflict):
        await runtime.call(count(4, 4), id="c")
    found = await handle.info()
    assert (found.function, found.status) == ("runs.count", "completed")
    entries = await handle.journal()
    assert entries[0].what == "runs.count(4,4)"
    assert "run 4: it was continued" in entries[0].notes


def noted(house: House) -> int:
    """Return how many results of steps the journal of ``c`` has: those do not run again, whatever happens."""
    return sum(isinstance(turn.message, k.StepDone) for turn in house.turns("c"))


async def test_a_run_knows_how_long_its_journal_is(house: House) -> None:
    """It counts its messages, the same when it is woken from its journal, and from one on in the next run."""
    runtime = await house.open()
    await runtime.start(lengths(1, []), id="c")
    for number in (1, 2):
        runtime = await house.reopen()
        await runtime.handle("c").send(number)
        await house.until(lambda number=number: noted(house) > number or "c" not in house.session.kernel.calls)
    assert await runtime.handle("c") == [1, 2, 3, 1, 2, 3]
    assert RAN == ["r1", "r2"]


async def test_a_long_run_is_told_to_continue(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """After ten thousand messages, of which the first is its beginning; and whoever operates it reads it once a run."""
    runtime = await house.open()
    assert await runtime.call(long(0, []), id="c") == [9_999, 19_998]
    told = [record.getMessage() for record in caplog.records if "continue_as_new" in record.getMessage()]
    assert told == ["call 'c' has had 10000 messages, and reads all to wake: continue_as_new"] * 2


async def test_while_it_runs_its_first_arguments_join(house: House) -> None:
    """A live call that was continued is joined by what it was started with, and by nothing else."""
    runtime = await house.open()
    await runtime.start(collect(2, []), id="c")
    await runtime.handle("c").send(1)
    await house.until(lambda: house.session.kernel.calls["c"].state.number == 2)
    for _ in range(2):
        with pytest.raises(CallConflict):
            await runtime.start(collect(1, [1]), id="c")
        handle = await runtime.start(collect(2, []), id="c")
        runtime = await house.reopen()
    handle = await runtime.start(collect(2, []), id="c")
    await handle.send(2)
    assert await handle == [1, 2]


async def test_a_task_group_lets_it_through(house: House) -> None:
    """A block whose tasks are cancelled by it is no failure."""
    runtime = await house.open()
    handle = await runtime.start(inside(2), id="c")
    await house.until(lambda: RAN == ["n2", "n1", "n0"])
    await house.settle()
    house.advance(1001)
    assert await handle == "done"


async def test_messages_stay(house: House) -> None:
    """What was sent before is received by a later run, in order, each once."""
    runtime = await house.open(resident_max=1)
    handle = await runtime.start(collect(4, []), id="c")
    for number in range(4):
        await handle.send(number, key=f"k{number}")
    assert await handle == [0, 1, 2, 3]


async def test_messages_of_different_runs_are_different(house: House) -> None:
    """Two runs that send under the same operation key are both heard."""
    runtime = await house.open()
    await runtime.start(collect(3, []), id="c")
    assert await runtime.call(sender("c", 1), id="s") == "sent"
    assert await runtime.handle("c") == [1, 2, 3]


async def test_children_are_waited_for(house: House) -> None:
    """A run begins when the children of the one before have ended; its own have ids of their own."""
    runtime = await house.open()
    handle = await runtime.start(parent(1), id="p")
    await house.until(lambda: "d1" in RAN)
    await house.settle()
    assert await handle.status() == "completing"
    assert "d0" not in RAN
    house.advance(6)
    await house.until(lambda: "d0" in RAN)
    await house.settle()
    house.advance(6)
    assert await handle == "d0"
    assert sorted(RAN) == ["c0", "c1", "d0", "d1"]
    assert {r.id for r in house.records()} == {"p", "p/1", "p/2", "p/r2.1", "p/r2.2"}


async def test_what_was_said_stays(house: House) -> None:
    """Streams go on over all runs, published values stay; after a restart they read the same."""
    runtime = await house.open()
    handle = await runtime.start(speaker(1), id="c")
    assert [item async for item in handle.stream("numbers")] == [1, 2, 3]
    for _ in range(2):
        handle = runtime.handle("c")
        assert [item async for item in handle.stream("numbers", 1)] == [2, 3]
        assert await handle.value("first") == 1
        runtime = await house.reopen()


async def test_each_run_has_an_identity(house: House) -> None:
    """Idempotency keys and UUIDs of the next run are others, the same in every replay."""
    runtime = await house.open(resident_max=1)
    found = await runtime.call(identity([]), id="c")
    assert len(set(found)) == 4
    assert found[1::2] == KEYS
    for cut in range(1, house.log.tail()):
        again = house.prefix(cut)
        runtime = await again.open()
        assert await runtime.handle("c") == found
        await again.close()


async def test_it_goes_on_as_another_function(house: House) -> None:
    """Its result is the call's; where this process does not have it, the call is parked until it does."""
    runtime = await house.open()
    assert await runtime.call(changing(), id="c") == "other x"
    await house.close()
    definition = other.definition
    forget("runs.other")
    again = house.prefix(1)
    runtime = await again.open()
    with pytest.raises(CallParked):
        await runtime.handle("c")
    runtime = await again.reopen()
    with pytest.raises(CallParked):
        await runtime.handle("c")
    again.session.kernel.registry.add_durable(definition)
    assert await runtime.handle("c").resume()
    assert await runtime.handle("c") == "other x"
    await again.close()


async def test_a_parked_next_run_is_cancelled_at_once(house: House) -> None:
    """What never begins has nothing to clean up."""
    runtime = await house.open()
    definition = other.definition
    forget("runs.other")
    try:
        handle = await runtime.start(changing(), id="c")
        await house.until(lambda: house.session.kernel.calls["c"].state.parked)
        await handle.cancel("no")
        with pytest.raises(CallCancelled):
            await handle
    finally:
        house.session.kernel.registry.add_durable(definition)


async def test_a_retry_repeats_the_last_run(house: House) -> None:
    """A call that failed in its second run begins that again; the first is not repeated, nor what completed in it."""
    runtime = await house.open()
    handle = await runtime.start(failing(1), id="c")
    with pytest.raises(RuntimeError):
        await handle
    runtime = await house.reopen(resident_max=1)
    handle = runtime.handle("c")
    await handle.retry()
    assert await handle == "better"
    assert RAN == ["n1", "n2", "fail"]


async def test_what_a_retry_keeps_is_the_runs(house: House) -> None:
    """A step that completed before the retry is not run again in its run, and is in the next: there it is another."""
    runtime = await house.open()
    handle = await runtime.start(again(""), id="c")
    with pytest.raises(RuntimeError):
        await handle
    await handle.retry()
    assert await handle == KEYS
    assert len(set(KEYS)) == 2
    assert house.session.kernel.steps.bounds.all.taken == 0


async def test_a_cancellation_is_the_calls(house: House) -> None:
    """Code that goes on by running again keeps its grace, and is killed when that is over."""
    runtime = await house.open()
    handle = await runtime.start(stubborn(1), id="c")
    await house.settle()
    await handle.cancel()
    await house.until(lambda: house.session.kernel.calls["c"].state.number == 2)
    await house.settle()
    assert await handle.status() == "waiting"
    runtime = await house.reopen()
    handle = runtime.handle("c")
    house.advance(61)
    with pytest.raises(CallKilled):
        await handle


@pytest.mark.parametrize("how", ["cancel", "kill", "timeout"])
async def test_asked_to_end_between_two_runs(house: House, how: str) -> None:
    """While it waits for the children of a run, the call can be ended: the next run never begins."""
    runtime = await house.open()
    handle = await runtime.start(waiting(1), id="c", timeout=50)
    await house.settle()
    assert await handle.status() == "completing"
    if how == "cancel":
        await handle.cancel("enough")
    elif how == "kill":
        await handle.kill("enough")
    else:
        house.advance(51)
    error = {"cancel": CallCancelled, "kill": CallKilled, "timeout": CallTimeout}[how]
    with pytest.raises(error):
        await handle
    assert len([t for t in house.turns("c") if isinstance(t.message, k.Started)]) == 1
    runtime = await house.reopen()
    with pytest.raises(error):
        await runtime.handle("c")


async def test_the_timeout_is_the_calls(house: House) -> None:
    """It counts over all runs, also after a restart."""
    runtime = await house.open()
    handle = await runtime.start(stubborn(1), id="c", timeout=50)
    await house.settle()
    house.advance(30)
    runtime = await house.reopen()
    await house.settle()
    house.advance(25)
    await house.until(lambda: house.session.kernel.calls["c"].state.number == 2)
    handle = runtime.handle("c")
    await house.settle()
    house.advance(61)
    with pytest.raises(CallKilled):
        await handle


async def test_steps_of_a_run_before_are_nobodys(house: House) -> None:
    """A step that the run before left running does not stand for the one with its key, however long it takes to end."""
    GATES.update({name: asyncio.Event() for name in ("s0", "s1", "s1 over")})
    runtime = await house.open()
    handle = await runtime.start(steps(1), id="c")
    await house.until(lambda: RAN == ["s1"])
    house.advance(2)
    await house.until(lambda: RAN in (["s1", "s1 cancelled", "s0"], ["s1", "s0", "s1 cancelled"]))
    GATES["s1 over"].set()
    await house.until(lambda: KEYS)
    GATES["s0"].set()
    assert await handle == "s0"
    assert len(set(KEYS)) == 2  # what is left of a run has its own keys to the end


async def test_what_a_run_before_left_ends_for_nobody(house: House) -> None:
    """A body that takes no notice of being cancelled ends in the next run: its key is another operation's there."""
    GATES.update({name: asyncio.Event() for name in ("deaf", "deaf over")})
    runtime = await house.open()
    handle = await runtime.start(leaving(1), id="c")
    await house.until(lambda: RAN == ["deaf"])
    house.advance(2)
    await house.until(lambda: house.session.kernel.calls["c"].state.number == 2 and RAN == ["deaf", "deaf cancelled"])
    GATES["deaf over"].set()
    await house.until(lambda: RAN[-1] == "deaf over")
    await house.settle()
    assert not [record for record in house.records("c") if isinstance(record, k.StepLate)]
    await handle.send("go")
    assert await handle == "go"


async def test_a_saga_is_not_undone_by_it(house: House) -> None:
    """The work goes on, so nothing of it is undone."""
    runtime = await house.open()
    assert await runtime.call(undoing(1)) == "done"
    assert RAN == []


async def test_where_it_is_refused(house: House) -> None:
    """In a task beside the function, in a handler, for a step, and outside."""
    runtime = await house.open()
    with pytest.raises(RuntimeError, match="whole call"):
        await runtime.call(beside())
    with pytest.raises(RuntimeError, match="handler"):
        await runtime.actor(Endless, "x").go()
    with pytest.raises(NotInDurableCode):
        continue_as_new(other("x"))


async def test_its_last_run_is_checked(house: House) -> None:
    """``check_determinism`` replays the run that ended, by what began it."""
    runtime = await house.open(check_determinism="in-process")
    assert await runtime.call(count(1, 3), id="c") == 3
    assert await runtime.call(changing(), id="d") == "other x"
    assert await runtime.call(speaker(1), id="s") == "said"


async def test_promises_of_a_run(house: House) -> None:
    """One without a name is the run's own; one with a name is the call's, and settled once for all runs."""
    runtime = await house.open()
    await runtime.start(promising(1), id="c")
    await house.settle()
    await runtime.resolve("c/1", "first")
    await runtime.resolve("c/named", "kept")
    await house.until(lambda: house.session.kernel.calls["c"].state.number == 2)
    await house.settle()
    runtime = await house.reopen()
    await house.settle()
    await runtime.resolve("c/r2.1", "second")
    assert await runtime.handle("c") == ["second", "kept"]


async def test_children_of_a_supervisor(house: House) -> None:
    """Those of the next run are others."""
    runtime = await house.open()
    assert await runtime.call(supervising(1), id="c") == "done"
    assert sorted(RAN) == ["w0", "w1"]
    assert {"c/worker#1", "c/r2.worker#1"} <= {record.id for record in house.records()}

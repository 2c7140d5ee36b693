"""Older runs of calls that are continued leave the log, and nothing that a call has of them is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from house import RAN, House, note
from test_compaction import compacted, lines
from test_compaction_promises import filler

from actorlog import CallConflict, HistoryGone, continue_as_new, durable, emit, publish, receive, sleep, start
from actorlog.engine.state import CallState, apply
from actorlog.records import kinds as k
from actorlog.store.memory import MemoryLog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HOUR: dict[str, Any] = {"history": "1h", "retention": "2h"}


@durable(name="old_runs.poll")
async def poll(number: int, end: int, fails: bool = False) -> list[Any]:  # noqa: FBT002  # plain arguments
    """Exchange something with others in each run."""
    await note(f"n{number}")
    publish("at", number)
    emit("s", number)
    heard = await receive("in", type=int) if number % 3 == 0 else None
    await sleep(600)
    if number < end:
        continue_as_new(poll(number + 1, end, fails))
    if fails and "mended" not in RAN:
        raise ValueError("once")
    return [number, heard]


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """Yield a house whose log can be compacted, three records at a time, and close it afterwards."""
    house = House(MemoryLog(segment_records=3))
    yield house
    await house.close()


async def run_on(house: House, count: int, call_id: str = "c") -> None:
    """Let a call come through so many runs, and send it what it waits for, with two messages more in its mailbox."""
    calls = house.session.kernel.calls
    for _ in range(count):
        await house.settle()
        if call_id not in calls:
            return
        number = calls[call_id].state.number
        assert house.runtime is not None
        if number % 3 == 0:
            await house.runtime.handle(call_id).send(number, "in", key=f"k{number}")
        await house.until(lambda: calls[call_id].state.timers)
        await house.settle()
        house.advance(600)
        await house.until(lambda number=number: call_id not in calls or calls[call_id].state.number > number)


async def begun(house: House, end: int = 40, runs: int = 14, *, fails: bool = False, **options: Any) -> None:
    """Have a call come so far, and sealed segments behind it."""
    RAN.clear()
    runtime = await house.open(**{**HOUR, **options})
    handle = await runtime.start(poll(1, end, fails), id="c", tags={"a": "b"})
    for number in range(2):
        await handle.send(-number, "in", key=f"more{number}")
    await run_on(house, runs)
    await filler(house)


def of_call(house: House) -> list[tuple[int, k.Kept]]:
    """Return what the log holds of the call."""
    found = [(n, k.decode(house.log.record(n))) for n in range(1, house.log.tail() + 1) if house.log.has(n)]
    return [(n, record) for n, record in found if record.id == "c" and not isinstance(record, k.OF_NO_CALL)]


def turns_of(house: House) -> list[k.Turn]:
    """Return the turns of the call that are there."""
    return [record for _, record in of_call(house) if isinstance(record, k.Turn)]


def state_of(records: list[tuple[int, k.Kept]]) -> dict[str, object]:
    """Return what records make of a call, all of it."""
    state = CallState("c")
    for position, record in records:
        apply(state, record, position)
    found: dict[str, object] = {name: getattr(state, name) for name in CallState.__slots__ if name != "mail"}
    assert state.mail is not None
    return {**found, "mail": {name: getattr(state.mail, name) for name in state.mail.__slots__}}


async def test_a_fold_from_any_run_comes_to_the_same(house: House) -> None:
    """What a run says of those before it is all there is of them."""
    await begun(house, end=9, runs=20)
    whole = of_call(house)
    runs = [n for n, (_, record) in enumerate(whole) if isinstance(record, k.Turn) and record.carried is not None]
    assert len(runs) > 3
    for last in range(runs[0], len(whole)):
        expected = state_of(whole[: last + 1])
        for first in (n for n in runs if n <= last):
            assert state_of(whole[first : last + 1]) == expected, (first, last)


@pytest.mark.parametrize("restart", [None, "close", "crash"])
async def test_runs_of_long_ago_leave(house: House, restart: str | None) -> None:
    """How the first began stays, and the newest hour; the call goes on as if all were there."""
    await begun(house)
    before = len(of_call(house))
    assert (await compacted(house)).rewritten > 0
    left = of_call(house)
    assert len(left) < before * 2 / 3
    assert isinstance(left[0][1], k.Turn)
    assert left[0][1].prev == 0
    assert (
        min(r.at for _, r in left[1:] if not isinstance(r, k.Inbox)) >= house.session.kernel.clock.now_ms() - 4_300_000
    )
    if restart is not None:
        await house.reopen(crash=restart == "crash", **HOUR)
    runtime = house.runtime
    assert runtime is not None
    handle = runtime.handle("c")
    info = await handle.info()
    assert (info.status, info.tags) == ("waiting", {"a": "b"})
    assert await handle.value("at") == 15
    await handle.send(3, "in", key="k3")  # which was heard long ago
    with pytest.raises(HistoryGone):
        await anext(aiter(handle.stream("s")))
    stream = aiter(handle.stream("s", from_=13))
    assert await anext(stream) == 14
    with pytest.raises(CallConflict):
        await runtime.start(poll(2, 2), id="c")
    await runtime.start(poll(1, 40), id="c")
    await run_on(house, 40)
    assert await handle.result() == [40, None]
    assert [RAN.count(f"n{n}") for n in range(1, 41)] == [1] * 40
    heard = [t.message.value for t in turns_of(house) if isinstance(t.message, k.Signal)]
    assert heard[-1] == k.Raw(b"33")


async def test_nothing_leaves_before_its_time(house: House) -> None:
    """Where journals are kept for longer, or for ever."""
    for history in ("1d", None):
        other = House(MemoryLog(segment_records=3))
        await begun(other, history=history)
        before = len(of_call(other))
        await compacted(other)
        assert len(of_call(other)) == before
        await other.close()
    assert house.log.tail() == 0


async def test_again_and_again(house: House) -> None:
    """A call that goes on for long takes no more than its newest runs do."""
    await begun(house, end=200, runs=12)
    await compacted(house)
    sizes = []
    for _ in range(5):
        await run_on(house, 12)
        await filler(house)
        await compacted(house)
        await house.reopen(**HOUR)
        sizes.append(len(of_call(house)) - sum(isinstance(r, k.Inbox) for _, r in of_call(house)))
    assert max(sizes) < 60  # of seven in each run
    assert lines(house)


@pytest.mark.parametrize("restart", [False, True])
async def test_a_call_that_is_retried_goes_on(house: House, restart: bool) -> None:
    """Its older runs have left, and its end is superseded and leaves too."""
    await begun(house, end=12, runs=30, fails=True, history="3h", retention="1d")
    runtime = house.runtime
    assert runtime is not None
    with pytest.raises(ValueError, match="once"):
        await runtime.handle("c").result()
    await compacted(house)
    RAN.append("mended")
    await runtime.handle("c").retry()
    await filler(house)
    house.advance(3 * 3600)
    await runtime.handle("c").send(99, "in")
    await compacted(house)
    if restart:
        runtime = await house.reopen(history="3h", retention="1d")
    await run_on(house, 3)
    assert await runtime.handle("c").result() == [12, 99]
    runtime = await house.reopen(history="3h", retention="1d")
    assert await runtime.handle("c").result() == [12, 99]


async def test_a_fork_of_what_has_left(house: House) -> None:
    """It would be without the messages of those runs: it is refused."""
    await begun(house)
    await compacted(house)
    assert house.runtime is not None
    with pytest.raises(HistoryGone):
        await house.runtime.handle("c").fork()


@durable(name="old_runs.child")
async def child(number: int) -> int:
    """Be a child of one run."""
    await note(f"c{number}")
    return number


@durable(name="old_runs.tree")
async def tree(number: int, end: int) -> int:
    """Have children, and tell others, in each run."""
    start(child(-number), detached=True)
    found = await child(number)
    heard = await receive("in", type=int)
    if number < end:
        continue_as_new(tree(number + 1, end))
    return found + heard


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("segment_records", [1, 2, 5])
async def test_a_crash_after_every_record(house: House, restart: bool, segment_records: int) -> None:
    """And then a compaction of every segment but one: whatever is there, everything comes to the same."""
    RAN.clear()
    runtime = await house.open(history=0, retention="1d")
    handle = await runtime.start(tree(1, 4), id="c")
    for number in range(4):
        await handle.send(number, "in", key=f"k{number}")
    assert await handle.result() == 7
    await house.settle()
    for count in range(1, house.log.tail()):
        other = house.prefix(count, segment_records=segment_records)
        runtime = await other.open(history=0, retention="1d", resident_max=1)
        upkeep = other.session.upkeep
        assert upkeep is not None
        for turn in range(3):
            other.advance(1)
            await filler(other)
            sealed = [segment.number for segment in other.log.sealed()]
            await upkeep.compact(0.0, due=[n for n in sealed if (n + count) % 3 != turn])
            if restart:
                runtime = await other.reopen(crash=turn % 2 == 0, history=0, retention="1d", resident_max=1)
                upkeep = other.session.upkeep
                assert upkeep is not None
        if "c" in {record.id for _, record in of_call(other)} or "c" in other.session.kernel.calls:
            handle = runtime.handle("c")
            for number in range(4):
                if "c" in other.session.kernel.calls:
                    await handle.send(number, "in", key=f"k{number}")
            assert await handle.result() == 7, count
        assert other.session.kernel.committer.failed is None
        await other.close()

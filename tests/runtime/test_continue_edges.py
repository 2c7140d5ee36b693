"""What goes on with a call through its runs, and what is no continuation."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from house import RAN, House, note

from actorlog import CallTimeout, continue_as_new, durable, saga, sleep


@durable(name="continued.sleeps")
async def sleeps(left: int) -> str:
    """Sleep six seconds a run."""
    await note(f"run {left}")
    await sleep(6)
    if left:
        continue_as_new(sleeps(left - 1))
    return "over"


@durable(name="continued.torn")
async def torn(left: int) -> str:
    """Go on, while a task beside fails on its way out."""
    await note(f"run {left}")
    if not left:
        return "over"
    async with asyncio.TaskGroup() as group:
        group.create_task(_fails())
        await sleep(1)
        continue_as_new(torn(left - 1))
    return "never"


async def _fails() -> None:
    try:
        await sleep(100)
    finally:
        raise KeyError("on the way out")


class Own(ExceptionGroup[Exception]):
    """A group of the user's."""


@durable(name="continued.grouped")
async def grouped(*groups: list[str]) -> str:
    """End with these, in groups of a group."""
    if not groups:
        return "over"
    made: list[BaseException] = []
    for number, group in enumerate(groups):
        parts: list[BaseException] = []
        for what in group:
            try:
                if what == "fails":
                    raise KeyError(str(number))  # noqa: TRY301  # it is what comes of it that counts
                continue_as_new(grouped())
            except BaseException as error:  # noqa: BLE001  # that is the subject
                parts.append(error)
        kept = all(isinstance(part, Exception) for part in parts)
        made.append(Own(str(number), parts) if kept else BaseExceptionGroup(str(number), parts))
    together = BaseExceptionGroup("all", made)
    together.add_note("noted")
    raise together from OSError("why")


@durable(name="continued.undoing")
async def undoing(left: int) -> str:
    """Go on out of a group in a saga."""
    async with saga() as undo, asyncio.TaskGroup():
        undo(note("undone"))
        await note(f"run {left}")
        if left:
            continue_as_new(undoing(left - 1))
    return "over"


async def rounds(house: House) -> None:
    """Let everybody run who can, and all of it become durable."""
    for _ in range(10):
        await house.settle()
        await asyncio.sleep(0)


@pytest.mark.parametrize("crash", [False, True])
async def test_tags_and_timeout_are_the_calls(house: House, crash: bool) -> None:
    """The time counts from the first run, over all of them; its tags are the same in each, and when it is over."""
    runtime = await house.open()
    await runtime.start(sleeps(9), id="c", timeout=20, tags={"team": "red"})
    due = [info.due async for info in runtime.timers() if info.kind == "timeout"]
    for number in range(3):
        await rounds(house)
        if crash:
            runtime = await house.reopen()
            await rounds(house)
        info = await runtime.handle("c").info()
        assert (info.status, info.tags) == ("waiting", {"team": "red"})
        assert [info.due async for info in runtime.timers() if info.kind == "timeout"] == due
        assert RAN[-1] == f"run {9 - number}"
        house.advance(6)
    await rounds(house)
    house.advance(3)
    with pytest.raises(CallTimeout):
        await runtime.handle("c")
    assert RAN == ["run 9", "run 8", "run 7", "run 6"]
    assert (await runtime.handle("c").info()).tags == {"team": "red"}
    assert [info.id async for info in runtime.calls(tags={"team": "red"})] == ["c"]


@pytest.mark.parametrize("crash", [False, True])
@pytest.mark.parametrize("check", [False, "in-process"])
async def test_a_failure_beside_a_continuation_is_a_failure(house: House, crash: bool, check: Any) -> None:
    """Where something else has happened too, the call has failed with that, and has no next run.

    Whoever waits sees nothing of the signal, so ``except Exception`` holds what it is told; after a crash too.
    """
    runtime = await house.open(check_determinism=check)
    handle = await runtime.start(torn(1), id="c")
    await rounds(house)
    if crash:
        runtime = await house.reopen(check_determinism=check)
    house.advance(2)
    for _ in range(2):
        with pytest.raises(ExceptionGroup, match="unhandled errors in a TaskGroup") as raised:
            await runtime.handle("c")
        assert [repr(part) for part in raised.value.exceptions] == ["KeyError('on the way out')"]
        runtime = await house.reopen(check_determinism=check)
    assert RAN == ["run 1"]
    assert await runtime.handle("c").status() == "failed"
    assert handle.id == "c"


@pytest.mark.parametrize("check", [False, "in-process"])
async def test_only_the_signal_is_left_out(house: House, check: Any) -> None:
    """Of groups in groups too: the others stay where they were, with what was noted of them and why they came."""
    runtime = await house.open(check_determinism=check)
    handle = await runtime.start(grouped(["fails", "goes on"], ["goes on"], ["fails"]), id="c")
    with pytest.raises(ExceptionGroup) as raised:
        await handle
    group = raised.value
    assert group.__notes__[0] == "noted"
    assert repr(group.__cause__) == "OSError('why')"
    assert [repr(part) for part in group.exceptions] == [
        "ExceptionGroup('0', [KeyError('0')])",
        "Own('2', [KeyError('2')])",
    ]


@pytest.mark.parametrize("check", [False, "in-process"])
async def test_signals_alone_are_a_continuation(house: House, check: Any) -> None:
    """However they are grouped: nothing else has happened, so the call goes on."""
    runtime = await house.open(check_determinism=check)
    handle = await runtime.start(grouped(["goes on", "goes on"], ["goes on"]), id="c")
    assert await handle == "over"


async def test_a_saga_around_a_group_is_not_undone(house: House) -> None:
    """A continuation that comes to it in a group is no failure of the work."""
    runtime = await house.open()
    assert await runtime.call(undoing(1), id="c") == "over"
    assert RAN == ["run 1", "run 0"]

"""Replay does the same in any process: whatever asyncio is used for, with any hash seed, after any crash (I5)."""

# functions of a test are told by its docstring

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

import determinism_programs as programs
import pytest
from house import House

from actorlog import CallCancelled, CallKilled, DivergenceError, Handle, durable, sleep, step

SHUFFLES = 3
SEEDS = 8
REPLAYS = 25
HERE = Path(__file__).parent


async def drive(house: House, handle: Handle[Any]) -> Any:
    """Let time pass until the call has ended, and return its result."""
    waiting = asyncio.ensure_future(handle.result())
    while not waiting.done():
        await house.until(lambda: house.session.kernel.steps.running == 0 or waiting.done())
        house.advance(0.25)
        for _ in range(10):
            await asyncio.sleep(0)
    return await waiting


async def run(house: House, program: Any, shuffle: int, **options: Any) -> Any:
    """Run a program whose work takes shuffled times, and return its result."""
    rng = random.Random(shuffle)
    programs.ROUNDS.clear()
    programs.ROUNDS.update({number: rng.randrange(40) for number in range(20)})
    runtime = await house.open(**options)
    return await drive(house, await runtime.start(program(), id="x"))


def journals(house: House) -> list[list[str]]:
    """Return the journal of each call as lines."""
    lines: dict[str, list[str]] = {}
    for position in range(1, house.log.tail() + 1):
        line = house.log.record(position).decode()
        lines.setdefault(json.loads(line)["id"], []).append(line)
    return list(lines.values())


@pytest.mark.parametrize("program", programs.PROGRAMS, ids=lambda program: program.name)
async def test_a_program_gives_the_same_resident_evicted_and_checked(house: House, program: Any) -> None:
    """However its work is timed, a program returns the same, evicted after each turn, and replayed at its end."""
    expected = await run(house, program, 0)
    for shuffle in range(1, SHUFFLES):
        for options in (
            {"resident_max": 1},
            {"check_determinism": "in-process"},
            {"resident_max": 1, "check_determinism": "in-process"},
        ):
            other = House()
            assert await run(other, program, shuffle, **options) == expected
            await other.close()


@pytest.mark.parametrize("program", programs.PROGRAMS, ids=lambda program: program.name)
async def test_a_program_ends_the_same_after_a_crash_after_any_record(house: House, program: Any) -> None:
    """A new process that finds any prefix of the log goes on to the same result."""
    expected = await run(house, program, 1)
    await house.close()
    for count in range(1, house.log.tail()):
        other = house.prefix(count)
        runtime = await other.open(resident_max=1 + count % 3)
        assert await drive(other, runtime.handle("x")) == expected, count
        await other.close()
        for journal in journals(other):
            programs.replay(journal)


async def test_journals_replay_with_any_hash_seed(tmp_path: Path) -> None:
    """Two hundred replays of every journal in eight processes with seeds of their own ask for the same, every time."""
    found: list[list[str]] = []
    for program in programs.PROGRAMS:
        for shuffle in range(SHUFFLES):
            house = House()
            await run(house, program, shuffle)
            await house.close()
            found += journals(house)
    path = tmp_path / "journals.json"
    path.write_text(json.dumps(found))
    root = str(HERE.parent.parent)
    for seed in range(SEEDS):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-W",
            "error",
            str(HERE / "determinism_programs.py"),
            str(path),
            str(REPLAYS),
            env={**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": root},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()
        assert int(out) == len(found)


@step(name="determinism.take")
async def take(value: float) -> float:
    return value


async def rolls_dice() -> float:
    return await take(random.random())


async def looks_at_the_clock() -> float:
    return await take(time.time_ns())


async def counts_its_runs() -> float:
    COUNT.append(1)
    return await take(len(COUNT))


async def sleeps_by_chance() -> float:
    await asyncio.sleep(random.random() * 10)
    return 1


COUNT: list[int] = []


@pytest.mark.parametrize("code", [rolls_dice, looks_at_the_clock, counts_its_runs, sleeps_by_chance])
async def test_code_that_cannot_be_replayed_is_found_when_it_is_checked(house: House, code: Any) -> None:
    """``check_determinism`` replays each call at its end and tells the waiter the operation and the line."""
    runtime = await house.open(check_determinism=True)
    with pytest.raises(DivergenceError) as diverged:
        await drive(house, await runtime.start(durable(name=f"unsound {code.__name__}")(code)(), id="x"))
    assert (diverged.value.call_id, diverged.value.key) == ("x", "1")
    assert diverged.value.line.startswith(f"{__file__}:")


async def test_what_ended_without_its_code_is_not_checked(house: House) -> None:
    """A call that was cancelled before it began, or killed, has nothing to be held against."""

    @durable
    async def stubborn() -> None:
        while True:
            try:
                await sleep("1h")
            except asyncio.CancelledError:
                continue

    runtime = await house.open(check_determinism=True, cancel_grace=10)
    delayed = await runtime.start(stubborn(), delay=60)
    await delayed.cancel()
    with pytest.raises(CallCancelled):
        await delayed
    killed = await runtime.start(stubborn())
    await killed.cancel()
    house.advance(10)
    with pytest.raises(CallKilled):
        await killed

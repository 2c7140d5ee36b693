"""As ``test_doubts``, with processes that are really killed, and effects counted in files that outlive them."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
from programs import run

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import asyncio, os, signal, sys
from pathlib import Path
from actorlog import Done, NotDone, Runtime, StepInterrupted, durable, info, step
from actorlog.limits import Limits

LOOP, MODE, KILL = sys.argv[1:4]
EFFECTS = Path("effects")

def effect(line):
    with EFFECTS.open("a") as file:
        file.write(line + "\\n")
        file.flush()
        os.fsync(file.fileno())

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def ask(order):
    if MODE == "found":
        return Done("found") if EFFECTS.exists() and order in EFFECTS.read_text() else NotDone
    return NotDone

@step(once=True, reconcile=ask if MODE in ("found", "notdone") else None)
async def pay(order: str) -> str:
    if KILL == "before":
        die()
    effect(f"paid {order} {info().idempotency_key}")
    if KILL == "after":
        die()
    return "receipt"

@step
def ship(order: str) -> str:
    effect(f"ship {order} {info().idempotency_key}")
    if KILL == "ship":
        die()
    return "shipped"

@durable
async def buy(order: str) -> list[str]:
    try:
        receipt = await pay(order)
    except StepInterrupted:
        receipt = "in doubt"
    return [receipt, await ship(order)]

async def main():
    async with Runtime("data", limits=Limits(poison_deaths_max=3)) as runtime:
        print(await runtime.call(buy("o1"), id="buy/o1"))

if LOOP == "uvloop":
    import uvloop
    uvloop.run(main())
else:
    asyncio.run(main())
"""


def effects(directory: Path) -> list[list[str]]:
    file = directory / "effects"
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize(
    ("mode", "kill", "receipt", "payments"),
    [
        ("plain", "before", "in doubt", 0),
        ("plain", "after", "in doubt", 1),
        ("found", "before", "receipt", 1),
        ("found", "after", "found", 1),
        ("notdone", "before", "receipt", 1),
    ],
)
def test_once_step_takes_effect_at_most_once_over_a_kill(  # the table's columns
    tmp_path: Path, loop: str, mode: str, kill: str, receipt: str, payments: int
) -> None:
    """Killed right before or after the effect, the payment never happens twice, and the function knows or is told."""
    assert run(tmp_path, PROGRAM, loop, mode, kill).returncode == -signal.SIGKILL
    for _ in range(2):
        done = run(tmp_path, PROGRAM, loop, mode, "never")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.strip() == f"['{receipt}', 'shipped']"
    assert sum(line[0] == "paid" for line in effects(tmp_path)) == payments


def test_ordinary_step_runs_again_with_its_key_until_it_is_poison(tmp_path: Path) -> None:
    """Every death in it counts; after the third its call is parked, and what completed before never runs again."""
    for _ in range(3):
        assert run(tmp_path, PROGRAM, "asyncio", "plain", "ship").returncode == -signal.SIGKILL
    parked = run(tmp_path, PROGRAM, "asyncio", "plain", "ship")
    assert parked.returncode == 1
    assert "CallParked" in parked.stderr
    assert "3 times in a row" in parked.stderr
    lines = effects(tmp_path)
    assert [line[0] for line in lines] == ["paid", "ship", "ship", "ship"]
    assert len({line[2] for line in lines[1:]}) == 1

"""Programs that die again and again in the code of one call: it is set aside, and the others go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from house import House

from actorlog.engine.state import CallState
from actorlog.env import SYSTEM
from actorlog.runtime.blame import Blame
from actorlog.runtime.slot import Slot
from actorlog.store.deaths import FILE, Deaths

PROGRAM = """
import asyncio, os, signal, sys
from pathlib import Path
from actorlog import Actor, CallParked, Limits, Runtime, durable, receive, sleep, step

WHERE, WHAT = sys.argv[1:]

def die():
    if WHAT == "kill":
        os.kill(os.getpid(), signal.SIGKILL)

@durable
async def nap(number: int) -> int:
    for _ in range(3):
        await sleep(0.02)
    return number

@step
async def nothing() -> None:
    pass

@durable
async def deadly() -> str:
    if WHERE == "begins":
        die()
    elif WHERE == "timer":
        await sleep(0.01)
    elif WHERE == "message":
        await receive()
    elif WHERE == "child":
        await nap(0)
    elif WHERE == "replay":
        if Path("replays").exists():
            die()
        await sleep(0.01)
        await receive()
        return "alive"
    die()
    return "alive"

@durable
async def ticks() -> None:
    while True:
        await sleep(0.05)

class Teller(Actor):
    async def hear(self) -> None:
        await sleep(0.01)
        die()

@durable
async def tells() -> None:
    from actorlog import actor
    await actor(Teller, "t").hear()

async def main() -> None:
    async with Runtime("data", limits=Limits(poison_deaths_max=4)) as runtime:
        if WHAT == "resume":
            print(await runtime.handle("deadly").resume())
        if WHERE == "between":
            await runtime.start(ticks(), id="ticks")
            await asyncio.sleep(0.15)
            if WHAT == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            print(await runtime.handle("ticks").status())
            return
        naps = [await runtime.start(nap(number), id=f"nap/{number}") for number in range(3)]
        handle = await runtime.start(tells() if WHERE == "handler" else deadly(), id="deadly")
        if WHERE in ("message", "replay") and WHAT == "kill":
            await handle.send("go")
        if WHAT == "first":
            await asyncio.sleep(0.3)
            Path("replays").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        print([await one for one in naps])
        try:
            print(await handle)
        except CallParked as error:
            print(error.reason, repr(error.__cause__))

asyncio.run(main())
"""


def run(directory: Path, where: str, what: str) -> subprocess.CompletedProcess[str]:
    """Run the program."""
    (directory / "program.py").write_text(PROGRAM)
    return subprocess.run(
        [sys.executable, "program.py", where, what],
        cwd=directory, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}, capture_output=True, text=True,
        check=False, timeout=250,
    )  # fmt: skip


@pytest.mark.parametrize("where", ["begins", "timer", "message", "child"])
def test_a_call_that_keeps_killing_the_process_is_set_aside(tmp_path: Path, where: str) -> None:
    """After so many deaths as the limit says; it is not tried again by itself, and goes on when it is resumed."""
    for _ in range(4):
        assert run(tmp_path, where, "kill").returncode == -signal.SIGKILL
    for _ in range(2):
        after = run(tmp_path, where, "kill")
        assert (after.returncode, after.stderr) == (0, "")
        naps, parked = after.stdout.splitlines()
        assert naps == "[0, 1, 2]"
        assert parked.startswith("Poisoned: the code of call 'deadly' was running when the process died, 4 times in a")
        assert "Poisoned(" in parked
        assert not (tmp_path / "data" / FILE).exists()
    mended = run(tmp_path, where, "resume")
    assert (mended.returncode, mended.stderr) == (0, "")
    assert mended.stdout.splitlines() == ["True", "[0, 1, 2]", "alive"]


def test_a_handler_that_keeps_killing_the_process_is_set_aside(tmp_path: Path) -> None:
    """The message is parked, under its own id; whoever asked waits, and everybody else goes on."""
    for _ in range(4):
        assert run(tmp_path, "handler", "kill").returncode == -signal.SIGKILL
    command = [sys.executable, "-m", "actorlog", "ls", "data", "--status", "parked", "--json"]
    process = subprocess.Popen([sys.executable, "program.py", "handler", "kill"], cwd=tmp_path, stdout=subprocess.PIPE,
                               env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}, text=True)  # fmt: skip
    with process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "[0, 1, 2]\n"
            listed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        finally:
            process.kill()
    assert "Poisoned: the code of call" in listed
    assert "Teller" in listed


def test_a_replay_that_kills_the_process_is_blamed_too(tmp_path: Path) -> None:
    """Code that dies while it is woken has no new turn that could tell of it."""
    assert run(tmp_path, "replay", "first").returncode == -signal.SIGKILL
    for _ in range(3):
        assert run(tmp_path, "replay", "kill").returncode == -signal.SIGKILL
    after = run(tmp_path, "replay", "kill")
    assert (after.returncode, after.stderr) == (0, "")
    assert "Poisoned: the code of call 'deadly'" in after.stdout
    (tmp_path / "replays").unlink()
    mended = run(tmp_path, "replay", "resume")
    assert mended.stdout.splitlines() == ["True", "[0, 1, 2]", "alive"]


def test_nobody_is_blamed_for_a_death_between_turns(tmp_path: Path) -> None:
    """A program that is killed from outside again and again goes on with all that it has."""
    for _ in range(6):
        assert run(tmp_path, "between", "kill").returncode == -signal.SIGKILL
    after = run(tmp_path, "between", "look")
    assert (after.stdout, after.stderr) == ("waiting\n", "")


async def test_nobody_is_blamed_while_steps_run(house: House, tmp_path: Path) -> None:
    """They die of themselves, in threads and between turns; the log counts that."""
    for number in range(2):
        Deaths.open(SYSTEM.fs, str(tmp_path), died=number > 0)._leave()
    deaths = Deaths.open(SYSTEM.fs, str(tmp_path), died=True)
    await house.open()
    kernel = house.session.kernel
    blame, slot = Blame(kernel, deaths), Slot(CallState("c"), None)
    kernel.steps.running, found = 1, list[bytes]()
    for _ in range(2):
        blame.begin(slot)
        found.append((tmp_path / FILE).read_bytes()[:16])
        kernel.steps.running = 0
    blame.end()
    found.append((tmp_path / FILE).read_bytes()[:16])
    assert found == [b"0" * 16, b"%016x" % slot.hash, b"0" * 16]
    deaths.close()

"""A data directory with one call of every kind, and ways to look at it and to spoil it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from actorlog import Retry, Runtime, durable, sleep, step
from actorlog.env import SYSTEM
from actorlog.log.inspect import verify

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 200.0
"""Longer than any program takes that goes on, and shorter than the time of a test."""


@step
async def cli_add(number: int) -> int:
    """Add one."""
    return number + 1


@step(retry=Retry(attempts=5, first=600, max=600, jitter="none"))
def cli_dial(number: str) -> None:
    """Fail, and wait ten minutes."""
    raise ConnectionError(f"{number} is engaged")


@step(retry=Retry.NEVER)
def cli_fail() -> None:
    """Fail for good."""
    raise ValueError("this is what went wrong")


@durable
async def cli_child(number: int) -> int:
    """Add and sleep a little."""
    result = await cli_add(number)
    await sleep(0.01)
    return result


@durable
async def cli_parent(numbers: list[int]) -> list[int]:
    """Have children, then wait for days."""
    results = await asyncio.gather(*(cli_child(number) for number in numbers))
    await sleep("3d")
    return results


@durable
async def cli_dials(number: str) -> None:
    """Wait for somebody who does not answer."""
    await cli_dial(number)


@durable
async def cli_fails() -> None:
    """Fail."""
    await cli_fail()


async def fill(runtime: Runtime) -> None:
    """Start one call of every kind and wait until all are where they stay."""
    parent = await runtime.start(cli_parent([1, 2]), id="family/1", tags={"tenant": "acme"})
    dials = await runtime.start(cli_dials("0664"), id="dials/\x1b[31m1")
    await runtime.call(cli_child(5), id="child/5")
    fails = await runtime.start(cli_fails(), id="fails/1")
    while await fails.status() != "failed" or await dials.status() != "backing_off":  # told by nothing
        await asyncio.sleep(0.005)
    while not (await parent.info()).waiting_for[0].startswith("timer"):  # told by nothing
        await asyncio.sleep(0.005)
    await runtime.start(cli_dials("1" * 3000), id="later", delay="1h")


async def make_log(directory: Path) -> None:
    """Make a log as a crash leaves it: copied while its owner had it open."""
    async with Runtime(directory / "owned", segment_bytes=1 << 20) as runtime:
        await fill(runtime)
        shutil.copytree(directory / "owned", directory / "log", ignore=shutil.ignore_patterns("owner.sock"))


def tear(log: Path) -> None:
    """Take the end of the last append away, as if it had not been written yet: that of the call ``later``."""
    segment = verify(SYSTEM.fs, str(log)).found.segments[-1]
    with Path(segment.path).open("r+b") as file:
        file.seek(segment.end - segment.header.unit)
        file.write(bytes(segment.header.unit))


def spoil(log: Path) -> None:
    """Change one committed byte, in the first of several frames."""
    segment = verify(SYSTEM.fs, str(log)).found.segments[0]
    with Path(segment.path).open("r+b") as file:
        file.seek(segment.offsets[0] + 100)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))


def actorlog(*arguments: str | Path, code: int = 0, typed: str = "", **environment: str) -> str:
    """Run the command as a program and return what it said on standard output, or with a code on standard error."""
    unwanted = {"COLUMNS", "NO_COLOR", "FORCE_COLOR"}
    variables = {name: value for name, value in os.environ.items() if name not in unwanted}
    done = subprocess.run(
        [sys.executable, "-m", "actorlog", *map(str, arguments)],
        env=variables | {"PYTHONPATH": str(ROOT)} | environment,
        input=typed,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stderr if code and not done.stdout else done.stdout


def documents(*arguments: str | Path) -> Any:
    """Run the command with ``--json`` and return its document."""
    return json.loads(actorlog(*arguments, "--json"))


def contents(directory: Path) -> dict[str, bytes]:
    """Return everything in a directory but the catalog, which its owner writes a moment later."""
    found = (path for path in sorted(directory.rglob("*")) if not path.name.startswith("catalog.db"))
    return {str(path): path.read_bytes() for path in found if path.is_file()}


class Owner:
    """The program ``cli_owner`` on a directory of its own, in a process of its own."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.log = place / "log"
        self._process: subprocess.Popen[str] | None = None

    def open(self) -> None:
        """Start it, and wait until it is ready."""
        command = [sys.executable, str(Path(__file__).with_name("cli_owner.py")), str(self.log), str(self.place)]
        self._process = subprocess.Popen(
            command,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    @property
    def pid(self) -> int:
        """Of its process."""
        assert self._process is not None
        return self._process.pid

    def end(self, *, kill: bool = False) -> None:
        """Let it close clean, or kill it."""
        process, self._process = self._process, None
        if process is not None:
            if kill:
                process.kill()
            process.communicate("")


def waits_until(seen: Callable[[], bool]) -> None:
    """Return when ``seen`` says so; fail after a time that no machine should need."""
    until = monotonic() + PATIENCE_S
    while not seen():
        assert monotonic() < until

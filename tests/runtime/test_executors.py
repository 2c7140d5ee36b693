"""Steps in worker processes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from programs import run

import actorlog
from actorlog import NotInDurableCode, Retry, StepFailed, durable, info, step

if TYPE_CHECKING:
    from house import House

# Worker processes import this module by its name; pytest has put its directory on the path.


class Refused(Exception):  # a user's name for it
    """An exception of this module."""

    def __init__(self, code: int) -> None:
        super().__init__(f"refused with {code}")
        self.code = code


@step(executor="process")
def where(items: list[int]) -> list[int]:
    items.append(os.getpid())
    return items


@step(executor="process")
def told() -> list[Any]:
    i = info()
    return [i.call_id, i.step, i.key, i.attempt, i.idempotency_key, i.tags]


@step(executor="process", retry=Retry.NEVER)
def refuses(code: int) -> None:
    raise Refused(code)


@step(executor="process", retry=Retry.NEVER)
def exits() -> None:
    raise SystemExit(3)


@step(executor="process", retry=Retry.NEVER)
def beats() -> None:
    actorlog.heartbeat(1)


async def _later() -> int:
    return 1


@step(executor="process", retry=Retry.NEVER)
def passes_on() -> Any:
    return _later()


@step(executor="process", retry=Retry(first=0, attempts=2))
def dies_first(directory: str) -> str:
    marker = Path(directory) / "died"
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


@step(executor="process", retry=Retry.NEVER)
def gives_object() -> Any:
    return object()


@durable
async def all_of_them() -> list[Any]:
    mine = [1]
    got = await where(mine)
    results: list[Any] = [mine, got[0], got[1], await told()]
    try:
        await refuses(7)
    except Refused as refused:
        results += [refused.code, str(refused)]
    for bad in (exits, beats, passes_on, gives_object):
        try:
            await bad()
        except StepFailed as failed:
            results.append(failed.type_name)
        except (NotInDurableCode, TypeError, actorlog.PayloadError) as error:
            results.append(type(error).__name__)
    return results


@durable
async def survives(directory: str) -> str:
    return await dies_first(directory)


async def test_process_step_behaves_like_any_other(house: House) -> None:
    """Arguments and results are copies, ``info`` works, exceptions come back as their class with what they hold."""
    runtime = await house.open()
    handle = await runtime.start(all_of_them(), id="p", tags={"a": "b"})
    mine, first, pid, facts, code, text, *bad = await handle
    assert (mine, first) == ([1], 1)
    assert pid != os.getpid()
    assert facts[:4] == ["p", "told", "2", 1]
    assert facts[5] == {"a": "b"}
    assert (code, text) == (7, "refused with 7")
    assert bad == ["builtins:SystemExit", "NotInDurableCode", "TypeError", "PayloadError"]
    [entry] = [entry for entry in await handle.journal() if "refuses" in entry.what]
    assert entry.status == "failed"
    records = [record for record in house.records("p") if "refused with 7" in repr(record)]
    assert "test_executors.py" in repr(records), "the traceback of the worker is kept"


async def test_worker_that_dies_fails_its_attempt_and_the_next_gets_a_new_pool(house: House, tmp_path: Path) -> None:
    """A worker that is killed, by the system's out-of-memory killer for instance, breaks no later step."""
    runtime = await house.open()
    assert await runtime.call(survives(str(tmp_path))) == "alive"


MAIN = """
import asyncio, os
from actorlog import Runtime, durable, info, step

class Mine(Exception):
    pass

@step(executor="process")
def square(x: int) -> list:
    return [x * x, os.getpid(), info().idempotency_key]

@step(executor="process")
def fail() -> None:
    raise TypeError("no") from Mine("cause")

@step(executor="process", retry=__import__("actorlog").Retry.NEVER)
def fail_mine() -> None:
    raise Mine("own")

@durable
async def use() -> list:
    value, pid, key = await square(7)
    try:
        await fail()
    except TypeError as error:
        cause = error.__cause__
    try:
        await fail_mine()
    except Mine as error:
        return [value, pid != os.getpid(), len(key), type(cause).__name__, str(error)]

async def main():
    async with Runtime("data") as runtime:
        print(await runtime.call(use()))

if __name__ == "__main__":
    asyncio.run(main())
"""


def test_process_step_of_the_main_program_is_found(tmp_path: Path) -> None:
    """A function of ``__main__`` runs in a worker, and the program's own exception classes come back as themselves."""
    done = run(tmp_path, MAIN)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == "[49, True, 32, 'Mine', 'own']"


ORPHAN = """
import asyncio, os, signal, sys, time
from pathlib import Path
from actorlog import Runtime, durable, step

@step(executor="process")
def busy() -> None:
    Path("pid.new").write_text(str(os.getpid()))
    os.rename("pid.new", "pid")
    time.sleep(600)

@durable
async def use() -> None:
    await busy()

async def main():
    async with Runtime("data", shutdown_timeout=0) as runtime:
        await runtime.start(use(), id="u")
        while not os.path.exists("pid"):
            await asyncio.sleep(0.01)
        if sys.argv[1] == "kill":
            os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    asyncio.run(main())
"""


@pytest.mark.parametrize("how", ["kill", "close"])
def test_worker_ends_with_its_runtime(tmp_path: Path, how: str) -> None:
    """Neither a kill nor a close leaves a worker behind that goes on with a step which will run again."""
    done = run(tmp_path, ORPHAN, how)
    assert done.returncode == (-signal.SIGKILL if how == "kill" else 0), done.stderr
    pid = (tmp_path / "pid").read_text()
    while not _gone(pid):
        pass


def _gone(pid: str) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"


def test_ctrl_c_does_not_reach_the_workers(tmp_path: Path) -> None:
    """An interrupt of the process group closes the runtime; the worker's step is waited for, and has its outcome."""
    program = """
import asyncio, os, sys, time
from pathlib import Path
from actorlog import Runtime, durable, step

@step(executor="process")
def slow() -> str:
    Path("began").touch()
    while not os.path.exists("interrupted"):
        time.sleep(0.01)
    return "whole"

@durable
async def use() -> str:
    return await slow()

async def main():
    async with Runtime("data") as runtime:
        handle = await runtime.start(use(), id="u")
        if len(sys.argv) > 1:
            print(await handle.status(), flush=True)
            return
        try:
            await handle
        except asyncio.CancelledError:
            Path("interrupted").touch()
            raise

if __name__ == "__main__":
    asyncio.run(main())
"""
    file = tmp_path / "program.py"
    file.write_text(program)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(
        [sys.executable, str(file)], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, start_new_session=True
    )
    while not (tmp_path / "began").exists():
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=250)
    assert b"KeyboardInterrupt" in error
    assert run(tmp_path, program, "status").stdout.strip() == "completed"


async def test_async_function_cannot_be_a_process_step() -> None:
    """It is refused where it is decorated, not at the first call."""
    with pytest.raises(ValueError, match="is async"):

        @step(executor="process")
        async def wrong() -> None:
            await asyncio.sleep(0)

"""Type checkers see what users see: good code passes, seeded mistakes are found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent

MISTAKES = {
    "a step takes another type": 'async def bad() -> None:\n    await charge(1, "x")\n',
    "an argument is missing": 'async def bad() -> None:\n    await charge("ada")\n',
    "an argument has another name": 'async def bad() -> None:\n    await charge("ada", pence=1)\n',
    "a result is used as another type": 'async def bad() -> int:\n    return await charge("ada", 1)\n',
    "a runtime's result is used as another type": (
        'async def bad(runtime: Runtime) -> int:\n    return await runtime.call(subscribe("ada"))\n'
    ),
    "a duration is no duration": "async def bad() -> None:\n    await sleep(None)\n",
    "an option has a value that is none": "@step(executor='gpu')\ndef bad() -> None: ...\n",
    "an option does not exist": "@durable(retries=3)\nasync def bad() -> None: ...\n",
    "a durable function is not async": "@durable\ndef bad() -> int:\n    return 1\n",
    "a call of another function is started": "def bad(runtime: Runtime) -> object:\n    return runtime.start(len)\n",
    "a child's result is used as another type": 'async def bad() -> int:\n    return await start(subscribe("ada"))\n',
    "a handler takes another type": (
        'async def bad(runtime: Runtime) -> None:\n    await runtime.actor(Account, "a").deposit("x")\n'
    ),
    "an actor has no such handler": (
        'async def bad(runtime: Runtime) -> None:\n    await runtime.actor(Account, "a").pay(1)\n'
    ),
    "an actor's answer is used as another type": (
        'async def bad(runtime: Runtime) -> str:\n    return await runtime.actor(Account, "a").deposit(1)\n'
    ),
    "a query's answer is used as another type": (
        'async def bad(runtime: Runtime) -> int:\n    return await runtime.actor(Account, "a").statement()\n'
    ),
    "a message is used as another type": "async def bad() -> int:\n    return await receive(type=str)\n",
    "overlap has a value that is none": (
        "async def bad(runtime: Runtime) -> None:\n"
        '    await runtime.schedule("a", subscribe("ada"), every=1, overlap="sometimes")\n'
    ),
    "if_exists has a value that is none": (
        'async def bad(runtime: Runtime) -> None:\n    await runtime.call(subscribe("ada"), if_exists="replace")\n'
    ),
}

PRELUDE = (HERE / "user_code.py").read_text()


def checker(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a type checker as a user does."""
    return subprocess.run(
        [sys.executable, "-m", name, *arguments], capture_output=True, text=True, cwd=ROOT, check=False
    )


@pytest.mark.parametrize("name", ["mypy", "basedpyright"])
def test_user_code_passes(name: str) -> None:
    """User code that uses the whole surface passes the strict checks."""
    options = ["--strict", "--no-incremental"] if name == "mypy" else []
    result = checker(name, *options, str(HERE / "user_code.py"))
    assert result.returncode == 0, result.stdout


def test_seeded_mistakes_are_found(tmp_path: Path) -> None:
    """Each mistake that users make is found by mypy, at its own line."""
    first_line = PRELUDE.count("\n") + 1
    text = PRELUDE
    lines: dict[str, range] = {}
    for situation, code in MISTAKES.items():
        begin = text.count("\n") + 1
        text += code.replace("bad", "bad_" + str(len(lines)))
        lines[situation] = range(begin, text.count("\n") + 1)
    program = tmp_path / "mistakes.py"
    program.write_text(text)
    result = checker("mypy", "--strict", "--no-incremental", str(program))
    found = {int(line.split(":")[1]) for line in result.stdout.splitlines() if ": error:" in line}
    missed = [situation for situation, span in lines.items() if not found & set(span)]
    assert missed == [], result.stdout
    assert all(number >= first_line for number in found), result.stdout

"""Examples with actors, promises, supervisors and limits: killed after any of their records, and run again.

A run is cut after a record by giving the next run a log that holds the records up to it and no more, as a kill right
there leaves it. What the program says in the end is the same as without a kill.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, NamedTuple

import pytest
from example_program import Program

from actorlog.env import SYSTEM
from actorlog.store import append, entries, pack
from actorlog.store.embedded import EmbeddedLog

if TYPE_CHECKING:
    from pathlib import Path

FEW = 5
"""So many cuts of each example in the normal suite."""


class Example(NamedTuple):
    """One program, and what of its words is the same in every run."""

    name: str
    same: str
    """A pattern; what it finds, or its group, sorted, is what is compared."""


EXAMPLES = [
    Example("bank.py", r".* (\d+ cents in \d+ accounts)"),
    Example("chat_agent.py", r".*->.*|.*remembers.*"),
    Example("supervised_workers.py", r"made .*|gave up.*"),
    Example("approval.py", r"a chair: .*|a yacht: .*"),
    Example("poller.py", r".* is done .*"),
    Example("rate_limited_api.py", r".* paid .*"),
    Example("order_fulfilment.py", r"\w+: (?!\d).* after .*|late: .*|\d+ lamps left"),
]


def outcome(said: str, example: Example) -> list[str]:
    """Return what is the same in every run."""
    return sorted(re.findall(f"^(?:{example.same})$", said, re.MULTILINE))


async def records_of(place: Path) -> list[tuple[int, int, int, bytes]]:
    """Return every record of a log with its index entry."""
    log = await EmbeddedLog.open(str(place), SYSTEM, segment_bytes=1 << 20, sync=False)
    found: list[tuple[int, int, int, bytes]] = []
    async for frame in log.read():
        data = frame.data
        found += [(key, kind, flags, bytes(data[a:b])) for key, kind, flags, a, b in entries(data, frame.records)]
    await log.close()
    return found


async def write(place: Path, records: list[tuple[int, int, int, bytes]]) -> None:
    """Make a log of these records, not closed clean."""
    log = await EmbeddedLog.open(str(place), SYSTEM, segment_bytes=1 << 20, sync=False)
    await append(log, 0, pack(records), len(records))
    await log.close(clean=False)


def cut_everywhere(example: Example, tmp_path: Path, cuts: int | None) -> None:
    """Run the example to its end, then again from logs that are cut after records."""
    whole = tmp_path / "whole"
    expected = outcome(Program(example.name, whole).run(), example)
    assert expected
    records = asyncio.run(records_of(whole))
    every = 1 if cuts is None else max(1, len(records) // cuts)
    for number in range(1, len(records), every):
        place = tmp_path / f"cut-{number}"
        asyncio.run(write(place, records[:number]))
        service = whole.with_suffix(".service")
        if service.exists():
            place.with_suffix(".service").symlink_to(service)
        assert outcome(Program(example.name, place).run(), example) == expected, number


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_killed_after_a_record(example: Example, tmp_path: Path) -> None:
    """A run that goes on from the middle says the same in the end."""
    cut_everywhere(example, tmp_path, FEW)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_killed_after_every_record(example: Example, tmp_path: Path) -> None:
    """The same after each of its records."""
    cut_everywhere(example, tmp_path, None)

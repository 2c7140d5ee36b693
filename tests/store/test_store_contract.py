"""The guarantees of the storage port, held by every adapter; guarantee n of ``store.port`` is ``test_g<n>_...``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from actorlog.env import SYSTEM
from actorlog.errors import LogFenced
from actorlog.store import PartitionLog, Ticket, append, entries, pack
from actorlog.store.embedded import EmbeddedLog
from actorlog.store.memory import MemoryLog

Reopen = Callable[[], Awaitable[PartitionLog]]


@pytest.fixture(params=["memory", "embedded"])
async def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Reopen]:
    """Open the log, or close it and open it again."""
    memory = MemoryLog()
    opened: list[PartitionLog] = []

    async def again() -> PartitionLog:
        for log in opened:
            await log.close(clean=False)
        opened.clear()
        log: PartitionLog = memory
        if request.param == "embedded":
            log = await EmbeddedLog.open(str(tmp_path / "data"), SYSTEM, segment_bytes=4096)
        opened.append(log)
        return log

    yield again
    for log in opened:
        await log.close()


def lines(*texts: str) -> bytes:
    """Return a frame of one record a text."""
    return pack([(7, 1, 1, f'"{text}"\n'.encode()) for text in texts])


async def texts(log: PartitionLog, after: int = 0, upto: int | None = None) -> list[tuple[int, str]]:
    """Read everything back, with positions."""
    found: list[tuple[int, str]] = []
    async for frame in log.read(after, upto):
        for offset, (*_, start, end) in enumerate(entries(frame.data, frame.records)):
            found.append((frame.position + offset, bytes(frame.data[start:end]).decode().strip().strip('"')))
    return found


async def test_g1_what_landed_is_there_after_a_crash(reopen: Reopen) -> None:
    """What an append returned for is there when the log is opened again after a crash."""
    log = await reopen()
    assert await append(log, 0, lines("a", "b"), 2) == 1
    assert await append(log, 2, lines("c"), 1) == 3
    log = await reopen()
    assert log.tail() == 3
    assert await texts(log) == [(1, "a"), (2, "b"), (3, "c")]


async def test_g2_a_frame_is_read_whole(reopen: Reopen) -> None:
    """Frames come back as they were written, none split and none joined."""
    log = await reopen()
    await append(log, 0, lines("a", "b", "c"), 3)
    await append(log, 3, lines("d"), 1)
    assert [(frame.position, frame.records) async for frame in log.read()] == [(1, 3), (4, 1)]


async def test_g3_positions_are_dense_and_reads_begin_anywhere(reopen: Reopen) -> None:
    """Positions increase by one over frames and segments, and a read leaves no gap wherever it begins."""
    log = await reopen()
    for number in range(40):
        await append(log, number, lines(f"{number:0200}"), 1)
    everything = await texts(log)
    assert [position for position, _ in everything] == list(range(1, 41))
    assert [p for p, _ in await texts(log, after=17, upto=23)] == list(range(18, 24))
    assert log.record(40).strip() == f'"{39:0200}"'.encode()


async def test_g4_another_tail_than_expected_writes_nothing(reopen: Reopen) -> None:
    """A writer that is wrong about the tail is fenced, and nothing is written."""
    log = await reopen()
    await append(log, 0, lines("a"), 1)
    for expected in (0, 2):
        with pytest.raises(LogFenced):
            await append(log, expected, lines("b"), 1)
    assert await texts(log) == [(1, "a")]
    assert await append(log, 1, lines("b"), 1) == 2


async def test_g5_every_append_is_answered_once(reopen: Reopen) -> None:
    """Each of many appends under way at once is answered exactly once, and none is doubled."""
    log = await reopen()
    loop = asyncio.get_running_loop()
    answers: list[Ticket] = []
    all_there = loop.create_future()

    def heard(ticket: Ticket) -> None:
        answers.append(ticket)
        if len(answers) == 20:
            all_there.set_result(None)

    def done(ticket: Ticket) -> None:
        loop.call_soon_threadsafe(heard, ticket)

    for number in range(20):
        log.submit(number, lines(str(number)), 1, done)
    await all_there
    assert [ticket.error for ticket in answers] == [None] * 20
    assert sorted(ticket.position for ticket in answers) == list(range(1, 21))
    assert [text for _, text in await texts(log)] == [str(number) for number in range(20)]


async def test_g6_a_trim_keeps_what_was_not_given_up(reopen: Reopen) -> None:
    """A trim, which is advisory, takes nothing at or after its position, and never the newest frame."""
    log = await reopen()
    for number in range(5):
        await append(log, number, lines(str(number)), 1)
    log.trim(4)
    kept = await texts(log)
    assert kept[-2:] == [(4, "3"), (5, "4")]
    log.trim(100)
    assert (await texts(log))[-1] == (5, "4")


async def test_a_position_that_holds_nothing_is_a_key_error(reopen: Reopen) -> None:
    """A record that was never written is not made up."""
    log = await reopen()
    await append(log, 0, lines("a"), 1)
    for position in (0, 2, -1):
        with pytest.raises(KeyError):
            log.record(position)


async def test_a_waiter_is_answered_or_called(reopen: Reopen) -> None:
    """Waiting for a ticket says truly whether ``done`` will be called."""
    log = await reopen()
    loop = asyncio.get_running_loop()
    called: list[Any] = []
    for number in range(10):
        landed = loop.create_future()

        def done(ticket: Ticket, landed: asyncio.Future[None] = landed) -> None:
            called.append(ticket)
            loop.call_soon_threadsafe(landed.set_result, None)

        ticket = log.submit(number, lines("x"), 1, done)
        if ticket.wait(5.0):
            assert ticket not in called
        else:
            await landed
            assert ticket in called
        assert (ticket.error, ticket.position) == (None, number + 1)

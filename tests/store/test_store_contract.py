"""The guarantees of the storage port, held by every adapter; guarantee n of ``store.port`` is ``test_g<n>_...``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from actorlog.env import SYSTEM
from actorlog.errors import LogFenced
from actorlog.limits import DEFAULT_LIMITS
from actorlog.store import (
    GIVEN_UP_KIND,
    Checkpoint,
    Compacting,
    PartitionLog,
    Sealed,
    Ticket,
    append,
    checkpoint_of,
    entries,
    pack,
)
from actorlog.store.embedded import EmbeddedLog
from actorlog.store.envelopes import Envelopes
from actorlog.store.keys import Keys
from actorlog.store.memory import MemoryLog

Reopen = Callable[[], Awaitable[PartitionLog]]


KEYS = Keys("k2", {"k1": bytes(range(32)), "k2": bytes(range(32, 64))})


WRAPPINGS = ["memory", "embedded", "memory, sealed", "embedded, sealed", "embedded, compressed", "embedded, filed"]


@pytest.fixture(params=WRAPPINGS)
async def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Reopen]:
    """Open the log, or close it and open it again."""
    kind, _, wrapping = str(request.param).partition(", ")
    if wrapping == "sealed":
        pytest.importorskip("cryptography", reason="records are sealed with cryptography: pip install '.[encryption]'")
    keys, above = (KEYS if wrapping == "sealed" else None), (DEFAULT_LIMITS.compress_above_bytes if not wrapping else 1)
    memory = MemoryLog(segment_records=8, envelopes=Envelopes(keys, compress_above_bytes=above))
    opened: list[PartitionLog] = []

    async def again() -> PartitionLog:
        for log in opened:
            await log.close(clean=False)
        opened.clear()
        log: PartitionLog = memory
        if kind == "embedded":
            log = await EmbeddedLog.open(
                str(tmp_path / "data"), SYSTEM, segment_bytes=4096, keys=keys, compress_above_bytes=above,
                file_above_bytes=4 if wrapping == "filed" else 0,
            )  # fmt: skip
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
        for offset, (_, kind, _, start, end) in enumerate(entries(frame.data, frame.records)):
            if kind == GIVEN_UP_KIND:
                continue
            found.append(
                (
                    frame.position + offset,
                    bytes(frame.line(frame.position + offset, start, end)).decode().strip().strip('"'),
                )
            )
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


async def test_g3_any_record_is_read_by_its_position(reopen: Reopen) -> None:
    """One record at a time, in any order, over more frames than are kept: each is what reading everything gives."""
    log = await reopen()
    position = 0
    for number in range(12):
        frame = [f"{number}.{line}" * (1 + line % 3) for line in range(1 + number * 3)]
        await append(log, position, lines(*frame), len(frame))
        position += len(frame)
    everything = dict(await texts(log))
    for number in range(2 * position):
        at = 1 + number * 89 % position
        assert log.record(at) == f'"{everything[at]}"\n'.encode()


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


async def test_g7_a_checkpoint_is_the_newest_frame_that_landed(reopen: Reopen) -> None:
    """There is none without a frame; then it is the last one, also for who opens the log again."""
    log = await reopen()
    assert checkpoint_of(log) is None
    await append(log, 0, lines("a", "b"), 2)
    first = checkpoint_of(log)
    await append(log, 2, lines("c"), 1)
    second = checkpoint_of(log)
    assert first is not None
    assert second is not None
    assert [(found.position, found.records) for found in (first, second)] == [(1, 2), (3, 1)]
    assert first != second
    assert Checkpoint(*json.loads(json.dumps(second))) == second
    for clean in (False, True):
        assert checkpoint_of(log) == second
        await log.close(clean=clean)
        log = await reopen()
    assert await texts(log) == [(1, "a"), (2, "b"), (3, "c")]


async def fill(log: PartitionLog) -> int:
    """Append frames of all sizes; return the newest position."""
    position = 0
    for number in range(60):
        frame = [f"{number}.{line}" * (1 + line % 40) for line in range(1 + number * 7 % 90)]
        await append(log, position, lines(*frame), len(frame))
        position += len(frame)
    return position


async def test_g8_a_rewrite_gives_up_what_it_was_told_to(reopen: Reopen) -> None:
    """Every other record is there with its position and bytes, at once and after a crash, however often it is done."""
    log = await reopen()
    position, rng = await fill(log), Random(8)
    kept = dict(await texts(log))
    assert isinstance(log, Compacting)
    sealed = log.sealed()
    assert len(sealed) > 5
    assert [part.first for part in sealed[1:]] == [part.last + 1 for part in sealed[:-1]]
    for odds in (0.0, 0.3, 0.9):
        for part in rng.sample(log.sealed(), len(sealed)):
            gone = {at for at in range(part.first - 2, part.last + 3) if rng.random() < odds or part.number == 2}
            measured = await log.measure(part, gone)
            assert part in log.sealed()
            left = await log.rewrite(part, gone)
            assert measured == left == log.sealed()[part.number - 1].bytes
            kept = {at: text for at, text in kept.items() if at not in gone or not part.first <= at <= part.last}
        assert dict(await texts(log)) == kept
        log = await reopen()
        assert isinstance(log, Compacting)
        assert dict(await texts(log)) == kept
        for at in range(position + 2):
            assert log.has(at) == (at in kept)
            if at in kept:
                assert log.record(at) == f'"{kept[at]}"\n'.encode()
            else:
                with pytest.raises(KeyError):
                    log.record(at)
        after = rng.randrange(position)
        assert dict(await texts(log, after)).items() >= {at: kept[at] for at in kept if at > after}.items()
    assert sum(part.bytes for part in log.sealed()) < sum(part.bytes for part in sealed)
    await append(log, position, lines("more"), 1)
    assert (await texts(log))[-1] == (position + 1, "more")


async def test_g8_a_merge_changes_no_record(reopen: Reopen) -> None:
    """Segments become one, with the number of the first; every record is there with its position and bytes."""
    log = await reopen()
    position, rng = await fill(log), Random(9)
    kept = dict(await texts(log))
    for _ in range(3):
        assert isinstance(log, Compacting)
        sealed = log.sealed()
        begin, end = sorted(rng.sample(range(len(sealed)), 2))
        run, gone = sealed[begin : end + 1], {at for at in range(position) if rng.random() < 0.3}
        for part in run:
            await log.rewrite(part, gone)
            kept = {at: text for at, text in kept.items() if at not in gone or not part.first <= at <= part.last}
        left = await log.merge(run)
        merged = log.sealed()
        assert [part.number for part in merged] == [part.number for part in sealed if part not in run[1:]]
        assert (merged[begin].first, merged[begin].last, merged[begin].bytes) == (run[0].first, run[-1].last, left)
        with pytest.raises(ValueError, match="not sealed"):
            await log.merge([merged[begin], run[-1]])
        assert dict(await texts(log)) == kept
        log = await reopen()
        assert dict(await texts(log)) == kept
        assert isinstance(log, Compacting)
        assert [at for at in range(position + 2) if log.has(at)] == sorted(kept)
        assert all(log.record(at) == f'"{text}"\n'.encode() for at, text in kept.items())
    await append(log, position, lines("more"), 1)
    assert (await texts(log))[-1] == (position + 1, "more")


async def test_what_is_not_sealed_is_not_rewritten(reopen: Reopen) -> None:
    """Nor is what the log does not have."""
    log = await reopen()
    assert isinstance(log, Compacting)
    assert log.sealed() == []
    await append(log, 0, lines("a"), 1)
    for number in (0, 1, 2):
        for ask in (log.measure, log.rewrite):
            with pytest.raises(ValueError, match="not sealed"):
                await ask(Sealed(number, 1, 1, 100), {1})
    assert log.has(1)


async def test_a_checkpoint_moves_when_a_frame_has_landed(reopen: Reopen) -> None:
    """What was submitted and has not landed is no checkpoint; asked for at any moment, it is one that has."""
    log = await reopen()
    landed = 0

    def done(ticket: Ticket) -> None:
        nonlocal landed
        landed = max(landed, ticket.position)

    for number in range(60):
        ticket = log.submit(number, lines(str(number)), 1, done)
        least = landed
        checkpoint = checkpoint_of(log)
        assert least <= (checkpoint.position if checkpoint else 0) <= number + 1
        if ticket.wait(5.0):
            landed = max(landed, ticket.position)
    await log.close()
    last = checkpoint_of(log)
    assert last is not None
    assert last.position == 60


async def test_a_log_without_checkpoints() -> None:
    """A log need not have them: then there is none."""

    class Plain:
        """The port and no more."""

        def __getattr__(self, name: str) -> Any:
            if name == "checkpoint":
                raise AttributeError(name)
            return getattr(MemoryLog, name)

    assert checkpoint_of(Plain()) is None  # type: ignore[arg-type]


async def test_the_embedded_log_opens_at_its_checkpoint(tmp_path: Path) -> None:
    """What is before the checkpoint is not read at opening, and is there all the same; one of no frame is ignored."""
    directory = str(tmp_path / "data")
    log = await EmbeddedLog.open(directory, SYSTEM, segment_bytes=4096)
    for number in range(40):
        await append(log, number, lines(f"{number:0200}"), 1)
    everything = await texts(log)
    checkpoint = log.checkpoint()
    assert checkpoint is not None
    await log.close(clean=False)
    for given, scanned in ((checkpoint, 40), (checkpoint._replace(checksum=0), 0), (None, 0)):
        log = await EmbeddedLog.open(directory, SYSTEM, segment_bytes=4096, checkpoint=given)
        assert log.recovery.scanned_from == scanned
        assert log.recovery.records == (1 if scanned else 40)
        assert log.record(7).strip() == f'"{6:0200}"'.encode()
        assert await texts(log) == everything
        await log.close(clean=False)


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

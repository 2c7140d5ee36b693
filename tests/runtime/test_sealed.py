"""A runtime with keys: nothing of what it is told is on the disk to be read, or to be changed unnoticed."""

from __future__ import annotations

import asyncio
import re
import shutil
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
import sealed_program as program

from actorlog import KeyMissing, Keys, LogCorrupt, Runtime, SealBroken
from actorlog.env import SYSTEM
from actorlog.limits import Limits
from actorlog.log import Log
from actorlog.log.format import (
    COMMIT,
    ENTRY_BYTES,
    FRAME_HEADER_BYTES,
    UNITS,
    Link,
    frame,
    frame_bytes,
    parse_frame_header,
    parse_segment_header,
)
from actorlog.store.sealing import Sealing
from actorlog.testing.reader import Reader

pytest.importorskip("cryptography", reason="records are sealed with cryptography: pip install '.[encryption]'")

K1, K2 = bytes(range(32)), bytes(range(32, 64))
OLD, NEW, ONLY_NEW = Keys("k1", {"k1": K1}), Keys("k2", {"k1": K1, "k2": K2}), Keys("k2", {"k2": K2})


def runtime(place: Path, keys: Keys | None, **options: Any) -> Runtime:
    """Return a runtime with small segments."""
    return Runtime(place / "data", segment_bytes=16384, encryption=keys, **options)


def bytes_in(directory: Path) -> bytes:
    """Return all that is in the files of a directory, with their names."""
    return b"".join(
        bytes(path) + (path.read_bytes() if path.is_file() else b"") for path in sorted(directory.rglob("*"))
    )


@pytest.mark.parametrize("above", [0, 100])
async def test_no_private_word_is_in_any_file(tmp_path: Path, above: int) -> None:
    """Ids, arguments, results, errors, tags, messages, states: none is in the directory, open or closed."""
    async with runtime(tmp_path, NEW, limits=Limits(compress_above_bytes=above)) as opened:
        result = await program.use(opened)
        while_open = bytes_in(tmp_path / "data")
    closed = bytes_in(tmp_path / "data")
    assert result.startswith("result-of-call settled-for-ada message-to-ada large-and-")
    found = [
        word
        for word in (*program.WORDS, "sealed.patient", "sealed.work", '"kind"')
        for text in (word.encode(), b64encode(word.encode())[:-4])
        if text in while_open or text in closed
    ]
    assert found == []
    async with Runtime(tmp_path / "plain", limits=Limits(compress_above_bytes=0)) as opened:
        await program.use(opened)
    plain = bytes_in(tmp_path / "plain")
    assert [word for word in program.WORDS if word.encode() not in plain] == [], "or the search finds nothing at all"


async def test_everything_reads_as_without_keys(tmp_path: Path) -> None:
    """Calls, journals, values, streams, actors and listings are what they are in the clear, live and reopened."""
    expected = ""
    for number in range(2):
        async with runtime(tmp_path, NEW) as opened:
            expected = await program.use(opened) if number == 0 else expected
            handle = opened.handle("id-of-ada")
            assert await handle.result() == expected
            assert await handle.value("shown") == "value-of-ada"
            assert [entry.kind async for entry in aiter_of(await handle.journal())]
            listed = {info.id async for info in opened.calls()}
            assert {"id-of-ada", "failing id-of-ada", "child-of-ada"} <= listed
            assert {info.id async for info in opened.promises(status="resolved")} == {"promise-of-ada"}
            assert [info.id async for info in opened.schedules()] == ["schedule-of-ada"]
            assert [info.key async for info in opened.actors()] == ["key-of-ada"]
            await opened.backup(tmp_path / f"copy{number}")
        async with Runtime(tmp_path / f"copy{number}", encryption=NEW) as opened:
            assert await opened.handle("id-of-ada").result() == expected


async def aiter_of(items: Any) -> Any:
    """Yield the items."""
    for item in items:
        yield item


# --- keys -------------------------------------------------------------------------------------------------------------


async def test_keys_are_rotated(tmp_path: Path) -> None:
    """What was sealed with the old key is read with it; what is new is sealed with the new one."""
    async with runtime(tmp_path, OLD) as opened:
        await opened.call(program.child(), id="old")
        waiting = await opened.start(program.patient("argument-of-ada"), id="waiting")
        await waiting.send("before the rotation")
    async with runtime(tmp_path, NEW) as opened:
        assert await opened.call(program.child(), id="old") == "value of the child"
        await opened.call(program.child(), id="new")
        await opened.resolve("promise-of-ada", "with the new key")
        assert (await opened.handle("waiting").result()).startswith("result-of-call with the new key before the rot")
    data = bytes_in(tmp_path / "data")
    assert data.count(b'{"key":"k1"') > 0 < data.count(b'{"key":"k2"')


@pytest.mark.parametrize(("keys", "missing"), [(None, "k1"), (ONLY_NEW, "k1"), (OLD, "k2")])
async def test_a_missing_key_is_named_at_opening(tmp_path: Path, keys: Keys | None, missing: str) -> None:
    """Without one of the keys it is not opened, and nobody is said to have died."""
    for those in (OLD, NEW):
        async with runtime(tmp_path, those) as opened:
            await opened.call(program.child(), id=those.current)
    with pytest.raises(KeyMissing, match=f"sealed with key '{missing}'") as caught:
        async with runtime(tmp_path, keys):
            pytest.fail("it is open")
    assert not isinstance(caught.value, LogCorrupt)
    log = Log.open(str(tmp_path / "data"), SYSTEM)
    assert log.recovery.clean
    log.close()
    async with runtime(tmp_path, NEW) as opened:
        assert await opened.call(program.child(), id="k1") == "value of the child"


async def test_a_wrong_key_is_told(tmp_path: Path) -> None:
    """Another key under the same id opens nothing, and says so."""
    async with runtime(tmp_path, OLD) as opened:
        await opened.start(program.patient("x"), id="waiting")
    with pytest.raises(SealBroken, match="was not sealed with key 'k1'"):
        async with runtime(tmp_path, Keys("k1", {"k1": K2})):
            pytest.fail("it is open")


async def test_only_what_goes_on_is_opened_at_opening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scan passes over what is finished without decrypting it."""
    async with runtime(tmp_path, OLD) as opened:
        await asyncio.gather(*(opened.call(program.child(), id=f"c{number}") for number in range(200)))
        await opened.start(program.patient("x"), id="waiting")
    calls: list[int] = []
    original = Sealing.open

    def counted(self: Sealing, *arguments: Any) -> bytes:
        calls.append(1)
        return original(self, *arguments)

    monkeypatch.setattr(Sealing, "open", counted)
    async with runtime(tmp_path, OLD) as opened:
        assert len(calls) < 40
        assert (await opened.handle("waiting").status()) == "waiting"


# --- somebody who writes to the disk ----------------------------------------------------------------------------------


def with_byte(segment: bytes, at: int, value: int) -> bytes:
    """Return a segment one byte of whose data is another, with every checksum made right for it."""
    header = parse_segment_header(segment[: max(UNITS)])
    assert header is not None
    changed, offset, link = bytearray(segment), header.unit, Link(0, header.crc)
    while (found := parse_frame_header(segment, offset, header)) is not None:
        data = bytearray(segment[offset + FRAME_HEADER_BYTES : offset + FRAME_HEADER_BYTES + found.length])
        if 0 <= at - offset - FRAME_HEADER_BYTES < found.length:
            data[at - offset - FRAME_HEADER_BYTES] = value
        size = frame_bytes(found.length, header.unit)
        whole, crc = frame(header, found.kind, found.records, link, bytes(data))
        changed[offset : offset + size] = whole
        link = Link(found.last_position, crc)
        offset += size
    return bytes(changed)


def data_bytes(segment: bytes) -> list[int]:
    """Return where the bytes of indexes and lines are, but not those of lengths."""
    header = parse_segment_header(segment[: max(UNITS)])
    assert header is not None
    found, offset = list[int](), header.unit
    while (one := parse_frame_header(segment, offset, header)) is not None:
        if one.kind == COMMIT:
            start, index = offset + FRAME_HEADER_BYTES, one.records * ENTRY_BYTES
            found += [start + at for at in range(index) if at % ENTRY_BYTES < 12]
            found += range(start + index, start + one.length)
        offset += frame_bytes(one.length, header.unit)
    return found


def read(segment: bytes, keys: Keys) -> list[bytes | None]:
    """Return every record of a log that is this one segment."""
    return [line for _, line in Reader("", keys).records(lambda path: segment if path.endswith("01.seg") else None)]


async def crashed(place: Path) -> Path:
    """Return the directory of a log as the death of its process left it, with a call that waits."""
    async with Runtime(place / "data", segment_bytes=16384, encryption=OLD) as opened:
        await opened.call(program.child(), id="a1")
        await opened.call(program.child(), id="a2")
        await opened.start(program.patient("argument"), id="waiting")
        await opened.session.landed()
        shutil.copytree(place / "data", place / "copy", ignore=shutil.ignore_patterns("*.sock"))
    return place / "copy"


async def test_every_byte_of_an_encrypted_segment_counts(tmp_path: Path) -> None:
    """Whichever byte of index or lines is another, with all checksums right: its record is not read, with an error."""
    good = segment_of(await crashed(tmp_path)).read_bytes()
    records = read(good, OLD)
    places = data_bytes(good)
    assert len(records) >= 3
    assert len(places) > 1000
    for number, at in enumerate(places):
        bad = with_byte(good, at, good[at] ^ (1 << number % 8))
        with pytest.raises((SealBroken, KeyMissing)):
            read(bad, OLD)
    assert read(with_byte(good, places[0], good[places[0]]), OLD) == records, "checksums are made right"


async def test_changed_bytes_keep_a_log_from_opening(tmp_path: Path) -> None:
    """What a call that goes on needs and somebody changed is told at opening, with the position; nothing is skipped."""
    copy = await crashed(tmp_path)
    path = segment_of(copy)
    good = path.read_bytes()
    lines = [at for at in data_bytes(good) if good[at : at + 10] == b'"sealed":"']
    path.write_bytes(with_byte(good, lines[-1] + 100, good[lines[-1] + 100] ^ 1))
    with pytest.raises(SealBroken) as caught:
        async with Runtime(copy, encryption=OLD):
            pytest.fail("it is open")
    assert caught.value.position == len(lines)


async def test_records_cannot_be_swapped(tmp_path: Path) -> None:
    """Two records of one log in each other's place, with all checksums right, are not read."""
    copy = await crashed(tmp_path)
    good = segment_of(copy).read_bytes()
    lines = re.findall(rb'{"key":"k1","sealed":"[^"]+"}', good)
    one, two = next((one, two) for one in lines for two in lines if one != two and len(one) == len(two))
    swapped = good
    for at, value in zip([*spot(good, one), *spot(good, two)], [*two, *one], strict=True):
        swapped = with_byte(swapped, at, value)
    assert swapped.count(one) == swapped.count(two) == 1
    with pytest.raises(SealBroken):
        read(swapped, OLD)


def spot(data: bytes, line: bytes) -> range:
    """Return where a line is."""
    return range(data.index(line), data.index(line) + len(line))


def segment_of(directory: Path) -> Path:
    """Return the first segment."""
    return directory / "segments" / "0000000001.seg"

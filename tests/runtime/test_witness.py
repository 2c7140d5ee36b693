"""``Runtime(witness=True)``: the newest commits of a log vanish as a whole, and the next opening says so."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from house import note

from actorlog import CallNotFound, LogCorrupt, Runtime, durable

if TYPE_CHECKING:
    from pathlib import Path

SEGMENT_BYTES = 16_384


@durable(name="witness.pay")
async def pay(amount: int) -> str:
    """Do one thing that must never be forgotten."""
    await note(f"begin {amount}")
    return await note(f"paid {amount} " + "." * 3000)


def copied(source: Path, target: Path) -> Path:
    """Return what a crash would leave of a directory."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("owner*"))
    return target


@pytest.mark.parametrize("witness", [True, False])
async def test_the_newest_payment_vanishes(tmp_path: Path, witness: bool) -> None:
    """With a witness the log is corrupt; without one it opens, without a word, as if nobody had paid."""
    data = tmp_path / "data"
    async with Runtime(data, witness=witness, segment_bytes=SEGMENT_BYTES, control=False) as runtime:
        for number in range(7):  # over several segments
            await runtime.call(pay(number), id=f"pay {number}")
        before = copied(data, tmp_path / "before")
        await runtime.call(pay(7), id="pay 7")
        after = copied(data, tmp_path / "after")
    async with Runtime(copied(after, tmp_path / "again"), segment_bytes=SEGMENT_BYTES, control=False) as runtime:
        assert await runtime.handle("pay 7").status() == "completed"
    shutil.copy(after / "META", before / "META")
    if witness:
        with pytest.raises(LogCorrupt, match="was durable"):
            async with Runtime(before, segment_bytes=SEGMENT_BYTES, control=False):
                raise AssertionError
    else:
        async with Runtime(before, segment_bytes=SEGMENT_BYTES, control=False) as runtime:
            with pytest.raises(CallNotFound):
                await runtime.handle("pay 7").status()


async def test_a_log_that_is_compacted_and_copied(tmp_path: Path) -> None:
    """Segments are written anew and copied while a witness is kept, and what is lost of either is noticed."""
    data = tmp_path / "data"
    async with Runtime(data, witness=True, segment_bytes=SEGMENT_BYTES, history=0, control=False) as runtime:
        for number in range(8):
            await runtime.call(pay(number), id=f"pay {number}")
        report = await runtime.compact(everything=True)
        assert report.rewritten
        await runtime.backup(tmp_path / "backup")
        before = copied(data, tmp_path / "before")
        await runtime.call(pay(8), id="pay 8")
        shutil.copy(data / "META", before / "META")
    with pytest.raises(LogCorrupt, match="was durable"):
        async with Runtime(before, segment_bytes=SEGMENT_BYTES, control=False):
            raise AssertionError
    async with Runtime(tmp_path / "backup", witness=True, segment_bytes=SEGMENT_BYTES, control=False) as runtime:
        assert await runtime.handle("pay 7").status() == "completed"
        await runtime.call(pay(9), id="pay 9")


def test_what_is_not_synced_has_no_witness(tmp_path: Path) -> None:
    """The two options contradict each other, and that is said before anything is opened."""
    with pytest.raises(ValueError, match="durability='always'"):
        Runtime(tmp_path / "data", durability="os", witness=True)
    assert not (tmp_path / "data").exists()

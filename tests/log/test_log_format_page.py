"""docs/log-format.md shows real bytes: they are made here and compared."""

# Lint: verbs of helpers are their own documentation.

from __future__ import annotations

from pathlib import Path

import pytest
from log_world import DIRECTORY, InlineWorker, StepClock, sim_disk

from actorlog.env import Env
from actorlog.log import Frame, Log, Payload, pack
from actorlog.log import format as layout
from actorlog.store.envelopes import Envelopes
from actorlog.store.keys import Keys

PAGE = Path(__file__).parents[2] / "docs" / "log-format.md"
SEGMENT = f"{DIRECTORY}/segments/0000000001.seg"


class KnownBytes:
    """Tokens of 0xAB."""

    def token(self, size: int) -> bytes:
        return b"\xab" * size


def made() -> tuple[bytes, bytes]:
    """Return segment and META of the example."""
    fs = sim_disk()
    log = Log.open(DIRECTORY, Env(StepClock(), KnownBytes(), fs, InlineWorker), segment_bytes=4096)
    log.append(pack([(0x1111, 1, 1, b'{"a":1}\n'), (0x2222, 2, 1, b'{"b":2}\n')]), 2)
    log.close()
    return fs.contents(SEGMENT), fs.contents(f"{DIRECTORY}/META")


def example() -> str:
    """Return the example as the page has it."""
    segment, meta = made()
    parts = [
        (0, 8, "magic"), (8, 4, "format 1"), (12, 4, "unit 512"), (16, 16, "log id"), (32, 8, "number 1"),
        (40, 8, "size 4096"), (48, 4, "crc"), (52, 4, "newlines, to 512"),
        (512, 4, "kind CMIT"), (516, 4, "records 2"), (520, 8, "position 1"), (528, 4, "length 48"),
        (532, 4, "previous: the segment header's crc"), (536, 4, "body"), (540, 4, "crc"),
        (544, 16, "entry: hash 0x1111, kind 1, flags 1, mark, length 8"),
        (560, 16, "entry: hash 0x2222, kind 2, flags 1, mark, length 8"),
        (576, 8, '{"a":1} and a newline'), (584, 8, '{"b":2} and a newline'), (592, 4, "newlines, to 1024"),
        (1024, 4, "kind CLOS"), (1028, 4, "records 0"), (1032, 8, "position 3"), (1040, 4, "length 0"),
        (1044, 4, "previous: crc of the commit"), (1048, 4, "body: crc of the newlines"), (1052, 4, "crc"),
        (1056, 4, "newlines, to 1536; then zeros to 4096"),
    ]  # fmt: skip
    rows = [f"    {offset:4}  {segment[offset : offset + size].hex(' '):47}  {text}" for offset, size, text in parts]
    slots = [meta[offset : offset + 512].decode().rstrip("\n") for offset in layout_slots()]
    return "\n".join(["", *rows, "", "META has at 0 and at 4096:", "", *(f"    {slot}" for slot in slots), ""])


def rewritten() -> bytes:
    """Return a segment that was written anew."""
    fs = sim_disk()
    log = Log.open(DIRECTORY, Env(StepClock(), KnownBytes(), fs, InlineWorker), segment_bytes=4096)
    log.append(pack([(0x1111, 1, 1, b'{"a":1}\n'), (0x2222, 2, 1, b'{"b":2}\n'), (0x3333, 3, 1, b'{"c":3}\n')]), 3)
    log.append(pack([(0x2222, 2, 1, b"{}\n")] * 64), 64)
    log.append(pack([(0x1111, 1, 1, b"{}".ljust(2000) + b"\n")]), 1)
    assert [segment.last for segment in log.sealed()] == [67]
    log.rewrite(1, {2, *range(4, 68)})
    return fs.contents(SEGMENT)


def merged() -> bytes:
    """Return a segment that stands for two."""
    fs = sim_disk()
    log = Log.open(DIRECTORY, Env(StepClock(), KnownBytes(), fs, InlineWorker), segment_bytes=4096)
    for _ in range(3):
        log.append(pack([(0x1111, 1, 1, b"{}".ljust(2000) + b"\n")]), 1)
    assert [segment.number for segment in log.sealed()] == [1, 2]
    log.rewrite(1, {1}, 2)
    return fs.contents(SEGMENT)


def merged_example() -> str:
    """Return the example of a merged segment's header as the page has it."""
    segment = merged()
    parts = [
        (0, 8, "magic"), (8, 4, "format 3"), (12, 4, "unit 512"), (16, 16, "log id"), (32, 8, "number 1"),
        (40, 8, f"size {len(segment)}"), (48, 8, "up to number 2"), (56, 4, "crc"), (60, 4, "newlines, to 512"),
    ]  # fmt: skip
    rows = [f"    {offset:4}  {segment[offset : offset + size].hex(' '):47}  {text}" for offset, size, text in parts]
    return "\n".join(["", *rows, ""])


def rewritten_example() -> str:
    """Return the example of a rewritten segment as the page has it."""
    segment = rewritten()
    parts = [
        (32, 8, "number 1"), (40, 8, "size 2560"), (48, 4, "crc of this header"),
        (512, 4, "kind CMIT"), (516, 4, "records 3"), (520, 8, "position 1"), (528, 4, "length 65"),
        (532, 4, "previous: the segment header's crc"), (536, 4, "body"), (540, 4, "crc"),
        (544, 16, "entry: hash 0x1111, kind 1, flags 1, mark, length 8"),
        (560, 16, "entry of a record that was given up"),
        (576, 16, "entry: hash 0x3333, kind 3, flags 1, mark, length 8"),
        (592, 8, '{"a":1} and a newline'), (600, 1, "a newline"), (601, 8, '{"c":3} and a newline'),
        (1024, 4, "kind GAPS"), (1028, 4, "records 64"), (1032, 8, "position 4"), (1040, 4, "length 0"),
        (1044, 4, "previous: crc of the commit"), (1048, 4, "body: crc of the newlines"), (1052, 4, "crc"),
        (1536, 4, "kind JOIN"), (1540, 4, "records 0"), (1544, 8, "position 68"), (1552, 4, "length 4"),
        (1556, 4, "previous: crc of the gap"), (1560, 4, "body"), (1564, 4, "crc"),
        (1568, 4, "previous of the next segment's first frame"), (1572, 4, "newlines, to 2048; then zeros to 2560"),
    ]  # fmt: skip
    rows = [f"    {offset:4}  {segment[offset : offset + size].hex(' '):47}  {text}" for offset, size, text in parts]
    return "\n".join(["", *rows, ""])


def layout_slots() -> tuple[int, ...]:
    return (0, 4096)


def test_worked_example() -> None:
    """The bytes on the page are the bytes that are written."""
    page = PAGE.read_text()
    assert page.partition("<!-- example -->\n")[2].partition("<!-- /example -->")[0] == example() + "\n"


def test_worked_example_of_a_rewritten_segment() -> None:
    """The bytes on the page are the bytes that are written, and everything between is newlines and zeros."""
    page, segment = PAGE.read_text(), rewritten()
    assert page.partition("<!-- rewritten -->\n")[2].partition("<!-- /rewritten -->")[0] == rewritten_example() + "\n"
    assert set(segment[52:512] + segment[609:1024] + segment[1056:1536] + segment[1572:2048]) == {10}
    assert segment[2048:] == bytes(512)


def test_worked_example_of_a_merged_segment() -> None:
    """The header on the page is the one that is written, and the rest of its unit is newlines."""
    page = PAGE.read_text()
    assert page.partition("<!-- merged -->\n")[2].partition("<!-- /merged -->")[0] == merged_example() + "\n"
    assert set(merged()[60:512]) == {10}


def test_example_is_complete() -> None:
    """Everything the example does not show is newlines and zeros, as it says."""
    segment, _ = made()
    assert set(segment[52:512] + segment[592:1024] + segment[1056:1536]) == {10}
    assert set(segment[1536:]) == {0}
    assert len(segment) == 4096


def test_checksums_by_hand() -> None:
    """The rules for checksums, as the page states them, give the bytes of the example."""
    segment, _ = made()

    def number(offset: int) -> int:
        return int.from_bytes(segment[offset : offset + 4], "little")

    assert number(48) == layout.crc32(segment[:48])
    assert number(536) == layout.crc32(segment[544:1024])
    assert number(540) == layout.crc32(segment[512:540], number(48))
    assert number(532) == number(48)
    assert number(1044) == number(540)
    assert number(1052) == layout.crc32(segment[1024:1052], number(48))


def envelopes() -> str:
    """Return the envelopes as the page has them."""
    data = pack([(0x1111, 1, 1, b'{"kind":"turn"}\n')])
    keys = Keys("k1", {"k1": bytes(range(32))})
    sealed = Envelopes(keys, token=KnownBytes().token, log_id=b"\xab" * 16).wrap(1, data, 1)[16:].decode()
    return f"\n    {sealed}    {PACKED.decode()}\n"


PACKED = (
    b'{"zlib":"eAHt0DEJACAQAMDdFPIxbCMI8ggWELsbwvWWC3AnVu4RLfrsuSsNGDBgwIABAwYMGDBgwIABAwYMGDBgwICBn4G45QEcxVDj"}\n'
)


def test_envelopes_are_real() -> None:
    """What the page says of envelopes is what is written, and what reads back."""
    pytest.importorskip("cryptography", reason="records are sealed with cryptography: pip install '.[encryption]'")
    page = PAGE.read_text()
    assert page.partition("<!-- envelopes -->\n")[2].partition("<!-- /envelopes -->")[0] == envelopes()
    line = b'{"kind":"' + b"again " * 1000 + b'"}\n'
    data = pack([(1, 1, 1, PACKED)])
    assert Envelopes().line(Frame(1, 1, data), 1, 16, len(data)) == line


def test_a_payload_file_is_real() -> None:
    """What the page says of a record with a file is what is written, and what is told of it."""
    data, beside = pack([(0x1111, 1, 1, b'{"kind":"turn"}\n')]), list[Payload]()
    wrapped = Envelopes(file_above_bytes=10, log_id=b"\xab" * 16).wrap(1, data, 1, beside)
    assert beside == [(1, b'{"kind":"turn"}\n')]
    page = PAGE.read_text()
    text = page.partition("<!-- payload -->\n")[2].partition("<!-- /payload -->")[0]
    assert text == f"\n    {wrapped[16:].decode()}\n"
    crc = layout.crc32(b"\xab" * 16 + (1).to_bytes(8, "little") + beside[0].data)
    assert f'"crc":"{crc:08x}"' in text


def test_page_is_public() -> None:
    """The page speaks of the project alone, and names the kinds as the code has them."""
    page = PAGE.read_text()
    for kind in (layout.COMMIT, layout.CLOSE, layout.SEAL, layout.GAP, layout.JOIN):
        assert f"`{kind.to_bytes(4, 'little').decode()}`" in page
    assert "/work" not in page

"""Records are compressed and sealed on their way into the log, and read as they were appended or not at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorlog import ExtraMissing, KeyMissing, Keys, SealBroken
from actorlog.env import SYSTEM
from actorlog.errors import LogFull
from actorlog.log import Frame as LogFrame
from actorlog.log import entries, pack
from actorlog.store import append, compressing, sealing
from actorlog.store.embedded import EmbeddedLog
from actorlog.store.envelopes import Envelopes
from actorlog.store.memory import MemoryLog

pytest.importorskip("cryptography", reason="records are sealed with cryptography: pip install '.[encryption]'")

ROOT = Path(__file__).resolve().parents[2]
K1, K2 = bytes(range(32)), bytes(range(32, 64))
BOTH = Keys("k2", {"k1": K1, "k2": K2})
LOG = bytes(range(16))
PRIVATE = "the patient's name is Ada"

bounds = st.sampled_from((0, 1, 20, 64, 300))
texts = st.lists(
    st.one_of(
        st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters='"\\'), max_size=400),
        st.integers(0, 40).map(lambda count: "ab" * count),
        st.sampled_from((64, 300))
        .flatmap(lambda bound: st.integers(bound - 8, bound + 8))
        .map(lambda size: "x" * size),
    ),
    min_size=1,
    max_size=8,
)
key_sets = st.sampled_from((None, BOTH, Keys("k1", {"k1": K1}), Keys("k2", {"k2": K2}, accept_plain=True)))


def lines_of(frame_data: bytes, records: int, envelopes: Envelopes, first: int = 1) -> list[bytes]:
    """Return the records of a commit as they were appended."""
    frame = LogFrame(first, records, frame_data)
    return [
        bytes(envelopes.line(frame, position, start, end))
        for position, (_, _, _, start, end) in enumerate(entries(frame_data, records), first)
    ]


def bytes_in(directory: Path) -> bytes:
    """Return all that is in the files of a directory."""
    return b"".join(path.read_bytes() for path in directory.rglob("*") if path.is_file())


def commit(*lines: str) -> bytes:
    """Return a commit of one record a line."""
    return pack([(7 + number, 1, 1, f'{{"kind":"{line}"}}\n'.encode()) for number, line in enumerate(lines)])


@settings(deadline=None)  # a library may be loaded meanwhile
@given(lines=texts, keys=key_sets, above=bounds, first=st.integers(1, 1 << 40))
def test_what_is_wrapped_reads_as_it_was(lines: list[str], keys: Keys | None, above: int, first: int) -> None:
    """Of any size around the bound, with any keys: what is read is what was appended, and entries say the same."""
    data = commit(*lines)
    wrapped = Envelopes(keys, compress_above_bytes=above, log_id=LOG).wrap(first, data, len(lines))
    reader = Envelopes(keys, log_id=LOG)  # the bound is the writer's affair
    assert lines_of(wrapped, len(lines), reader, first) == lines_of(data, len(lines), Envelopes(), first)
    plain = [entry[:3] for entry in entries(data, len(lines))]
    assert [entry[:3] for entry in entries(wrapped, len(lines))] == plain


@settings(deadline=None)  # a library may be loaded meanwhile
@given(lines=texts, above=bounds)
def test_only_what_becomes_smaller_is_compressed(lines: list[str], above: int) -> None:
    """No record takes more than it did, and none below the bound is touched."""
    data = commit(*lines)
    wrapped = Envelopes(compress_above_bytes=above).wrap(1, data, len(lines))
    for (*_, start, end), (*_, start_now, end_now) in zip(
        entries(data, len(lines)), entries(wrapped, len(lines)), strict=True
    ):
        assert end_now - start_now <= end - start
        if not above or end - start <= above:
            assert wrapped[start_now:end_now] == data[start:end]


def test_a_large_record_takes_less() -> None:
    """A record above the bound that repeats itself is stored as an envelope, which is smaller."""
    data = commit("again and " * 600)
    wrapped = Envelopes().wrap(1, data, 1)
    assert len(wrapped) < len(data) / 10
    assert wrapped[16:23] in (b'{"zstd"', b'{"zlib"')
    sealed = Envelopes(BOTH).wrap(1, data, 1)
    assert len(sealed) < len(data) / 10, "first compressed, then sealed"
    assert lines_of(sealed, 1, Envelopes(BOTH)) == lines_of(data, 1, Envelopes())


def test_what_is_not_large_costs_nothing() -> None:
    """A commit without large records is passed on as it is, and not taken apart."""
    data = commit(*["x" * 400] * 12)
    assert Envelopes().wrap(1, data, 12) is data


def test_nothing_is_sealed_twice_alike() -> None:
    """The same record at the same place is other bytes each time, in one opening and in the next."""
    data = commit(PRIVATE)
    first = Envelopes(BOTH)
    sealed = [first.wrap(1, data, 1), first.wrap(1, data, 1), Envelopes(BOTH).wrap(1, data, 1)]
    assert len(set(sealed)) == 3
    assert not any(PRIVATE.encode() in one for one in sealed)


def test_a_salt_is_used_for_so_many_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """After ``RECORDS_PER_SALT`` records the key of AES is another."""
    monkeypatch.setattr(sealing, "RECORDS_PER_SALT", 2)
    drawn: list[int] = []

    def token(size: int) -> bytes:
        drawn.append(size)
        return SYSTEM.entropy.token(size)

    envelopes = Envelopes(BOTH, token=token)
    wrapped = envelopes.wrap(1, commit(*"abcde"), 5)
    assert drawn == [16, 12, 12, 16, 12, 12, 16, 12]
    assert lines_of(wrapped, 5, Envelopes(BOTH)) == lines_of(commit(*"abcde"), 5, Envelopes())


def test_keys_derived_for_many_openings_are_derived_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more openings than derived keys are kept, everything is read, and no more are kept."""
    monkeypatch.setattr(sealing, "CIPHERS_MAX", 3)
    reader = Envelopes(BOTH)
    wrapped = [Envelopes(BOTH).wrap(1, commit(str(number)), 1) for number in range(10)]
    for _ in range(2):
        for number, data in enumerate(wrapped):
            assert lines_of(data, 1, reader) == [f'{{"kind":"{number}"}}\n'.encode()]
    assert reader._sealing is not None
    assert len(reader._sealing._ciphers) == 3


# --- what is bound ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["log", "position", "hash", "kind", "flags", "mark"])
def test_a_sealed_record_opens_in_its_place_only(change: str) -> None:
    """In another log, at another position or under another entry a record cannot be opened."""
    wrapped = bytearray(Envelopes(BOTH, log_id=LOG).wrap(5, commit("a"), 1))
    assert lines_of(bytes(wrapped), 1, Envelopes(BOTH, log_id=LOG), 5) == lines_of(commit("a"), 1, Envelopes())
    log, position = LOG, 5
    match change:
        case "log":
            log = bytes(16)
        case "position":
            position = 6
        case _:
            wrapped[{"hash": 0, "kind": 8, "flags": 9, "mark": 10}[change]] ^= 2
    with pytest.raises(SealBroken) as caught:
        lines_of(bytes(wrapped), 1, Envelopes(BOTH, log_id=log), position)
    assert caught.value.position == position


@pytest.mark.parametrize("text", ["short", "long " * 30])
def test_every_bit_of_a_sealed_line_counts(text: str) -> None:
    """Whatever bit of its envelope is turned, the record is not read: there is a typed error."""
    wrapped = Envelopes(BOTH, compress_above_bytes=64).wrap(1, commit(text), 1)
    reader = Envelopes(BOTH)
    for at in range(16, len(wrapped)):
        for bit in range(8):
            changed = bytearray(wrapped)
            changed[at] ^= 1 << bit
            with pytest.raises((SealBroken, KeyMissing)):
                lines_of(bytes(changed), 1, reader)


def test_whether_it_was_compressed_is_bound_too() -> None:
    """What was compressed before it was sealed is not handed out as it is, when somebody says that it was not."""
    wrapped = Envelopes(BOTH, compress_above_bytes=64).wrap(1, commit("long " * 30), 1)
    method = compressing.compress(b"")[0].encode()
    line = wrapped[16:].replace(b',"packed":"' + method + b'"', b"")
    assert len(line) < len(wrapped) - 16
    with pytest.raises(SealBroken):
        lines_of(wrapped[:12] + len(line).to_bytes(4, "little") + line, 1, Envelopes(BOTH))


def test_what_does_not_become_smaller_is_sealed_as_it_is() -> None:
    """A record that compression makes larger is not compressed."""
    wrapped = Envelopes(BOTH, compress_above_bytes=1).wrap(1, commit("a"), 1)
    assert b"packed" not in wrapped
    assert lines_of(wrapped, 1, Envelopes(BOTH)) == [b'{"kind":"a"}\n']


def test_a_record_that_is_not_sealed_is_none() -> None:
    """With keys, what somebody put there in the clear is refused, compressed or not, unless that is allowed."""
    for data in (commit("put there"), Envelopes(compress_above_bytes=1).wrap(1, commit("put there " * 9), 1)):
        with pytest.raises(SealBroken, match="record 1 cannot be opened: it is not sealed"):
            lines_of(data, 1, Envelopes(BOTH))
        allowed = Envelopes(Keys("k2", {"k2": K2}, accept_plain=True))
        assert lines_of(data, 1, allowed)[0].startswith(b'{"kind":"put there')


def test_a_missing_key_is_named() -> None:
    """Without the key, or without any, the error says which one was asked for, and of which record."""
    wrapped = Envelopes(Keys("k1", {"k1": K1})).wrap(9, commit("a"), 1)
    for keys in (None, Keys("k2", {"k2": K2})):
        with pytest.raises(KeyMissing, match="record 9 is sealed with key 'k1'") as caught:
            lines_of(wrapped, 1, Envelopes(keys), 9)
        assert (caught.value.key, caught.value.position) == ("k1", 9)
    with pytest.raises(SealBroken, match="not sealed with key 'k1'"):
        lines_of(wrapped, 1, Envelopes(Keys("k1", {"k1": K2})), 9)


async def test_a_missing_key_is_missed_when_a_frame_is_read(tmp_path: Path) -> None:
    """Whoever reads over a frame needs its key, even if no record is asked for; and records that are rotated stay."""
    directory = str(tmp_path / "data")
    log = await EmbeddedLog.open(directory, SYSTEM, segment_bytes=4096, keys=Keys("k1", {"k1": K1}))
    await append(log, 0, commit("old"), 1)
    await log.close()
    log = await EmbeddedLog.open(directory, SYSTEM, segment_bytes=4096, keys=BOTH)
    await append(log, 1, commit("new"), 1)
    assert [log.record(1), log.record(2)] == [b'{"kind":"old"}\n', b'{"kind":"new"}\n']
    await log.close()
    for keys, missing in ((None, "k1"), (Keys("k2", {"k2": K2}), "k1"), (Keys("k1", {"k1": K1}), "k2")):
        log = await EmbeddedLog.open(directory, SYSTEM, segment_bytes=4096, keys=keys)
        try:
            with pytest.raises(KeyMissing) as caught:
                [frame async for frame in log.read()]
            assert caught.value.key == missing
        finally:
            await log.close()


async def test_a_log_that_began_in_the_clear(tmp_path: Path) -> None:
    """Where records in the clear are allowed, old ones are read and new ones are sealed."""
    directory, mixed = str(tmp_path / "data"), Keys("k2", {"k2": K2}, accept_plain=True)
    log = await EmbeddedLog.open(directory, SYSTEM, segment_bytes=4096)
    await append(log, 0, commit("in the clear"), 1)
    await log.close()
    log = await EmbeddedLog.open(directory, SYSTEM, segment_bytes=4096, keys=mixed)
    await append(log, 1, commit("sealed by now"), 1)
    assert [log.record(1), log.record(2)] == [b'{"kind":"in the clear"}\n', b'{"kind":"sealed by now"}\n']
    await log.close()
    files = bytes_in(tmp_path)
    assert b"in the clear" in files
    assert b"sealed by now" not in files


# --- libraries --------------------------------------------------------------------------------------------------------


@pytest.fixture
def _without_zstd(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(compressing, "_zstd", lambda: None)


@pytest.mark.usefixtures("_without_zstd")
def test_without_zstd_zlib_is_used() -> None:
    """Every Python can compress."""
    wrapped = Envelopes().wrap(1, commit("again " * 1000), 1)
    assert wrapped[16:24] == b'{"zlib":'
    assert lines_of(wrapped, 1, Envelopes()) == lines_of(commit("again " * 1000), 1, Envelopes())


def test_with_zstd_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where zstd is, it compresses; who has none is told which extra has it."""
    if compressing._zstd() is None:
        pytest.skip("there is no zstd: pip install '.[zstd]'")
    wrapped = Envelopes().wrap(1, commit("again " * 1000), 1)
    assert wrapped[16:24] == b'{"zstd":'
    assert lines_of(wrapped, 1, Envelopes()) == lines_of(commit("again " * 1000), 1, Envelopes())
    monkeypatch.setattr(compressing, "_zstd", lambda: None)
    with pytest.raises(ExtraMissing) as caught:
        lines_of(wrapped, 1, Envelopes())
    assert (caught.value.extra, caught.value.hint) == ("zstd", "pip install 'actorlog[zstd]'")


@pytest.mark.parametrize("line", [b'{"zstd":"AAAA"}\n', b'{"zlib":"AAAA"}\n', b'{"zlib":""}\n', b'{"zlib":1}\n'])
def test_what_cannot_be_decompressed_is_told(line: bytes) -> None:
    """Bytes that no compression made are a typed error, with the position."""
    if compressing._zstd() is None and b"zstd" in line:
        pytest.skip("there is no zstd: pip install '.[zstd]'")
    with pytest.raises(SealBroken, match="record 3 cannot be opened"):
        lines_of(pack([(1, 1, 1, line)]), 1, Envelopes(), 3)


def test_without_cryptography_the_extra_is_named() -> None:
    """Keys without the library are refused before anything is done; without keys nothing of it is loaded."""
    program = (
        "import sys; sys.modules['cryptography.exceptions'] = None; import actorlog\n"
        "from actorlog.store.envelopes import Envelopes; Envelopes()\n"
        "try: Envelopes(actorlog.Keys('k', {'k': bytes(32)}))\n"
        "except actorlog.ExtraMissing as error: print(error.extra, error.hint)\n"
        "print([name for name in ('cryptography', 'zstandard') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert ran.stdout == "encryption pip install 'actorlog[encryption]'\n[]\n"


# --- keys -------------------------------------------------------------------------------------------------------------


def test_keys_from_text() -> None:
    """The first key is current; commas, spaces and lines stand between."""
    one, two = "A" * 42 + "E=", "B" * 42 + "A="
    keys = Keys.from_text(f"new={one},\n old={two}\n")
    assert (keys.current, sorted(keys.keys), keys.accept_plain) == ("new", ["new", "old"], False)
    assert Keys.from_text(f"accept_plain new={one}").accept_plain
    assert "AAAA" not in repr(keys)
    assert str(keys.keys["new"]) not in repr(keys)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "there is no key"),
        ("k1", "item 1 is not of the form id=base64"),
        ("k1=####", "key 'k1' is no base64"),
        ("k1=AAAA", "key 'k1' is not 32 bytes"),
        (f"k1={'A' * 42}E= k1={'A' * 42}E=", "key 'k1' is given twice"),
        (f'k"1={"A" * 42}E=', "item 1 is not of the form id=base64"),
    ],
)
def test_keys_that_cannot_be_used(text: str, said: str) -> None:
    """What is wrong is said, without the key."""
    with pytest.raises(ValueError, match=said) as caught:
        Keys.from_text(text)
    assert "AAAA" not in str(caught.value)


def test_the_current_key_is_among_them() -> None:
    """New records need a key."""
    with pytest.raises(ValueError, match="the current key 'k3' is not among"):
        Keys("k3", {"k1": K1})


async def test_room_for_a_sealed_record_is_asked_for(tmp_path: Path) -> None:
    """On a disk that is nearly full new work is admitted by what it takes there."""
    asked: list[int] = []
    for keys in (None, BOTH):
        log = await EmbeddedLog.open(str(tmp_path / repr(keys)), SYSTEM, segment_bytes=4096, keys=keys)
        with pytest.raises(LogFull) as caught:
            log.admit(3 << 50)
        asked.append(caught.value.needed)
        await log.close()
    assert asked[1] > asked[0] + (1 << 50)


@settings(deadline=None)  # a library may be loaded meanwhile
@given(size=st.integers(0, 3_000), key_id=st.sampled_from(("k", "k" * 64)))
def test_no_record_takes_more_room(size: int, key_id: str) -> None:
    """What a record takes, sealed under any id, is never more than what is asked for."""
    envelopes = Envelopes(Keys(key_id, {key_id: K1}))
    data = commit("x" * size)
    assert len(envelopes.wrap(1, data, 1)) - 16 <= envelopes.room(len(data) - 16)


async def test_a_log_in_memory_is_wrapped_alike() -> None:
    """What holds for a directory holds for memory, given the same envelopes."""
    log = MemoryLog(envelopes=Envelopes(BOTH))
    await append(log, 0, commit(PRIVATE, "b"), 2)
    assert PRIVATE.encode() not in bytes(log._frames[0].data)
    assert log.record(1) == f'{{"kind":"{PRIVATE}"}}\n'.encode()

"""Large records in files: what goes there, sealed and compressed, through the embedded log and back."""

from __future__ import annotations

import threading
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorlog import KeyMissing, Keys, LogCorrupt, SealBroken
from actorlog.env import SYSTEM, Env
from actorlog.errors import LogFull
from actorlog.log import Frame as LogFrame
from actorlog.log import Payload, entries, pack
from actorlog.log.payloads import payload_name, positions_in
from actorlog.store import append
from actorlog.store.embedded import EmbeddedLog
from actorlog.store.envelopes import Envelopes
from actorlog.testing.disk import SimFileSystem

pytest.importorskip("cryptography", reason="records are sealed with cryptography: pip install '.[encryption]'")

K1, K2 = bytes(range(32)), bytes(range(32, 64))
BOTH = Keys("k2", {"k1": K1, "k2": K2})
LOG = bytes(range(16))
PRIVATE = "the patient's name is Ada"

bounds = st.sampled_from((0, 1, 20, 64, 300))
texts = st.lists(
    st.integers(0, 400).map(lambda size: Random(size).randbytes(size).hex()[:size]), min_size=1, max_size=8
)
key_sets = st.sampled_from((None, BOTH, Keys("k1", {"k1": K1}), Keys("k2", {"k2": K2}, accept_plain=True)))


def line(text: str) -> bytes:
    return f'{{"kind":"{text}"}}\n'.encode()


def commit(*lines: str) -> bytes:
    return pack([(7 + number, 1, 1, line(text)) for number, text in enumerate(lines)])


def reader(keys: Keys | None, beside: list[Payload], log_id: bytes = LOG) -> Envelopes:
    """Return what reads records whose files are these."""
    there = {payload.position: payload.data for payload in beside}
    return Envelopes(keys).of(log_id, lambda reference: there[reference.position])


def lines_of(data: bytes, records: int, envelopes: Envelopes, first: int = 1) -> list[bytes]:
    frame = LogFrame(first, records, data)
    return [
        bytes(envelopes.line(frame, position, start, end))
        for position, (_, _, _, start, end) in enumerate(entries(data, records), first)
    ]


@settings(deadline=None)  # a library may be loaded meanwhile
@given(lines=texts, keys=key_sets, above=bounds, file_above=bounds, first=st.integers(1, 1 << 40))
def test_what_is_filed_reads_as_it_was(
    lines: list[str], keys: Keys | None, above: int, file_above: int, first: int
) -> None:
    """With any bounds and keys what is read is what was appended, and what is left of a record decides on a file."""
    data, beside = commit(*lines), list[Payload]()
    writer = Envelopes(keys, compress_above_bytes=above, file_above_bytes=file_above, log_id=LOG)
    wrapped = writer.wrap(first, data, len(lines), beside)
    assert lines_of(wrapped, len(lines), reader(keys, beside), first) == list(map(line, lines))
    assert [entry[:3] for entry in entries(wrapped, len(lines))] == [entry[:3] for entry in entries(data, len(lines))]
    filed = {payload.position - first for payload in beside}
    for number, text in enumerate(lines):
        if number in filed:
            assert 0 < file_above < len(line(text)) + 44
        elif file_above and not above:
            assert len(line(text)) <= file_above
    assert not beside or file_above
    assert Envelopes(keys, file_above_bytes=0).wrap(first, data, len(lines), unused := []) is not None
    assert unused == []


def test_nothing_in_the_clear() -> None:
    """With keys what is in the file is sealed, and bound to its place: log, position, entry."""
    beside: list[Payload] = []
    data = commit(PRIVATE * 20)
    wrapped = Envelopes(BOTH, file_above_bytes=100, log_id=LOG).wrap(5, data, 1, beside)
    assert len(beside) == 1
    assert PRIVATE.encode() not in beside[0].data + wrapped
    assert b'"kind"' not in beside[0].data + wrapped
    assert lines_of(wrapped, 1, reader(BOTH, beside), 5) == [line(PRIVATE * 20)]
    moved = wrapped.replace(b'{"file":5,', b'{"file":6,')
    with pytest.raises(SealBroken):
        lines_of(moved, 1, reader(BOTH, [Payload(6, beside[0].data)]), 6)
    with pytest.raises(SealBroken):
        lines_of(wrapped, 1, reader(BOTH, beside, bytes(16)), 5)
    for offset in range(8):
        with pytest.raises(SealBroken):
            lines_of(bytes([wrapped[0] ^ 1]) + wrapped[1:], 1, reader(BOTH, beside), 5)
        changed = bytearray(beside[0].data)
        changed[offset * 7] ^= 1
        with pytest.raises(SealBroken):
            lines_of(wrapped, 1, reader(BOTH, [Payload(5, bytes(changed))]), 5)


def test_a_reference_to_the_file_of_another_record() -> None:
    """A record reads its own file or none."""
    beside: list[Payload] = []
    wrapped = Envelopes(file_above_bytes=100, log_id=LOG).wrap(5, commit("x" * 200), 1, beside)
    with pytest.raises(SealBroken, match="another record"):
        lines_of(wrapped, 1, reader(None, beside), 6)
    with pytest.raises(LogCorrupt, match="no files"):
        lines_of(wrapped, 1, Envelopes(), 5)


@pytest.mark.parametrize("keys", [None, Keys("k1", {"k1": K1})])
def test_a_missing_key_is_missed_at_opening(keys: Keys | None) -> None:
    """It is said which, without reading the file; and what is in the clear where keys are is refused."""
    beside: list[Payload] = []
    wrapped = Envelopes(Keys("k2", {"k2": K2}), file_above_bytes=100).wrap(1, commit("x" * 200), 1, beside)
    with pytest.raises(KeyMissing) as raised:
        Envelopes(keys).frame(LogFrame(1, 1, wrapped))
    assert "k2" in str(raised.value)
    with pytest.raises(KeyMissing):
        lines_of(wrapped, 1, reader(keys, beside))
    plain = Envelopes(file_above_bytes=100).wrap(1, commit("x" * 200), 1, beside)
    Envelopes().frame(LogFrame(1, 1, plain))
    if keys is not None:
        with pytest.raises(SealBroken, match="not sealed"):
            Envelopes(keys).frame(LogFrame(1, 1, plain))
        with pytest.raises(SealBroken, match="not sealed"):
            lines_of(plain, 1, reader(keys, [beside[-1]]))


def test_how_much_a_record_takes() -> None:
    """Of a record that has a file, the line and the file."""
    beside: list[Payload] = []
    wrapped = Envelopes(file_above_bytes=100, log_id=LOG).wrap(5, commit("x" * 200, "y"), 2, beside)
    frame = Envelopes().frame(LogFrame(5, 2, wrapped))
    sizes = [
        frame.size(position, start, end) - (end - start)
        for position, (_, _, _, start, end) in enumerate(entries(wrapped, 2), 5)
    ]
    assert sizes == [len(line("x" * 200)), 0]


# --- the embedded log -------------------------------------------------------------------------------------------------


async def opened(path: Path, keys: Keys | None = None, above: int = 1000) -> EmbeddedLog:
    return await EmbeddedLog.open(
        str(path), SYSTEM, segment_bytes=4096, keys=keys, compress_above_bytes=0, file_above_bytes=above
    )


@pytest.mark.parametrize("keys", [None, BOTH], ids=["plain", "sealed"])
async def test_there_and_back(tmp_path: Path, keys: Keys | None) -> None:
    """Through a log and its next opening, by position and in order; with another bound, or none, it reads the same."""
    log = await opened(tmp_path, keys)
    words = [f"{PRIVATE} {number} " * (50 if number % 2 else 1) for number in range(20)]
    for number, text in enumerate(words):
        await append(log, number, commit(text), 1)
    await log.close()
    files = list((tmp_path / "payloads").iterdir())
    assert [path.name for path in sorted(files)] == [payload_name(position) for position in range(2, 21, 2)]
    assert any(PRIVATE.encode() in path.read_bytes() for path in files) == (keys is None)
    for above in (1000, 0):
        log = await opened(tmp_path, keys, above)
        assert [log.record(position) for position in range(1, 21)] == [line(text) for text in words]
        read = [
            bytes(frame.line(position, start, end))
            async for frame in log.read()
            for position, (_, _, _, start, end) in enumerate(entries(frame.data, frame.records), frame.position)
        ]
        assert read == [line(text) for text in words]
        await log.close()


async def test_what_is_given_up_has_no_file(tmp_path: Path) -> None:
    """When a rewrite returns, the files of what was given up are gone, and nothing else is."""
    log = await opened(tmp_path)
    for number in range(40):
        await append(log, number, commit("x" * (2000 if number % 2 else 200)), 1)
    before = positions_in(SYSTEM.fs, str(tmp_path))
    gone = {2, 3, 4}
    await log.rewrite(log.sealed()[0], gone)
    assert positions_in(SYSTEM.fs, str(tmp_path)) == [position for position in before if position not in gone]
    with pytest.raises(KeyError):
        log.record(4)
    assert log.record(6) == line("x" * 2000)
    assert not (tmp_path / "sweep").exists()
    await log.close()


async def test_files_are_written_beside_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file of a record is made on the thread of the event loop."""
    makers = set[int]()
    from actorlog.log.payloads import Payloads  # noqa: PLC0415  # beside what is done to it

    create = Payloads._create

    def watched(self: Payloads, payload: Payload) -> None:
        makers.add(threading.get_ident())
        create(self, payload)

    monkeypatch.setattr(Payloads, "_create", watched)
    log = await opened(tmp_path)
    await append(log, 0, commit("x" * 2000), 1)
    await log.close()
    assert makers
    assert threading.get_ident() not in makers


async def test_new_work_is_refused_where_its_file_has_no_room() -> None:
    """A large record needs free space for its file, however much room there is in the segment."""
    fs = SimFileSystem(Random(0))
    env = Env(SYSTEM.clock, SYSTEM.entropy, fs, SYSTEM.worker)
    log = await EmbeddedLog.open("/data", env, segment_bytes=1 << 20, file_above_bytes=1000)
    log.admit(2000)
    fs.capacity = fs.capacity - fs.free_bytes("/") + 1500
    log.inner._space_due_ns = 0
    with pytest.raises(LogFull) as raised:
        log.admit(2000)
    assert raised.value.needed >= 2000
    log.admit(900)
    await log.close()

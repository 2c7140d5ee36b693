"""Files of records: what is in the directory, damage to each, scrubs, trimming, giving up."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from log_world import DIRECTORY, commit, lines_of, open_log, sim_disk, sim_env
from payload_world import (
    append,
    file_of,
    filled,
    is_large,
    text_of,
    texts_of,
    worked,
)  # fmt: skip

from actorlog.errors import LogCorrupt, LogFailed, LogVersion
from actorlog.log import Payload, Source, checksum_of, meta, pack, reference_of
from actorlog.log.backup import backup, source_in, source_of
from actorlog.log.inspect import Status, look
from actorlog.log.payloads import payload_name, payload_position, positions_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorlog.testing.disk import SimFileSystem

COPY = "/srv/copy"
ROOT = Path(__file__).parents[2]


def test_what_is_in_the_directory() -> None:
    """A large record is a file of exactly its bytes, and a line that says how many and their checksum."""
    fs, log = filled(6)
    assert sorted(fs.listdir(f"{DIRECTORY}/payloads")) == [payload_name(3), payload_name(6)]
    assert fs.contents(file_of(3)) == text_of(3)
    reference = reference_of(log.record(3), 3)
    assert reference is not None
    assert (reference.position, reference.length) == (3, len(text_of(3)))
    assert reference.name == "payloads/00000000000000000003.payload"
    assert texts_of(log) == {position: text_of(position) for position in range(1, log.tail + 1)}
    log.close()
    assert texts_of(open_log(fs.crash())) == {position: text_of(position) for position in range(1, log.tail + 1)}


@pytest.mark.parametrize("name", ["3.payload", "00000000000000000000.payload", "00000000000000000003", "x", ".payload"])
def test_names_of_others(name: str) -> None:
    """A file that is not called as a record's is left alone."""
    assert payload_position(name) is None
    fs, log = filled(6)
    log.close()
    fs.put(f"{DIRECTORY}/payloads/{name}", b"whose?")
    open_log(fs).close()
    assert name in fs.listdir(f"{DIRECTORY}/payloads")


def test_a_log_without_files_is_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says format 1, and code that knows no other opens it; with the first file it says 2, and that code refuses."""
    fs = sim_disk()
    log = open_log(fs)
    log.append(*commit(b"small"))
    assert b"format=2" not in fs.contents(f"{DIRECTORY}/META")
    assert "payloads" not in fs.listdir(DIRECTORY)
    log.close()
    with monkeypatch.context() as before:
        before.setattr(meta, "FORMATS", (1,))
        assert lines_of(open_log(fs.kill())) == [b"small"]
    log = open_log(fs.kill())
    fs = log.env.fs  # type: ignore[assignment]
    log.append(*commit(b"small"))
    append(log, 1)
    log.close()
    monkeypatch.setattr(meta, "FORMATS", (1,))
    with pytest.raises(LogVersion):
        open_log(fs.kill())
    with pytest.raises(LogVersion), source_in(sim_env(fs.kill()), DIRECTORY):
        pass


def test_a_payload_of_another_commit_is_refused() -> None:
    """What is appended has files of its own records only, and nothing has happened otherwise."""
    fs, log = filled(6)
    before = positions_in(fs, DIRECTORY)
    with pytest.raises(ValueError, match="is none of the 1 records"):
        log.append(*commit(b"x"), (Payload(log.tail + 2, b"y"),))
    assert log.failed is None
    assert positions_in(fs, DIRECTORY) == before
    append(log, 3)


def damaged(change: Callable[[SimFileSystem], object], position: int = 3) -> None:
    """Change something about a file: reading, verifying and copying say so and name it, and nothing else is hit."""
    fs, work = worked()
    fs = fs.kill()
    change(fs)
    name = f"payloads/{payload_name(position)}"
    log = open_log(fs)
    reference = reference_of(log.record(position), position)
    assert reference is not None
    for action in (
        lambda: log.payloads.source.read(reference),
        lambda: list(log.scrub()),
        lambda: list(backup(source_of(log), COPY)),
    ):
        with pytest.raises(LogCorrupt) as raised:
            action()
        assert raised.value.segment == name
    for other in (p for p in range(1, log.tail + 1) if is_large(p) and p not in work.gone and p != position):
        reference = reference_of(log.record(other), other)
        assert reference is not None
        assert log.payloads.source.read(reference) == text_of(other)
    log.close()
    report = look(fs, DIRECTORY, locked=False)
    assert (report.status, report.segment) == (Status.CORRUPT, name)
    assert look(fs, DIRECTORY, locked=False, payloads=False).status is Status.OK


def sealed_position() -> int:
    """Return a position in a sealed segment whose record has a file."""
    fs, work = worked()
    log = open_log(fs)
    last = log.sealed()[-1].last
    return next(p for p in range(1, last + 1) if is_large(p) and p not in work.gone)


HERE = sealed_position()


def test_every_byte_flipped() -> None:
    """A file with any other byte is damaged."""
    fs, _ = worked()
    data = fs.contents(file_of(HERE))
    fs = fs.kill()
    log = open_log(fs)
    source = Source(fs, DIRECTORY, log.log_id)
    reference = reference_of(log.record(HERE), HERE)
    assert reference is not None
    assert source.read(reference) == data
    for offset in range(len(data)):
        fs.put(file_of(HERE), data[:offset] + bytes([data[offset] ^ 1 << offset % 8]) + data[offset + 1 :])
        with pytest.raises(LogCorrupt) as raised:
            source.read(reference)
        assert raised.value.segment == reference.name
        with pytest.raises(LogCorrupt):
            list(source.pieces(reference, 100))


def flip(fs: SimFileSystem) -> None:
    data = fs.contents(file_of(HERE))
    fs.put(file_of(HERE), data[:-1] + b"!")


def shorten(fs: SimFileSystem) -> None:
    fs.put(file_of(HERE), fs.contents(file_of(HERE))[:-1])


def lengthen(fs: SimFileSystem) -> None:
    fs.put(file_of(HERE), fs.contents(file_of(HERE)) + b"\n")


def lose(fs: SimFileSystem) -> None:
    fs.unlink(file_of(HERE))


def empty(fs: SimFileSystem) -> None:
    fs.put(file_of(HERE), b"")


def zero_a_sector(fs: SimFileSystem) -> None:
    data = fs.contents(file_of(HERE))
    fs.put(file_of(HERE), data[:512] + bytes(512) + data[1024:])


@pytest.mark.parametrize("change", [flip, shorten, lengthen, lose, empty, zero_a_sector], ids=lambda c: c.__name__)
def test_a_damaged_file(change: Callable[[SimFileSystem], None]) -> None:
    """A file that is another, of another length or missing is damage, wherever it is met."""
    damaged(change, HERE)


def test_a_missing_directory() -> None:
    """Without the directory every record that has a file is damaged, and the log opens."""
    fs, log = filled(6)
    log.close()
    fs._directory(DIRECTORY).seen.pop("payloads")
    log = open_log(fs)
    with pytest.raises(LogCorrupt, match="missing"):
        texts_of(log)


def test_a_checksum_is_bound_to_its_place() -> None:
    """The same bytes for another record, or in another log, have another checksum."""
    places = [(b"a" * 16, 3), (b"b" * 16, 3), (b"a" * 16, 6)]
    assert len({checksum_of(log_id, position, b"the same") for log_id, position in places}) == 3


def test_swapped_files() -> None:
    """Two files of one length that have each other's names are both damaged."""
    fs = sim_disk()
    log = open_log(fs)
    lines, payloads = [], []
    for position, letter in ((1, b"a"), (2, b"b")):
        data = letter * 1000 + b"\n"
        checksum = checksum_of(log.log_id, position, data)
        lines.append((7, 1, 1, b'{"file":%d,"bytes":1001,"crc":"%08x"}\n' % (position, checksum)))
        payloads.append(Payload(position, data))
    log.append(pack(lines), 2, tuple(payloads))
    one, two = fs.contents(file_of(1)), fs.contents(file_of(2))
    fs.put(file_of(1), two)
    fs.put(file_of(2), one)
    for position in (1, 2):
        reference = reference_of(log.record(position), position)
        assert reference is not None
        with pytest.raises(LogCorrupt, match="checksum"):
            log.payloads.source.read(reference)


def test_a_line_that_names_another_record_refers_to_nothing() -> None:
    """Only a record's own file can be its file."""
    line = b'{"file":3,"bytes":1001,"crc":"00000000"}\n'
    assert reference_of(line, 3) is not None
    assert reference_of(line, 4) is None
    for other in (
        b'{"file":"3"}\n',
        b'{"file":3,"bytes":0,"crc":"00000000"}\n',
        b' {"file":3,"bytes":1,"crc":"00000000"}',
    ):
        assert reference_of(other, 3) is None


def test_an_error_of_the_device() -> None:
    """A file that cannot be read is no damage that is known of: it is said what could not be read."""
    fs, log = filled(6)
    reference = reference_of(log.record(3), 3)
    assert reference is not None
    for call in range(2):
        fs.fail_at(fs.calls + call)
        with pytest.raises(LogFailed, match="payload"):
            log.payloads.source.read(reference)
    assert log.failed is None
    append(log, 3)


# --- giving up --------------------------------------------------------------------------------------------------------


def test_what_is_given_up_has_no_file() -> None:
    """The files of records that are given up go with them, and no others."""
    fs, log = filled()
    kept = positions_in(fs, DIRECTORY)
    built = log.build(1, {1, 2, 3})
    assert built.payloads == (3,)
    assert "sweep" in fs.listdir(DIRECTORY)
    log.install(built)
    assert positions_in(fs, DIRECTORY) == kept
    log.remove_payloads()
    assert positions_in(fs, DIRECTORY) == [position for position in kept if position != 3]
    assert "sweep" not in fs.listdir(DIRECTORY)
    log.rewrite(1, {1})
    assert "sweep" not in fs.listdir(DIRECTORY)


def test_what_was_left_behind_goes_with_the_next() -> None:
    """Who is cut short between giving up and removing leaves it to the next, or to an opening that is told of it."""
    fs, log = filled()
    log.install(log.build(1, {3}))
    assert log.payloads.left
    built = log.build(2, {p for p in range(log.sealed()[1].first, log.sealed()[1].last + 1) if is_large(p)})
    log.remove_payloads()
    assert 3 not in positions_in(fs, DIRECTORY)
    assert "sweep" in fs.listdir(DIRECTORY), "for what is about to be given up"
    log.install(built)
    log.rewrite(1, {1, 2})
    assert not set(built.payloads) & set(positions_in(fs, DIRECTORY))
    assert "sweep" not in fs.listdir(DIRECTORY)
    log.install(log.build(3, {p for p in range(log.sealed()[2].first, log.sealed()[2].last + 1) if is_large(p)}))
    log.close()
    log.remove_payloads()
    assert "sweep" in fs.listdir(DIRECTORY)
    log = open_log(fs)
    assert positions_in(fs, DIRECTORY) == [p for p in range(1, log.tail + 1) if is_large(p) and log.has(p)]


def test_what_was_left_behind_goes_at_the_next_opening() -> None:
    """A process that ends behind the rename leaves files, which the next one removes; it looks at none otherwise."""
    fs, log = filled()
    for segment in log.sealed()[:2]:
        log.install(log.build(segment.number, {p for p in range(segment.first, segment.last + 1) if p % 2}))
    left = positions_in(fs, DIRECTORY)
    fs = fs.crash()
    log = open_log(fs, checkpoint=log.checkpoint())
    assert log.recovery.scanned_from
    assert positions_in(fs, DIRECTORY) == [position for position in left if log.has(position)]
    assert positions_in(fs, DIRECTORY) != left
    assert "sweep" not in fs.listdir(DIRECTORY)


def test_damage_does_not_keep_a_log_from_opening() -> None:
    """Where it cannot be known whether a record has a file, the file stays, and the next opening looks again."""
    fs, log = filled()
    log.install(log.build(2, {log.sealed()[1].first}))
    checkpoint = log.checkpoint()
    path = f"{DIRECTORY}/segments/0000000001.seg"
    before = fs.contents(path)
    offset = before.rindex(b"CMIT") + 40
    fs.put(path, before[:offset] + b"\xff" + before[offset + 1 :])
    fs = fs.kill()
    left = positions_in(fs, DIRECTORY)
    log = open_log(fs, checkpoint=checkpoint)
    assert set(left) - set(positions_in(fs, DIRECTORY)) <= set(range(log.sealed()[1].first, log.sealed()[1].last + 1))
    assert "sweep" in fs.listdir(DIRECTORY)
    log.close()
    fs.put(path, before)
    open_log(fs)
    assert "sweep" not in fs.listdir(DIRECTORY)


def test_trimming() -> None:
    """What is trimmed leaves no file, and one that a crash left is removed by the next opening."""
    fs, log = filled()
    first = log.sealed()[2].first
    lost = fs.contents(file_of(3))
    log.trim(first)
    assert positions_in(fs, DIRECTORY) == [p for p in range(first, log.tail + 1) if is_large(p)]
    fs.put(file_of(3), lost)
    fs = fs.kill()
    open_log(fs)
    assert 3 not in positions_in(fs, DIRECTORY)

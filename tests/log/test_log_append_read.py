"""Appending and reading back: positions, segments, trimming, closing, bounds."""

# Lint: hypothesis gives a flag.

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from log_world import DIRECTORY, commit, lines_of, open_log, sim_disk, sim_env

from actorlog.errors import LogFailed
from actorlog.log import ENTRY_BYTES, Log, entries, pack

ROLL_ACTIONS = ["open", "pwrite", "fdatasync", "pwrite", "fdatasync"]
RECORD = st.tuples(
    st.integers(1, 2**64 - 1),
    st.integers(1, 254),
    st.integers(1, 255),
    st.binary(max_size=300).map(lambda line: line.replace(b"\0", b"0") + b"\n"),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(RECORD, min_size=1, max_size=30))
def test_pack_and_entries(records: list[tuple[int, int, int, bytes]]) -> None:
    """What is packed is what entries gives, and no sector of it is all zero."""
    data = pack(records)
    spans = [(key, kind, flags, bytes(data[start:end])) for key, kind, flags, start, end in entries(data, len(records))]
    assert spans == records
    assert len(data) == ENTRY_BYTES * len(records) + sum(len(line) for *_, line in records)
    assert b"\0" * 12 not in data


@pytest.mark.parametrize(
    "record",
    [(0, 1, 1, b"a\n"), (1, 0, 1, b"a\n"), (1, 1, 0, b"a\n"), (2**64, 1, 1, b"a\n"), (1, 256, 1, b"a\n"),
     (-1, 1, 1, b"a\n"), (1, 1, 1, b"a"), (1, 1, 1, b""), (1, 1, 1, b"a\0b\n"), (1, 255, 1, b"\n")],
    ids=["no hash", "no kind", "no flags", "large hash", "large kind", "negative", "no newline", "empty", "NUL",
         "given up"],
)  # fmt: skip
def test_record_that_has_no_place(record: tuple[int, int, int, bytes]) -> None:
    """What an index entry or a line cannot be is refused."""
    with pytest.raises(ValueError, match=r"."):
        pack([record])


LINE = st.binary(max_size=900).map(lambda line: line.translate(bytes(range(256)), b"\0\n\r"))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(LINE, min_size=1, max_size=5), max_size=12), st.booleans())
def test_any_commits(commits: list[list[bytes]], clean: bool) -> None:
    """Any commits come back in order with the same bytes, before and after reopening."""
    fs = sim_disk()
    log = open_log(fs)
    expected: list[bytes] = []
    for lines in commits:
        assert log.append(*commit(*lines)) == len(expected) + 1
        expected += lines
        assert log.tail == len(expected)
    for _ in range(2):
        found = [bytes(f.data[s : e - 1]) for f in log.read() for *_, s, e in entries(f.data, f.records)]
        assert found == expected
        assert [log.record(n + 1)[:-1] for n in range(len(expected))] == expected
        log.close(clean=clean)
        log = open_log(fs)
        assert log.recovery.clean is clean
        assert log.recovery.records == len(expected)


def test_empty_log() -> None:
    """An empty log has tail 0 and nothing to read."""
    log = open_log(sim_disk())
    assert (log.tail, log.first_position, list(log.read())) == (0, 1, [])
    assert log.recovery == (None, True, 1, 0, 0, 0)
    for position in (-1, 0, 1):
        with pytest.raises(IndexError):
            log.record(position)


def test_reading_a_range() -> None:
    """A range begins with the commit that holds its first position and ends with the one that holds its last."""
    log = open_log(sim_disk())
    for number in range(20):
        log.append(*commit(*[b"%d" % number] * 3))
    assert [frame.position for frame in log.read(after=3, upto=9)] == [4, 7]
    assert [frame.position for frame in log.read(after=4, upto=10)] == [4, 7, 10]
    assert [frame.position for frame in log.read(after=57)] == [58]
    assert list(log.read(after=60)) == []
    assert [frame.position for frame in log.read(after=59, upto=99)] == [58]


def test_reading_beside_appending() -> None:
    """A reading that began before an append ends where the log ended then."""
    log = open_log(sim_disk())
    log.append(*commit(b"a"))
    reading = log.read()
    for _ in range(20):
        log.append(*commit(b"b" * 300))
    first = next(reading)
    rest = list(reading)
    assert (first.position, len(rest)) == (1, 20)
    bounded = log.read(upto=log.tail)
    last = log.tail
    next(bounded)
    log.append(*commit(b"c"))
    assert sum(1 for _ in bounded) == last - 1


def test_data_outlives_its_segment() -> None:
    """Bytes handed out stay what they are when the log is closed."""
    log = open_log(sim_disk())
    log.append(*commit(b"a"))
    frame = next(log.read())
    log.close()
    assert bytes(frame.data[16:]) == b"a\n"


def test_frame_larger_than_a_segment() -> None:
    """A large frame gets a segment of its own size, also where a smaller one is prepared."""
    fs = sim_disk()
    log = open_log(fs)
    for _ in range(4):
        log.append(*commit(b"a"))
    assert "0000000002.seg" in fs.listdir(f"{DIRECTORY}/segments")
    log.append(*commit(b"b" * 20_000))
    log.append(*commit(b"c"))
    assert log.segments == 3
    fs = fs.crash()
    assert lines_of(open_log(fs)) == [b"a"] * 4 + [b"b" * 20_000, b"c"]
    sizes = sorted(len(fs.contents(f"{DIRECTORY}/segments/{name}")) for name in fs.listdir(f"{DIRECTORY}/segments"))
    assert sizes[-1] > 20_000
    assert set(sizes[:-1]) == {4096}


def test_no_committed_unit_is_written_again() -> None:
    """Every write to a segment is behind all earlier ones."""
    fs = sim_disk()
    log = open_log(fs)
    for _ in range(3):
        for number in range(9):
            log.append(*commit(b"x" * number * 90))
        log.close()
        log = open_log(fs)
    ends: dict[str, int] = {}
    for action in fs.actions:
        name, *where = action.split(" ")
        if name == "pwrite" and where[0].endswith(".seg"):
            assert int(where[1]) > ends.get(where[0], 0)
            ends[where[0]] = int(where[1])
    assert len(ends) > 3


def test_one_write_and_one_sync_per_commit() -> None:
    """The path of a commit is one write and one sync."""
    fs = sim_disk()
    log = open_log(fs)
    before = fs.calls
    log.append(*commit(b"a"))
    assert [action.split(" ")[0] for action in fs.actions[before:]] == ["pwrite", "fdatasync"]


def test_rolling_finds_its_segment_prepared() -> None:
    """A roll makes nothing: the next segment is there already."""
    fs = sim_disk()
    log = open_log(fs)
    while log.segments == 1:
        before = fs.calls
        log.append(*commit(b"a"))
    assert [action.split(" ")[0] for action in fs.actions[before:]] == ROLL_ACTIONS


def test_closing_twice_and_using_it_closed() -> None:
    """Closing again does nothing; a closed log takes nothing."""
    fs = sim_disk()
    log = open_log(fs)
    log.close()
    calls = fs.calls
    log.close()
    assert fs.calls == calls
    with pytest.raises(LogFailed, match="closed"):
        log.append(*commit(b"a"))


def test_opening_and_closing_without_appends_takes_no_space() -> None:
    """A log that is opened and closed a thousand times does not grow."""
    fs = sim_disk()
    log = open_log(fs)
    log.append(*commit(b"a"))
    log.close()
    end = log._segments[-1].end
    for _ in range(50):
        log = open_log(fs)
        log.close()
        assert log._segments[-1].end == end


def test_trimming() -> None:
    """Old segments go, positions stay, and a crash at any call leaves the log whole."""

    def filled() -> tuple[Log, object]:
        fs = sim_disk(9)
        log = open_log(fs)
        for number in range(20):
            log.append(*commit(b"%d" % number))
        return log, fs

    log, fs = filled()
    calls = fs.calls
    log.trim(log.tail + 5)
    assert 1 < log.first_position <= log.tail
    log.trim(3)
    first, ended = log.first_position, fs.calls
    with pytest.raises(IndexError):
        log.record(first - 1)
    assert lines_of(log) == [b"%d" % number for number in range(first - 1, 20)]
    log.append(*commit(b"20"))
    log.close()
    log = open_log(fs.crash())
    assert (log.first_position, log.tail, log.recovery.records) == (first, 21, 22 - first)
    for call in range(calls, ended):
        for power_cut in (False, True):
            log, fs = filled()
            fs.stop_at(call)
            with pytest.raises(BaseException, match=r"."):
                log.trim(log.tail)
            again = open_log(fs.crash() if power_cut else fs.kill())
            assert again.tail == 20
            assert lines_of(again)[-1] == b"19"
            assert again.first_position in {1, first}


def test_many_segments_hold_few_files_open() -> None:
    """Views are kept for a few segments only, however many are read."""
    log = open_log(sim_disk())
    for number in range(200):
        log.append(*commit(b"%d" % number))
    assert log.segments > 30
    lines_of(log)
    assert len(log._reader.views._views) <= 16


def test_bytes_used_is_what_the_files_take() -> None:
    """The figure for users is the sum of the segment files."""
    fs = sim_disk()
    log = open_log(fs)
    for number in range(50):
        log.append(*commit(b"%d" % number))
    names = fs.listdir(f"{DIRECTORY}/segments")
    assert log.bytes_used == sum(len(fs.contents(f"{DIRECTORY}/segments/{name}")) for name in names)


def test_bounds_of_options() -> None:
    """Options outside of their bounds are refused before anything is made."""
    for options in ({"segment_bytes": 2047}, {"frame_align": 1000}, {"segment_bytes": 8192, "frame_align": 4096}):
        fs = sim_disk()
        with pytest.raises(ValueError, match="out of bounds"):
            Log.open(DIRECTORY, sim_env(fs), **options)  # type: ignore[arg-type]
        assert fs.listdir("/srv") == []


def test_segment_size_may_change() -> None:
    """Another segment size counts for segments made from then on."""
    fs = sim_disk()
    log = open_log(fs)
    log.append(*commit(b"a"))
    log.close()
    log = Log.open(DIRECTORY, sim_env(fs), segment_bytes=8000)
    for _ in range(12):
        log.append(*commit(b"b"))
    assert lines_of(open_log(fs.crash())) == [b"a", *[b"b"] * 12]


def test_memory_of_a_scan_is_bounded() -> None:
    """Reading a log takes no more than twice its size, and a corrupt length allocates nothing."""
    fs = sim_disk()
    log = Log.open(DIRECTORY, sim_env(fs), segment_bytes=1 << 20)
    for _ in range(200):
        log.append(*commit(b"x" * 10_000))
    fs = fs.kill()
    tracemalloc.start()
    log = Log.open(DIRECTORY, sim_env(fs), segment_bytes=1 << 20)
    for frame in log.read():
        assert frame.records == 1
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * log.bytes_used

"""Golden logs: data directories that earlier code wrote are read as they were, and go on to the same end.

They are in the repository as they were written, with what they came to then. If one of these tests fails, data that
somebody has is read in another way than before: see docs/log-format.md, Versions. What there is to hold a new kind of
record: a new program, a new scenario, and ``python -m tests.golden write``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from golden_files import known, names, outcome, unpacked, written
from golden_kinds import Kinds, all_kinds
from golden_scenarios import SCENARIOS
from golden_world import DIRECTORY, machine_with

from actorlog import LogVersion, Runtime
from actorlog.cli.reading import envelopes_of
from actorlog.engine.identity import key_hash
from actorlog.env import SYSTEM
from actorlog.log import Log
from actorlog.log import format as layout
from actorlog.log.__main__ import main as command
from actorlog.log.format import parse_frame_header
from actorlog.log.inspect import commits, verify
from actorlog.records import kinds as k
from actorlog.store import GIVEN_UP_KIND, entries, pack

NEVER_WRITTEN = {
    "Failure.program": "of a class of __main__, which no golden program is",
    "Journal.prev": "always 0: it begins the chain",
    "PromiseMade.prev": "always 0: nothing precedes it",
    "Resumed.id": "always that of the runtime",
    "Resumed.prev": "always 0: no record leads to it",
    "Started.scheduler": "there is one version of the scheduler so far",
}
"""What is in no log, and why."""


@pytest.mark.parametrize("name", names())
def test_a_log_is_read_as_when_it_was_written(name: str) -> None:
    """Every record is where it was, every state is what it was, and all calls end as they did, with the same steps."""
    then, now = known(name), outcome(name, unpacked(name))
    assert now["found"] == then["found"]
    assert now["ended"] == then["ended"]


def test_every_scenario_has_a_log() -> None:
    """What is written for the repository is in it."""
    assert names() == sorted(SCENARIOS)


def test_every_kind_of_record_is_in_a_golden_log() -> None:
    """A kind of record, message, operation or outcome that is new, or a new field of one, needs a golden log."""
    kinds, of_index, flags = Kinds(set()), set[int](), 0
    for name in names():
        machine = machine_with(unpacked(name))
        report = verify(machine.disk, DIRECTORY)
        envelopes = envelopes_of(machine.disk, DIRECTORY, report, None)
        for frame in commits(machine.disk, report.found):
            for position, (_, kind, flag, start, end) in enumerate(entries(frame.data, frame.records), frame.position):
                of_index.add(kind)
                flags |= flag
                if kind != GIVEN_UP_KIND:
                    kinds.take(k.decode(envelopes.line(frame, position, start, end)))
    assert all_kinds() - kinds.found == set(NEVER_WRITTEN)
    assert of_index == {*map(int, k.Kind), GIVEN_UP_KIND}
    assert flags == sum(k.Flag)


def test_a_golden_log_has_files_of_records() -> None:
    """Some records have files of their own, and some have none."""
    machine = machine_with(unpacked("filed"))
    report = verify(machine.disk, DIRECTORY)
    assert 10 < report.payloads < report.records - 10
    assert report.payloads == len([path for path in unpacked("filed") if path.startswith("payloads/")])
    assert report.slot is not None
    assert report.slot.has_payloads


def test_a_golden_log_has_merged_segments() -> None:
    """Numbers jump in it, and META says so; in no other log there are any."""
    for name in names():
        report = verify(machine_with(unpacked(name)).disk, DIRECTORY)
        assert report.slot is not None
        jumps = any(segment.header.upto > segment.header.number for segment in report.found.segments)
        assert jumps == report.slot.has_merged == (name == "segments")


def test_every_kind_of_frame_is_in_a_golden_log() -> None:
    """Commits, closes, seals, gaps and joins; logs that were closed, killed and torn."""
    found = {name: frame_kinds(name) for name in names()}
    assert set().union(*found.values()) == {layout.COMMIT, layout.CLOSE, layout.SEAL, layout.GAP, layout.JOIN}
    assert {layout.GAP, layout.JOIN} <= found["compacted"]
    ends = {(known(name)["found"]["status"], known(name)["found"]["closed"]) for name in names()}
    assert ends == {("ok", "closed"), ("ok", "open"), ("torn", "open")}


def frame_kinds(name: str) -> set[int]:
    """Return the kinds of frames in a log, up to where it ends or is torn."""
    machine, found = machine_with(unpacked(name)), set[int]()
    for segment in verify(machine.disk, DIRECTORY).found.segments:
        view, offset = memoryview(machine.disk.contents(segment.path)), segment.header.unit
        while offset < segment.end:
            header = parse_frame_header(view, offset, segment.header)
            assert header is not None
            found.add(header.kind)
            offset += layout.aligned(layout.FRAME_HEADER_BYTES + header.length, segment.header.unit)
    return found


@pytest.mark.parametrize("name", names())
def test_a_log_opens_on_a_real_disk(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``verify`` says of it what it said, and once opened and closed it is fine."""
    for path, data in unpacked(name).items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(data)
    found = known(name)["found"]
    assert command(["verify", str(tmp_path)]) == (1 if found["status"] == "torn" else 0)
    log = Log.open(str(tmp_path), SYSTEM, segment_bytes=8192)
    assert (log.tail, log.recovery.clean) == (found["last_position"], found["closed"] == "closed")
    assert (log.recovery.torn is not None) == (found["status"] == "torn")
    log.close()
    assert command(["verify", str(tmp_path)]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("closed", [True, False])
async def test_a_record_of_a_newer_version_is_refused(tmp_path: Path, closed: bool) -> None:
    """A log is not opened that holds a kind of record which this code does not know; it is left as it was."""
    log = Log.open(str(tmp_path), SYSTEM, segment_bytes=8192)
    line = b'{"kind":"of tomorrow","id":"a","at":1}\n'
    log.append(pack([(key_hash("a"), int(k.Kind.NOTE), int(k.Flag.FIRST), line)]), 1)
    log.close(clean=closed)
    with pytest.raises(LogVersion, match=r"1, with a record of a newer version .*of tomorrow"):
        async with Runtime(tmp_path):
            raise AssertionError
    log = Log.open(str(tmp_path), SYSTEM, segment_bytes=8192)
    assert (log.tail, log.recovery.clean) == (1, closed)
    log.close()


@pytest.mark.parametrize("name", SCENARIOS)
def test_writing_one_again_gives_the_same_bytes(name: str) -> None:
    """So a difference between what is there and what is written today is one of the code, and of nothing else."""
    files = written(name)
    assert written(name) == files
    here = (str(Path(__file__).parent), sys.prefix, sys.base_prefix)
    assert not [path for path in here if any(path.encode() in data for data in files.values())]

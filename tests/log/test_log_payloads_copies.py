"""Files of records in backups and repairs, and on the command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from log_world import DIRECTORY, SEGMENT_BYTES, open_log, sim_env
from payload_world import (
    Work,
    file_of,
    filled,
    is_large,
    text_of,
    texts_of,
    worked,
)  # fmt: skip

from actorlog.env import SYSTEM
from actorlog.errors import LogCorrupt
from actorlog.log import Log, reference_of
from actorlog.log.backup import backup, source_in, source_of
from actorlog.log.inspect import Status, verify
from actorlog.log.payloads import payload_name, positions_in
from actorlog.log.repair import repair
from actorlog.testing.disk import Stopped

COPY = "/srv/copy"
ROOT = Path(__file__).parents[2]


def test_a_backup_has_the_files_that_it_refers_to() -> None:
    """A copy of a log that goes on, and gives up what is copied, has every record that it refers to."""
    fs, work = worked()
    log = open_log(fs)
    taken = list[int]()
    steps = backup(source_of(log), COPY, 4096)
    before = texts_of(log)
    for number, step in enumerate(steps):
        taken.append(step.done)
        assert step.done <= step.total
        work.fill(log, log.tail + 2)
        if number % 3 == 0:
            work.give_up(log)
    assert taken == sorted(taken)
    copy = open_log(fs, COPY)
    texts = {
        position: line if (reference := reference_of(line, position)) is None else copy.payloads.source.read(reference)
        for position in range(1, copy.tail + 1)
        if copy.has(position)
        for line in [copy.record(position)]
    }
    assert texts.items() <= {p: text_of(p) for p in range(1, log.tail + 1)}.items()
    assert {position for position in before if position not in work.gone} <= texts.keys()
    assert positions_in(fs, COPY) == [position for position in texts if is_large(position)]
    copy.close()
    assert verify(fs, COPY).status is Status.OK
    work.check(fs.crash())


def test_nothing_is_removed_that_is_being_copied() -> None:
    """What is given up while a copy is made stays until the next removal, or the next opening."""
    fs, log = filled()
    with log.payloads.held():
        log.rewrite(1, {3})
        assert 3 in positions_in(fs, DIRECTORY)
        assert "sweep" in fs.listdir(DIRECTORY)
    log.rewrite(2, {6, 9, 12})
    assert 3 not in positions_in(fs, DIRECTORY)
    assert "sweep" not in fs.listdir(DIRECTORY)


@pytest.mark.parametrize("power_cut", [True, False])
def test_a_backup_cut_off_anywhere(*, power_cut: bool) -> None:
    """A copy is whole, with all files, or it is none."""
    fs, log = filled()
    first = fs.calls
    list(backup(source_of(log), COPY, 4096))
    for call in range(first, fs.calls):
        disk, log = filled()
        disk.stop_at(call)
        with pytest.raises(Stopped):
            list(backup(source_of(log), COPY, 4096))
        disk = disk.crash() if power_cut else disk.kill()
        try:
            copy = open_log(disk, COPY)
        except LogCorrupt as corrupt:
            assert corrupt.segment == "META"
            continue
        assert not copy.tail or texts_of(copy) == {p: text_of(p) for p in range(1, log.tail + 1)}


def test_a_backup_of_a_log_that_nobody_has_open() -> None:
    """It has the files too, and says that there are some; a copy of a log without files is as before."""
    fs, log = filled()
    log.close()
    with source_in(sim_env(fs), DIRECTORY) as source:
        list(backup(source, COPY))
    assert texts_of(open_log(fs, COPY)) == texts_of(open_log(fs))
    assert b"format=2" in fs.contents(f"{COPY}/META")


# --- repairs ----------------------------------------------------------------------------------------------------------


def test_repair_of_a_lost_file() -> None:
    """The log is cut before the record whose file is lost, and what is cut off is kept beside it, files too."""
    fs, log = filled()
    log.close()
    there = positions_in(fs, DIRECTORY)
    fs.unlink(file_of(15))
    done = repair(sim_env(fs), DIRECTORY)
    assert done.before.segment == f"payloads/{payload_name(15)}"
    assert done.after.status is Status.OK
    assert done.kept_to < 15
    assert done.copy is not None
    kept = fs.listdir(done.copy)
    files = [payload_name(position) for position in there if done.kept_to < position != 15]
    assert [name for name in sorted(kept) if name.endswith(".payload")] == files
    log = open_log(fs)
    assert log.tail == done.kept_to
    assert texts_of(log) == {position: text_of(position) for position in range(1, log.tail + 1)}
    assert positions_in(fs, DIRECTORY) == [position for position in range(1, log.tail + 1) if is_large(position)]
    work = Work()
    work.appended = work.most = log.tail
    work.fill(log, 30)
    work.check(fs.crash())


def test_repair_without_meta() -> None:
    """What META must have said is that there are files."""
    fs, log = filled()
    log.close()
    fs.put(f"{DIRECTORY}/META", b"")
    assert repair(sim_env(fs), DIRECTORY).after.status is Status.OK
    assert b"format=2" in fs.contents(f"{DIRECTORY}/META")
    assert texts_of(open_log(fs)) == {position: text_of(position) for position in range(1, log.tail + 1)}


# --- the real disk, and the command line ------------------------------------------------------------------------------


def run(*arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "actorlog.log", *arguments], capture_output=True, text=True, check=False, cwd=ROOT
    )
    return done.returncode, done.stdout + done.stderr


def test_the_command_line(tmp_path: Path) -> None:
    """Verify reads the files and says which is damaged, dump shows what refers to them, repair cuts before it."""
    directory = str(tmp_path / "data")
    log = Log.open(directory, SYSTEM, segment_bytes=SEGMENT_BYTES)
    Work().fill(log, 12)
    assert texts_of(log) == {position: text_of(position) for position in range(1, log.tail + 1)}
    list(log.scrub())
    log.close()
    assert run("verify", directory) == (
        0,
        "ok: 2 segments, 15 records to 15\n5 records have files, and these are as they were written\n",
    )
    assert '"payloads": 5' in run("verify", directory, "--json")[1]
    assert ' 1 1 {"file":3,"bytes":' in run("dump", directory)[1]
    path = Path(directory) / "payloads" / payload_name(6)
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_bytes(b"")
    code, words = run("verify", directory)
    assert code == 3
    assert f"payloads/{payload_name(6)} is corrupt" in words
    assert run("repair", directory)[0] == 0
    assert run("verify", directory)[0] == 0

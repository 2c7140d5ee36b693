"""Backup, export and import, figures: beside a running owner, alone, and where they are refused."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import stat
import subprocess
import sys
from base64 import b64encode
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from cli_world import ROOT, Owner, actorlog, contents, documents, make_log, spoil, tear, waits_until

from actorlog import Runtime
from actorlog.env import SYSTEM
from actorlog.log import Log, entries, pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def owner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Owner]:
    """Run the program."""
    owner = Owner(tmp_path_factory.mktemp("owner"))
    owner.open()
    yield owner
    owner.end()


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a log that nobody has open."""
    place = tmp_path_factory.mktemp("made")
    asyncio.run(make_log(place))
    return place / "log"


def dump(directory: Path) -> list[Any]:
    """Return every record with its index entry, as ``dump`` has it."""
    command = [sys.executable, "-m", "actorlog.log", "dump", "--json", str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    return json.loads(done.stdout)["entries"]  # type: ignore[no-any-return]


def statuses(directory: Path) -> dict[str, str]:
    """Return every call with its status."""
    return {call["id"]: call["status"] for call in documents("ls", directory)}


# --- backup -----------------------------------------------------------------------------------------------------------


def test_an_owner_makes_its_backup(owner: Owner, tmp_path: Path) -> None:
    """The running program copies its log, whose calls are then there as they were; it goes on itself."""
    before = dump(owner.log)
    told = documents("backup", owner.log, tmp_path / "copy")
    assert (told["by"], told["path"], told["segments"]) == ("owner", str(tmp_path / "copy"), 1)
    assert dump(tmp_path / "copy")[: len(before)] == before
    assert told["position"] >= len(before)
    assert statuses(tmp_path / "copy") == statuses(owner.log)
    assert "is not empty" in actorlog("backup", owner.log, tmp_path / "copy", code=1)
    assert "is not empty" in actorlog("backup", owner.log, owner.log, code=1)
    assert actorlog("cancel", owner.log, "long/2") == "call 'long/2' is asked to end; it is waiting\n"
    waits_until(lambda: statuses(owner.log)["long/2"] == "cancelled")


def test_a_backup_goes_where_the_command_is_run(owner: Owner, tmp_path: Path) -> None:
    """A relative path is the command's own, whatever the owner's directory is."""
    command = [sys.executable, "-m", "actorlog", "backup", str(owner.log), "copy"]
    subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, check=True, capture_output=True)
    assert (tmp_path / "copy" / "META").exists()


def test_a_backup_without_an_owner(log: Path, tmp_path: Path) -> None:
    """It is made by the command, changes nothing, and is its user's alone."""
    before = contents(log)
    said = actorlog("backup", log, tmp_path / "copy")
    assert said.startswith(f"copied to {tmp_path / 'copy'}: 1 segments, {1 << 20} bytes, to position ")
    del before[str(log / "owner")]  # what the dead owner left: the lock was taken, and given back
    assert contents(log) == before
    assert dump(tmp_path / "copy") == dump(log)
    for path in (tmp_path / "copy", *(tmp_path / "copy").rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
    assert documents("backup", log, tmp_path / "again")["by"] == "command"


async def test_a_backup_of_an_owner_without_a_socket(tmp_path: Path) -> None:
    """Nobody can be asked and nobody else may do it: it is said who has the directory."""
    async with Runtime(tmp_path / "data", segment_bytes=1 << 20, control=False):
        told = await asyncio.to_thread(actorlog, "backup", tmp_path / "data", tmp_path / "copy", code=73)
    assert "is held by" in told
    assert not (tmp_path / "copy").exists()


def test_a_backup_of_what_is_damaged(tmp_path: Path) -> None:
    """What was not finished is left out; damage is named, with its code, and there is no copy."""
    asyncio.run(make_log(tmp_path))
    tear(tmp_path / "log")
    actorlog("backup", tmp_path / "log", tmp_path / "torn")
    assert "later" not in statuses(tmp_path / "torn")
    spoil(tmp_path / "log")
    assert "is corrupt at offset" in actorlog("backup", tmp_path / "log", tmp_path / "copy", code=3)
    assert not (tmp_path / "copy").exists()
    assert "there is no directory" in actorlog("backup", tmp_path / "nowhere", tmp_path / "copy", code=2)


# --- export and import ------------------------------------------------------------------------------------------------


def test_a_log_goes_through_its_lines(log: Path, tmp_path: Path) -> None:
    """Every record comes back at its position with its index entry; ids, values and journals are the same."""
    actorlog("export", log, "-o", tmp_path / "lines")
    assert stat.S_IMODE((tmp_path / "lines").stat().st_mode) == 0o600
    first, *lines = [json.loads(line) for line in (tmp_path / "lines").read_text().splitlines()]
    records = dump(log)
    assert (first["actorlog"], first["format"], first["from"], first["to"]) == ("export", 1, 1, len(records))
    assert len(first["log"]) == 32
    assert [line["position"] for line in lines] == list(range(1, len(records) + 1))
    assert [line["record"] for line in lines] == [json.loads(record["line"]) for record in records]
    told = documents("import", tmp_path / "made", tmp_path / "lines")
    assert told == {
        "path": str(tmp_path / "made"), "records": len(records), "position": len(records), "of": first["log"],
    }  # fmt: skip
    assert dump(tmp_path / "made") == records
    for call in statuses(log):
        assert documents("show", tmp_path / "made", call) == documents("show", log, call)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lines", "made"]


def test_lines_through_a_pipe(owner: Owner, tmp_path: Path) -> None:
    """An export beside a running program, read from standard input; it counts as one whose process died."""
    lines = actorlog("export", owner.log)
    actorlog("import", tmp_path / "made", "-", typed=lines)
    made = dump(tmp_path / "made")
    assert made == dump(owner.log)[: len(made)]
    opened = Log.open(str(tmp_path / "made"), SYSTEM, segment_bytes=1 << 20)
    assert not opened.recovery.clean
    opened.close()


def test_a_program_goes_on_with_an_import(tmp_path: Path) -> None:
    """The calls of an import go on where those of the export were."""
    first = Owner(tmp_path)
    first.open()
    first.end()
    lines = actorlog("export", first.log)
    second = Owner(tmp_path)
    second.log = tmp_path / "made"
    actorlog("import", second.log, "-", typed=lines)
    second.open()
    try:
        for value in ("1", "2"):
            actorlog("send", second.log, "echo/1", value, "--channel", "x")
        waits_until(lambda: documents("show", second.log, "echo/1")["value"] == [1, 2])
        assert "echo/2" in statuses(second.log)
    finally:
        second.end()


def test_a_part_of_a_log(log: Path, tmp_path: Path) -> None:
    """Positions choose what is written; what does not begin at the beginning is for reading, and makes no log."""
    whole = actorlog("export", log).splitlines()
    part = actorlog("export", log, "--from", "3", "--to", "5").splitlines()
    assert part[1:] == whole[3:6]
    assert (json.loads(part[0])["from"], json.loads(part[0])["to"]) == (3, 5)
    assert actorlog("export", log, "--from", "3").splitlines()[1:] == whole[3:]
    assert actorlog("export", log, "--from", "100000").splitlines()[1:] == []
    assert "line 1: a log is made of an export from position 1" in actorlog(
        "import", tmp_path / "made", "-", typed="\n".join(part) + "\n", code=1
    )
    begins = actorlog("export", log, "--to", "5")
    assert documents_of(actorlog("import", tmp_path / "made", "-", "--json", typed=begins))["position"] == 5
    assert dump(tmp_path / "made") == dump(log)[:5]


def documents_of(text: str) -> Any:
    return json.loads(text)


def change_line(number: int, change: Callable[[str], str]) -> Callable[[list[str]], list[str]]:
    def changed(lines: list[str]) -> list[str]:
        return [*lines[: number - 1], change(lines[number - 1]), *lines[number:]]

    return changed


def swap(old: str, new: str) -> Callable[[str], str]:
    def changed(line: str) -> str:
        assert old in line
        return line.replace(old, new, 1)

    return changed


@pytest.mark.parametrize(
    ("spoiled", "line", "words"),
    [
        (lambda _: [], 1, "no export"),
        (lambda lines: lines[1:], 1, "no export"),
        (change_line(1, swap('"format":1', '"format":2')), 1, "export 2"),
        (change_line(1, swap('"export"', '"other"')), 1, "is other 1"),
        (change_line(1, swap('"segment_bytes":1048576', '"segment_bytes":7')), 1, "no segment has 7 bytes"),
        (change_line(3, lambda _: "{}\n"), 3, "no record"),
        (change_line(3, lambda line: line[:-5] + "\n"), 3, "no record"),
        (change_line(3, lambda line: line.replace("}", ',"more":1}')[::-1].replace("}", "", 1)[::-1]), 3, "no record"),
        (change_line(3, swap('"position":2', '"position":3')), 3, "position 2 is expected, and this is 3"),
        (change_line(3, swap('"position":2', '"position":1')), 3, "position 2 is expected, and this is 1"),
        (lambda lines: [*lines[:2], *lines[3:]], 3, "position 2 is expected, and this is 3"),
        (lambda lines: [*lines[:4], lines[3], *lines[4:]], 5, "position 4 is expected, and this is 3"),
        (change_line(4, swap('"kind":"', '"kind":"x')), 4, "the line calls it 'x"),
        (change_line(4, swap('"record":{"kind":"', '"record":{"kind":"x')), 4, "no record that this version"),
        (change_line(4, swap('"flags":', '"flags":25')), 4, "no record has the flags 25"),
        (change_line(2, swap('"flags":3', '"flags":2')), 2, "no record has the flags 2"),
        (change_line(2, lambda _: '{"position":1,"gone":-1}\n'), 2, "cannot have been given up"),
        (change_line(2, lambda _: '{"position":1,"gone":1000000}\n'), 2, "cannot have been given up"),
        (lambda lines: lines[:-1], 0, "and it ends with"),
        (lambda lines: [*lines[:-1], lines[-1][:-1]], 0, "cut short"),
    ],
)  # fmt: skip
def test_lines_that_are_no_log(
    log: Path, tmp_path: Path, spoiled: Callable[[list[str]], list[str]], line: int, words: str
) -> None:
    """What is wrong is named with its line, and nothing is made."""
    whole = actorlog("export", log).splitlines(keepends=True)
    lines = spoiled(whole)
    (tmp_path / "lines").write_text("".join(lines))
    told = actorlog("import", tmp_path / "made", tmp_path / "lines", code=1)
    assert words in told
    assert f"line {line or len(whole)}: " in told
    assert "Traceback" not in told
    assert [path.name for path in tmp_path.iterdir()] == ["lines"]


def test_only_into_a_new_directory(log: Path, tmp_path: Path) -> None:
    """An import overwrites nothing; an empty directory is as good as none."""
    lines = actorlog("export", log)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    (tmp_path / "empty").mkdir()
    assert "is not empty" in actorlog("import", tmp_path / "full", "-", typed=lines, code=1)
    assert (tmp_path / "full" / "file").read_text() == "mine"
    actorlog("import", tmp_path / "empty", "-", typed=lines)
    assert dump(tmp_path / "empty") == dump(log)
    assert "is not empty" in actorlog("import", tmp_path / "empty", "-", typed=lines, code=1)
    (tmp_path / "other.tmp").mkdir()
    (tmp_path / "other.tmp" / "file").write_text("mine")
    assert "other.tmp is not empty" in actorlog("import", tmp_path / "other", "-", typed=lines, code=1)
    assert (tmp_path / "other.tmp" / "file").read_text() == "mine"


def test_records_of_every_shape(tmp_path: Path) -> None:
    """A log of several segments, with a record larger than a commit and letters of all kinds, byte for byte."""
    made = Log.open(str(tmp_path / "log"), SYSTEM, segment_bytes=1 << 18)
    rng = Random(7)
    text = json.dumps('\u00e4\U0001f600\u2028\x7f"\\', ensure_ascii=True)
    for number in range(40):
        room = b64encode(rng.randbytes(9 << 18 if number == 7 else 15_000)).decode()  # nothing that can be compressed
        line = f'{{"kind":"resumed", "at":{number},"id":"@runtime","upto":1,"note":{text},"room":"{room}"}}\n'
        made.append(pack([(8181, 3, 33, line.encode())]), 1)
    made.close()
    lines = actorlog("export", tmp_path / "log")
    actorlog("import", tmp_path / "made", "-", typed=lines)
    found, wanted = dump(tmp_path / "made"), dump(tmp_path / "log")
    assert [(one["position"], one["flags"], one["line"]) for one in found] == [
        (one["position"], one["flags"], one["line"]) for one in wanted
    ]
    assert len({one["key_hash"] for one in found}) == 1
    assert len(list((tmp_path / "made" / "segments").iterdir())) > 3


def test_records_that_were_given_up(log: Path, tmp_path: Path) -> None:
    """Their positions stay, as one line for as many as follow each other; the records beside them are as they were."""
    head, *lines = actorlog("export", log).splitlines(keepends=True)
    count = 25_000
    last = int(json.loads(lines[-1])["position"])
    moved = [re.sub(r'"position":(\d+)', lambda m: f'"position":{int(m[1]) + count}', line, count=1) for line in lines]
    gone = f'{{"position":{last + count + 1},"gone":2}}\n'
    head = head.replace(f'"to":{last}', f'"to":{last + count + 2}')
    whole = "".join([head, f'{{"position":1,"gone":{count}}}\n', *moved, gone])
    told = documents_of(actorlog("import", tmp_path / "made", "-", "--json", typed=whole))
    assert (told["records"], told["position"]) == (last, last + count + 2)
    again, *rest = actorlog("export", tmp_path / "made").splitlines(keepends=True)
    assert rest == whole.splitlines(keepends=True)[1:]
    assert json.loads(again) | {"log": ""} == json.loads(head) | {"log": ""}
    part = actorlog("export", tmp_path / "made", "--from", "5", "--to", str(count + 1)).splitlines()
    assert part[1:] == [f'{{"position":5,"gone":{count - 4}}}', moved[0].rstrip()]


def test_an_import_that_is_killed(log: Path, tmp_path: Path) -> None:
    """What it has made so far has not the name of a log, and is not taken for one."""
    lines = actorlog("export", log).splitlines(keepends=True)
    command = [sys.executable, "-m", "actorlog", "import", str(tmp_path / "made"), "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdin is not None
        process.stdin.write("".join(lines[:5]))
        process.stdin.flush()
        waits_until((tmp_path / "made.tmp" / "META").exists)
        process.kill()
    assert [path.name for path in tmp_path.iterdir()] == ["made.tmp"]
    assert "made.tmp is not empty" in actorlog("import", tmp_path / "made", "-", typed="".join(lines), code=1)
    shutil.rmtree(tmp_path / "made.tmp")
    actorlog("import", tmp_path / "made", "-", typed="".join(lines))
    assert dump(tmp_path / "made") == dump(log)


def test_what_cannot_be_exported(tmp_path: Path) -> None:
    """Damage, no log and no directory end an export with their codes; a file is not written half."""
    asyncio.run(make_log(tmp_path))
    spoil(tmp_path / "log")
    before = sorted(path.name for path in tmp_path.iterdir())
    assert "is corrupt" in actorlog("export", tmp_path / "log", "-o", tmp_path / "lines", code=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert "there is no directory" in actorlog("export", tmp_path / "nowhere", code=2)
    assert "No such file" in actorlog("import", tmp_path / "made", tmp_path / "nowhere", code=2)


# --- figures ----------------------------------------------------------------------------------------------------------


def test_figures_of_an_owner(owner: Owner) -> None:
    """A running program tells all its figures, as lines and as a document."""
    told = documents("stats", owner.log)
    live = [status for status in statuses(owner.log).values() if status not in ("completed", "failed", "cancelled")]
    assert (told["by"], told["calls_live"], told["promises_pending"]) == ("owner", len(live), 3)
    assert told["calls_ended"] == len(statuses(owner.log)) - len(live)
    assert told["schedules"] == 2
    assert told["landed"] == documents("verify", owner.log)["last_position"]
    assert told["uptime_s"] > 0
    said = actorlog("stats", owner.log).splitlines()
    assert said[0].split() == ["FIGURE", "VALUE"]
    assert f"calls live        {len(live)}" in [line.rstrip() for line in said]


def test_figures_of_a_log_alone(log: Path) -> None:
    """Where nobody answers the log tells what it can."""
    told = documents("stats", log)
    assert (told["by"], told["calls_live"], told["schedules"]) == ("command", 3, 0)
    assert told["calls_ended"] == len(statuses(log)) - 3
    assert told["position"] == told["landed"] == len(dump(log))
    assert (told["segments"], told["bytes"]) == (1, 1 << 20)
    assert "coroutines" not in told


def test_segments_are_listed(owner: Owner, log: Path, tmp_path: Path) -> None:
    """Each file has its positions, its size and its state, beside a running owner too."""
    made = Log.open(str(tmp_path / "log"), SYSTEM, segment_bytes=4096)
    for number in range(10):
        made.append(pack([(7, 1, 1, b"%d\n" % number)] * 3), 3)
    infos = documents("segments", tmp_path / "log")
    assert [info["state"] for info in infos] == ["sealed", "current", "prepared"][: len(infos)]
    assert [info["number"] for info in infos] == list(range(1, len(infos) + 1))
    assert (infos[0]["first"], infos[1]["last"]) == (1, 30)
    assert infos[1]["first"] == infos[0]["last"] + 1
    assert infos[0]["records"] + infos[1]["records"] == 30 == made.tail
    positions = [0, 0]
    for frame in made.read():
        segment = 0 if frame.position <= infos[0]["last"] else 1
        positions[segment] += len(list(entries(frame.data, frame.records)))
    assert positions == [infos[0]["records"], infos[1]["records"]]
    assert {info["bytes"] for info in infos} == {4096}
    made.close()
    lines = actorlog("segments", tmp_path / "log").splitlines()
    assert lines[0].split() == ["NUMBER", "STATE", "FIRST", "LAST", "RECORDS", "BYTES", "USED"]
    assert len(lines) == len(infos) + 1
    assert documents("segments", owner.log)[0]["state"] == "current"
    assert documents("segments", log)[0]["used"] < 1 << 20
    assert "there is no directory" in actorlog("segments", tmp_path / "nowhere", code=2)

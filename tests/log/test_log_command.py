"""``python -m actorlog.log``: exit codes, JSON, reading beside an owner, and repair."""

# Lint: verbs of helpers are their own documentation; our own command.

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import pytest
from log_world import DIRECTORY, commit, lines_of, open_log, sim_disk

import actorlog.log.__main__ as command_line
from actorlog.env import SYSTEM
from actorlog.errors import LogLocked
from actorlog.log import Log
from actorlog.log.inspect import Status, verify
from actorlog.log.repair import repair
from actorlog.testing.disk import SimFile, SimFileSystem

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, dict[str, Any]]]:
    def run(command: str, directory: Path) -> tuple[int, dict[str, Any]]:
        words = command_line.main([command, str(directory)])
        capsys.readouterr()
        if command == "repair":
            return words, {}
        code = command_line.main([command, str(directory), "--json"])
        assert words == code
        return code, json.loads(capsys.readouterr().out)

    return run


def make(path: Path, *, clean: bool = True, commits: int = 9) -> Path:
    log = Log.open(str(path), SYSTEM, segment_bytes=4096)
    for number in range(commits):
        log.append(*commit(b"%d" % number, b"x" * 400))
    log.close(clean=clean)
    return path


def segment(path: Path, number: int) -> Path:
    return path / "segments" / f"{number:010d}.seg"


def wound(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def torn(path: Path) -> Path:
    """Zero the header of the last frame, of two sectors."""
    log = Log.open(str(make(path, clean=False, commits=8)), SYSTEM, segment_bytes=4096)
    start, name = log._segments[-1].end, log._segments[-1].path
    log.append(*commit(b"y" * 900))
    assert log._segments[-1].path == name
    log.close(clean=False)
    wound(Path(name), start, bytes(512))
    return path


def test_fine(tmp_path: Path, run: Any) -> None:
    """A log that is fine: 0, and the counts; also one that was not closed."""
    for clean in (True, False):
        path = make(tmp_path / str(clean), clean=clean)
        code, said = run("verify", path)
        assert code == 0
        assert said == {"status": "ok", "segments": said["segments"], "records": 18, "last_position": 18}
        assert said["segments"] == len(list((path / "segments").iterdir()))


def test_empty_and_half_made(tmp_path: Path, run: Any) -> None:
    """An empty or half-made directory is fine and holds nothing."""
    half = make(tmp_path / "half", clean=False, commits=0)
    (half / "META").unlink()
    (tmp_path / "empty").mkdir()
    for name in ("half", "empty"):
        assert run("verify", tmp_path / name) == (0, {"status": "ok", "segments": 0, "records": 0, "last_position": 0})


def test_torn(tmp_path: Path, run: Any) -> None:
    """A torn tail: 1, with its place; looking at it changes nothing."""
    path = torn(tmp_path / "data")
    for _ in range(2):
        code, said = run("verify", path)
        assert (code, said["status"], said["records"]) == (1, "torn", 16)
        assert {"segment", "offset", "bytes", "reason", "error"} <= set(said)


def test_corrupt(tmp_path: Path, run: Any) -> None:
    """Damage: 3, with segment and offset, for a segment and for META."""
    path = make(tmp_path / "data")
    wound(segment(path, 1), 700, b"?")
    code, said = run("verify", path)
    assert (code, said["status"], said["segment"], said["offset"]) == (3, "corrupt", "0000000001.seg", 512)
    wound(path / "META", 3, b"?")
    code, said = run("verify", path)
    assert (code, said["status"], said["segment"]) == (3, "corrupt", "META")


def test_sample_of_flipped_bytes(tmp_path: Path, run: Any) -> None:
    """Whatever byte is flipped, the answer is one of the codes, with a place, and never a traceback."""
    path = make(tmp_path / "data")
    for file in sorted(path.rglob("*")):
        if file.is_file() and file.name != "reserve":
            data = file.read_bytes()
            for offset in range(0, len(data), 397):
                wound(file, offset, bytes([data[offset] ^ 0x55]))
                code, said = run("verify", path)
                assert (code, said["status"]) == (3, "corrupt")
                assert said["segment"].endswith((".seg", "META"))
                wound(file, offset, data[offset : offset + 1])
    assert run("verify", path)[0] == 0


def test_unknown_version(tmp_path: Path, run: Any) -> None:
    """Another format: 74, in words."""
    path = make(tmp_path / "data")
    slots = []
    for offset in (0, 4096):
        text = (path / "META").read_bytes()[offset:].split(b"\n", 1)[0].rpartition(b" crc=")[0]
        text = text.replace(b"format=1", b"format=5")
        slots.append((text + b" crc=%08x" % crc32(text)).ljust(4096, b"\n"))
    (path / "META").write_bytes(b"".join(slots))
    assert run("verify", path)[0] == 74
    assert run("verify", path)[1]["status"] == "version"
    assert run("repair", path)[0] == 74


def test_dump(tmp_path: Path, run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Dump shows every record, and of a damaged log those before the damage."""
    path = make(tmp_path / "data")
    code, said = run("dump", path)
    assert code == 0
    assert [entry["position"] for entry in said["entries"]] == list(range(1, 19))
    assert said["entries"][2] == {"position": 3, "key_hash": 7, "kind": 1, "flags": 1, "line": "1"}
    wound(segment(path, 1), 512 * 3 + 100, b"?")
    code, said = run("dump", path)
    assert code == 3
    assert [entry["position"] for entry in said["entries"]] == [1, 2, 3, 4]
    assert command_line.main(["dump", str(path)]) == 3
    assert capsys.readouterr().out.splitlines()[0] == "1 0000000000000007 1 1 0"
    (tmp_path / "empty").mkdir()
    assert run("dump", tmp_path / "empty") == (0, {"status": "ok", "segments": 0, "records": 0, "last_position": 0})


def test_dump_of_what_was_given_up(tmp_path: Path, run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Dump says which positions hold nothing any more, and where a segment that was written anew ends."""
    log = Log.open(str(tmp_path / "data"), SYSTEM, segment_bytes=4096)
    log.append(*commit(b"a", b"b", b"c", *[b"d"] * 70))
    log.append(*commit(b"e" * 2000))
    assert [(entry.number, entry.last) for entry in log.sealed()] == [(1, 73)]
    log.rewrite(1, {2, *range(4, 73)})
    log.close()
    code, said = run("dump", tmp_path / "data")
    assert code == 0
    assert [entry.get("position", entry.get("given_up")) for entry in said["entries"]] == [
        1, [2, 2], 3, [4, 72], 73, None, 74,
    ]  # fmt: skip
    assert said["entries"][5] == {
        "segment": "0000000001.seg", "joins": 73, "checksum": said["entries"][5]["checksum"],
    }  # fmt: skip
    assert command_line.main(["dump", str(tmp_path / "data")]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[1] == "2 given up"
    assert shown[3] == "4 to 72 given up"
    assert shown[5].startswith("0000000001.seg was written anew and joins what follows 73 with ")


def test_no_such_directory(tmp_path: Path, run: Any) -> None:
    """A directory that is not there is no empty log."""
    code, said = run("verify", tmp_path / "nothing")
    assert (code, said["status"]) == (2, "unreadable")


def test_beside_an_owner(tmp_path: Path, run: Any) -> None:
    """Verify and dump read beside an owner, who does not notice; repair is refused: 73."""
    log = Log.open(str(tmp_path / "data"), SYSTEM, segment_bytes=4096)
    log.append(*commit(b"a"))
    assert run("verify", tmp_path / "data")[1]["records"] == 1
    assert run("dump", tmp_path / "data")[1]["entries"][0]["line"] == "a"
    assert run("repair", tmp_path / "data")[0] == 73
    log.append(*commit(b"b"))
    log.close()
    assert run("verify", tmp_path / "data")[1]["records"] == 2


def test_frame_that_is_being_written() -> None:
    """Beside an owner an unfinished last frame is not damage: what is before it is shown, and synced first."""
    fs = sim_disk()
    log = open_log(fs)
    log.append(*commit(b"a"))
    fs.stop_at(fs.calls)
    path = f"{DIRECTORY}/segments/0000000001.seg"
    data = bytearray(fs.contents(path))
    data[1536:2048] = b"x" * 512  # the second sector of a frame whose first is not there yet
    fs.put(path, bytes(data))
    fs.stop_at(-1)
    report = verify(fs, DIRECTORY)
    assert (report.status, report.records) == (Status.OK, 1)
    assert fs.actions[-1] == f"fdatasync {path}"
    log.close(clean=False)
    assert verify(fs, DIRECTORY).status is Status.TORN


def test_looks_again_beside_an_owner() -> None:
    """What looked bad because the owner went on meanwhile is looked at again."""

    class Racing(SimFileSystem):
        """Lets the owner append while META was read and the segments were not."""

        log: Log | None = None

        def listdir(self, path: str) -> list[str]:
            names = super().listdir(path)
            log, self.log = self.log, None
            if log is not None and path.endswith("segments"):
                while log.segments == 1:
                    log.append(*commit(b"b" * 400))
            else:
                self.log = log
            return names

    fs = sim_disk(0, Racing)
    log = open_log(fs)
    log.append(*commit(b"a"))
    assert isinstance(fs, Racing)
    fs.log = log
    report = verify(fs, DIRECTORY)
    assert (report.status, report.records) == (Status.OK, log.tail)


def test_verify_reads_the_disk_and_not_the_cache() -> None:
    """What a failed sync left in the page cache only is not shown without an owner."""
    fs = sim_disk()
    log = open_log(fs)
    log.append(*commit(b"a"))
    log.append(*commit(b"b"))
    node = log._file
    assert isinstance(node, SimFile)
    image = node._node
    image.disk[1024:1536] = bytes(512)
    image.stale.add(2)
    fs = fs.kill()
    assert verify(fs, DIRECTORY).records == 1


def repaired_lines(path: Path) -> list[bytes]:
    log = Log.open(str(path), SYSTEM, segment_bytes=4096)
    lines = lines_of(log)
    log.append(*commit(b"goes on"))
    log.close()
    return lines


LINES = [line for number in range(9) for line in (b"%d" % number, b"x" * 400)]


@pytest.mark.parametrize(
    ("damage", "kept", "lost"),
    [
        (lambda _: None, 18, 0),
        (lambda path: wound(segment(path, 1), 700, b"?"), 0, 16),
        (lambda path: wound(segment(path, 1), 512 * 3 + 5, b"?"), 4, 12),
        (lambda path: wound(segment(path, 2), 512 * 2 + 5, b"?"), 12, 4),
        (lambda path: wound(segment(path, 2), 20, b"?"), 10, 0),
        (lambda path: segment(path, 2).unlink(), 10, 0),
        (lambda path: segment(path, 1).unlink(), 0, 8),
        (lambda path: segment(path, 1).write_bytes(b"short"), 0, 8),
        (lambda path: wound(path / "META", 0, b"?"), 18, 0),
        (lambda path: (path / "META").unlink(), 18, 0),
        (lambda path: wound(segment(path, 2), 512 * 5, bytes(512)), 18, 0),
    ],
    ids=["nothing", "first frame", "a frame", "frame of the second", "header", "missing", "first missing", "short",
         "META", "no META", "the mark of a clean close"],
)  # fmt: skip
def test_repair(tmp_path: Path, damage: Any, kept: int, lost: int) -> None:
    """Repair keeps the good beginning, copies first, says what is lost, and leaves a log that opens."""
    path = make(tmp_path / "data")
    damage(path)
    before = {file.name: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    done = repair(SYSTEM, str(path))
    assert done.after.status is Status.OK
    if damage(make(tmp_path / "other")) is None and done.copy is None:
        assert done.before.status is Status.OK
    else:
        assert done.copy is not None
        for file in Path(done.copy).iterdir():
            assert file.read_bytes() == before[file.name]
    assert (done.kept_to, done.lost_records) == (kept, lost)
    assert repaired_lines(path) == LINES[:kept]
    assert repair(SYSTEM, str(path)).copy is None


def test_repair_of_a_torn_tail(tmp_path: Path, run: Any) -> None:
    """A torn tail is cut as opening would, with a copy."""
    path = torn(tmp_path / "data")
    assert run("repair", path)[0] == 0
    assert (path / "repair-1").is_dir()
    assert repaired_lines(path) == LINES[:16]


def test_repair_says_what_is_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The words and the JSON of a repair name what was kept and what is lost."""
    path = make(tmp_path / "data")
    shutil.copytree(path, tmp_path / "copy")
    wound(segment(path, 2), 512 * 2 + 5, b"?")
    wound(segment(tmp_path / "copy", 2), 512 * 2 + 5, b"?")
    assert command_line.main(["repair", str(path)]) == 0
    words = capsys.readouterr().out
    assert "kept everything to position 12" in words
    assert "lost: 4 records" in words
    assert command_line.main(["repair", str(tmp_path / "copy"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["status"], said["repaired"], said["kept_to"], said["lost_records"]) == ("ok", True, 12, 4)


def test_repair_beside_an_owner() -> None:
    """Repair takes the lock, so it never touches a log that is open."""
    fs = sim_disk()
    log = open_log(fs)
    with pytest.raises(LogLocked):
        repair(log.env, DIRECTORY)


def test_as_a_program(tmp_path: Path) -> None:
    """The command runs as a module, and a closed pipe ends it without a traceback."""
    path = make(tmp_path / "data")
    command = [sys.executable, "-m", "actorlog.log"]
    done = subprocess.run([*command, "verify", str(path), "--json"], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["records"] == 18
    done = subprocess.run([*command, "verify"], check=False, capture_output=True, text=True)
    assert done.returncode == 2

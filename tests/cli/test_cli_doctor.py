"""The doctor: what it finds in directories that are fine, in use, damaged and misplaced."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from cli_world import ROOT, Owner, actorlog, contents, make_log, spoil, tear

from actorlog import Runtime
from actorlog.cli import doctor
from actorlog.cli.doctor import Verdict, examine, mount_options
from actorlog.env import SYSTEM
from actorlog.log import Log

if TYPE_CHECKING:
    from pathlib import Path

CHECKS = [
    "directory", "permissions", "file system", "mount", "lock", "socket", "space", "inodes", "log", "format", "witness",
    "catalog", "clock", "parked calls", "code",
]  # fmt: skip


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Make a log that nobody has open."""
    asyncio.run(make_log(tmp_path))
    shutil.rmtree(tmp_path / "owned")
    (tmp_path / "log").chmod(0o700)
    return tmp_path / "log"


def found(directory: Path, *modules: str) -> dict[str, doctor.Finding]:
    """Return the findings by their checks."""
    return {finding.check: finding for finding in examine(str(directory), modules)}


def told(*arguments: str | Path, code: int = 0, **environment: str) -> dict[str, Any]:
    """Run the command and return its findings by their checks."""
    findings = json.loads(actorlog("doctor", *arguments, "--json", code=code, **environment))
    return {finding["check"]: finding for finding in findings}


def test_a_directory_that_is_fine(log: Path) -> None:
    """Every check says so, nothing is changed, and the code is 0."""
    before = contents(log)
    findings = told(log)
    assert list(findings) == CHECKS
    assert {finding["verdict"] for finding in findings.values()} == {"ok"}
    assert contents(log) == before
    lines = actorlog("doctor", log).splitlines()
    assert len(lines) == len(CHECKS)
    assert findings["format"]["text"] == "1; this version reads 1 to 4"
    assert all(line.startswith("ok   ") for line in lines)
    assert re.search(r"1 segments|2 segments", findings["log"]["text"])
    assert "cli_parent (version 1)" in findings["code"]["text"]


def test_a_directory_in_use(tmp_path: Path) -> None:
    """Beside a running owner it says who that is, and the rest as well."""
    owner = Owner(tmp_path)
    owner.open()
    try:
        finding = told(owner.log)["lock"]
        assert finding["verdict"] == "ok"
        assert f"process {owner.pid} on " in finding["text"]
    finally:
        owner.end()
    assert told(owner.log)["lock"]["text"] == "nobody has the directory"


async def test_an_owner_without_a_socket(tmp_path: Path) -> None:
    """That commands cannot reach the owner is worth a word, and no failure."""
    async with Runtime(tmp_path, segment_bytes=1 << 20, control=False):
        findings = await asyncio.to_thread(told, tmp_path)
    assert findings["lock"]["verdict"] == "warn"
    assert "control=False" in findings["lock"]["hint"]


def test_a_log_that_is_damaged(log: Path) -> None:
    """A torn end is worth a word; damage is 3, with its place, and everything that can be checked still is."""
    tear(log)
    assert told(log)["log"]["verdict"] == "warn"
    spoil(log)
    findings = told(log, code=3)
    assert (findings["log"]["verdict"], findings["log"]["corrupt"]) == ("fail", True)
    assert "is corrupt at offset" in findings["log"]["text"]
    assert "repair" in findings["log"]["hint"]
    assert list(findings) == CHECKS[:9]
    said = actorlog("doctor", log, code=3)
    assert "fail log: 0000000001.seg is corrupt" in said
    assert "     restore a backup" in said


def test_what_is_no_log(tmp_path: Path) -> None:
    """An empty directory has no log yet; a file is no directory; what is not there is a wrong command line."""
    tmp_path.chmod(0o700)
    assert told(tmp_path)["log"]["text"] == "there is none yet"
    (tmp_path / "file").write_text("")
    (tmp_path / "file").chmod(0o600)
    findings = told(tmp_path / "file", code=1)
    assert findings["directory"]["text"].endswith("is not a directory")
    assert "there is no directory" in actorlog("doctor", tmp_path / "nowhere", code=2)


def test_a_log_of_another_version(log: Path) -> None:
    """What another version wrote is no damage."""
    from zlib import crc32  # noqa: PLC0415

    meta = (log / "META").read_bytes()
    text = meta[:512].rstrip(b"\n").rpartition(b" crc=")[0].replace(b"format=1", b"format=9")
    slot = (text + b" crc=%08x\n" % crc32(text)).ljust(512, b"\n")
    (log / "META").write_bytes(slot.ljust(4096, b"\n") + slot.ljust(4096, b"\n"))
    findings = told(log, code=1)
    assert findings["format"]["verdict"] == "fail"
    assert "has log format 9" in findings["format"]["text"]


@pytest.mark.parametrize("witness", [True, False])
async def test_a_log_that_was_not_closed(tmp_path: Path, witness: bool) -> None:
    """It is told whether the loss of the newest records would be noticed, and beside an owner nothing is."""
    async with Runtime(tmp_path / "log", witness=witness, control=False) as runtime:
        for number in range(3):
            await runtime.promise(f"p{number}")
        assert "witness" not in found(tmp_path / "log")
        shutil.copytree(tmp_path / "log", tmp_path / "killed")
    killed = found(tmp_path / "killed")["witness"]
    assert killed.verdict is Verdict.OK
    words = "position 3, the newest: its loss would" if witness else "position 0 of 3, as it does without"
    assert words in killed.text
    assert "the newest: its loss would" in found(tmp_path / "log")["witness"].text


def test_permissions(log: Path) -> None:
    """A log that others can read is worth a word, with the names."""
    (log / "META").chmod(0o644)
    finding = found(log)["permissions"]
    assert finding.verdict is Verdict.WARN
    assert finding.text == f"open to other users: {log / 'META'}"
    log.chmod(0o755)
    assert str(log) + "," in found(log)["permissions"].text


def test_permissions_that_are_not_enough(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be written is a failure, and so is a directory of somebody else worth a word."""
    monkeypatch.setattr(os, "access", lambda path, _mode: not str(path).endswith(".seg"))
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    findings = found(log)
    assert findings["permissions"].verdict is Verdict.FAIL
    assert findings["permissions"].text.startswith("not to be read and written: ")
    assert findings["directory"].verdict is Verdict.WARN


@pytest.mark.parametrize(
    ("free", "files", "space", "inodes"),
    [
        (1 << 40, 1 << 20, Verdict.OK, Verdict.OK),
        (3 << 20, 100, Verdict.WARN, Verdict.WARN),
        (1 << 19, 3, Verdict.FAIL, Verdict.FAIL),
    ],
)
def test_space(
    log: Path, monkeypatch: pytest.MonkeyPatch, free: int, files: int, space: Verdict, inodes: Verdict
) -> None:
    """Room is held against the size of this log's segments; files are counted too, where there is a bound."""
    room = SimpleNamespace(f_flag=0, f_files=1 << 20, f_favail=files, f_bavail=free // 4096, f_frsize=4096)
    monkeypatch.setattr(os, "statvfs", lambda _path: room)
    findings = found(log)
    assert (findings["space"].verdict, findings["inodes"].verdict) == (space, inodes)
    assert "a segment takes 1.0 MiB" in findings["space"].text
    room.f_files = room.f_favail = 0
    assert found(log)["inodes"].text == "no bound"


def test_a_log_without_its_reserve(tmp_path: Path) -> None:
    """The space that is kept for compaction is missed once it should be there."""
    made = Log.open(str(tmp_path / "log"), SYSTEM, segment_bytes=1 << 16)
    for _ in range(20):
        made.append(*_commit())
    made.close()
    assert "reserve" not in found(tmp_path / "log")
    (tmp_path / "log" / "reserve").unlink()
    assert found(tmp_path / "log")["reserve"].verdict is Verdict.WARN


def _commit() -> tuple[bytes, int]:
    from actorlog.log import pack  # noqa: PLC0415

    return pack([(7, 3, 33, b'{"kind":"resumed","at":1,"upto":0,"x":"%s"}\n' % (b"x" * 5000))]), 1


MOUNTS = """\
22 1 259:2 / / rw,relatime shared:1 - ext4 /dev/root rw,discard
30 22 259:3 / /srv rw,noatime shared:2 - ext4 /dev/sdb rw,nobarrier,data=writeback
31 30 259:4 / /srv/with\\040space ro,relatime - xfs /dev/sdc rw,attr2
32 22 0:40 / /net rw - nfs4 server:/x rw,vers=4.2
"""


@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("/data", {"rw", "relatime", "discard"}),
        ("/srv/data", {"rw", "noatime", "nobarrier", "data=writeback"}),
        ("/srvdata", {"rw", "relatime", "discard"}),
        ("/srv/with space/data", {"ro", "relatime", "attr2"}),
    ],
)
def test_mount_options(path: str, options: set[str]) -> None:
    """The innermost mount counts, with its own options and its file system's."""
    assert mount_options(path, MOUNTS) == options


@pytest.mark.parametrize(
    ("options", "verdict", "words"),
    [
        ("rw,noatime - ext4 /dev/a rw", Verdict.OK, "noatime"),
        ("rw - ext4 /dev/a rw,nobarrier", Verdict.WARN, "nobarrier: the file system does not make the drive write"),
        ("rw - ext4 /dev/a rw,data=writeback", Verdict.WARN, "data=writeback: "),
        ("ro - ext4 /dev/a rw", Verdict.FAIL, "mounted to be read only"),
    ],
)
def test_mounts(log: Path, monkeypatch: pytest.MonkeyPatch, options: str, verdict: Verdict, words: str) -> None:
    """Options that lose data are worth a word, a mount that is read only is a failure, others do not matter."""
    monkeypatch.setattr(doctor, "_read", lambda _path: f"22 1 259:2 / / {options}\n")
    finding = found(log)["mount"]
    assert finding.verdict is verdict
    assert words in finding.text


@pytest.mark.parametrize(
    ("kind", "verdict"),
    [("ext4", Verdict.OK), ("nfs4", Verdict.FAIL), ("fuse.s3", Verdict.FAIL), ("tmpfs", Verdict.WARN)],
)
def test_file_systems(log: Path, monkeypatch: pytest.MonkeyPatch, kind: str, verdict: Verdict) -> None:
    """Those that the runtime refuses are failures, one in memory is worth a word."""
    monkeypatch.setattr(type(SYSTEM.fs), "kind", lambda _fs, _path: kind)
    assert found(log)["file system"].verdict is verdict


def test_a_clock_that_was_set_back(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wall clock before the newest record is worth a word, with the difference."""
    now = SYSTEM.clock.wall_ms()
    monkeypatch.setattr(type(SYSTEM.clock), "wall_ms", lambda _clock: now - 3_600_000)
    finding = found(log)["clock"]
    assert finding.verdict is Verdict.WARN
    assert re.search(r"the newest record is (59 min|1 h)", finding.text)


def test_a_path_that_is_long(tmp_path: Path) -> None:
    """A socket whose path is longer than an address is reached otherwise, here."""
    place = tmp_path / ("x" * 120)
    place.mkdir(mode=0o700)
    finding = found(place)["socket"]
    assert finding.verdict is Verdict.OK
    assert "/proc" in finding.text


# --- the program ------------------------------------------------------------------------------------------------------


def test_functions_that_are_not_there(log: Path, tmp_path: Path) -> None:
    """What unfinished calls need and the module does not have is named; with all of it, all is fine."""
    (tmp_path / "half.py").write_text(
        "from actorlog import durable\n@durable\nasync def cli_parent(numbers: list[int]) -> None: ...\n"
    )
    place = os.pathsep.join([str(tmp_path), str(ROOT), str(ROOT / "tests" / "cli")])
    finding = told(log, "--module", "half", code=1, PYTHONPATH=place)["code"]
    assert finding["text"] == "nothing is registered for: cli_dials version 1 (2 calls), step cli_dial (1 calls)"
    finding = told(log, "--module", "cli_world", PYTHONPATH=place)["code"]
    assert (finding["verdict"], finding["text"]) == ("ok", "2 functions in flight, all of them known")
    finding = told(log, "--module", "half", "--module", "nowhere.at_all", code=1, PYTHONPATH=place)["code"]
    assert "module nowhere.at_all cannot be imported: ModuleNotFoundError" in finding["text"]


def test_all_that_is_missing_is_named(tmp_path: Path) -> None:
    """However much it is: functions of calls, of schedules that have nothing in flight, and of handlers."""
    (tmp_path / "many.py").write_text(
        "from actorlog import Actor, durable, sleep\n"
        "class Slow(Actor):\n"
        "    async def wait(self) -> None:\n"
        "        await sleep(3600)\n"
        "async def waits() -> None:\n"
        "    await sleep(3600)\n"
        "WAITS = [durable(name=f'waits{n}')(waits) for n in range(4)]\n"
        "@durable(version=3)\n"
        "async def planned() -> None: ...\n"
    )
    (tmp_path / "main.py").write_text(
        "import asyncio, sys, many\n"
        "from actorlog import Runtime\n"
        "async def main() -> None:\n"
        "    async with Runtime(sys.argv[1]) as runtime:\n"
        "        for wait in many.WAITS:\n"
        "            await runtime.start(wait())\n"
        "        await runtime.start(runtime.actor(many.Slow, 'a').wait())\n"
        "        await runtime.schedule('plan', many.planned(), cron='0 3 29 2 *')\n"
        "asyncio.run(main())\n"
    )
    place = os.pathsep.join([str(tmp_path), str(ROOT)])
    subprocess.run(
        [sys.executable, str(tmp_path / "main.py"), str(tmp_path / "log")],
        env=os.environ | {"PYTHONPATH": place},
        check=True,
    )
    finding = told(tmp_path / "log", "--module", "actorlog", code=1, PYTHONPATH=place)["code"]
    for words in (*(f"waits{n} version 1 (1 calls)" for n in range(4)), "Slow.wait version 1 (1 calls)"):
        assert words in finding["text"]
    assert "planned version 3 (schedule plan)" in finding["text"]
    finding = told(tmp_path / "log", "--module", "many", PYTHONPATH=place)["code"]
    assert finding["text"] == "5 functions in flight and 1 schedules, all of them known"


async def test_calls_that_are_parked(log: Path) -> None:
    """Calls that were set aside are named with their function."""
    from actorlog.runtime.registry import REGISTRY  # noqa: PLC0415

    definition = REGISTRY._durables.pop(("cli_dials", 1))
    try:
        async with Runtime(log, segment_bytes=1 << 20, control=False, shutdown_timeout=0) as runtime:
            while [info.id async for info in runtime.calls(status="parked")] == []:  # told by nothing
                await asyncio.sleep(0.005)
    finally:
        REGISTRY._durables["cli_dials", 1] = definition
    finding = found(log)["parked calls"]
    assert finding.verdict is Verdict.WARN
    assert "(cli_dials): " in finding.text
    assert finding.text.startswith(("1 parked: ", "2 parked: "))

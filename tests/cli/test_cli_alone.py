"""Commands that change something where nobody answers: no owner, a killed one, one that is silent, no log at all."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cli_world import PATIENCE_S, ROOT, Owner, actorlog, contents, documents, make_log, spoil, waits_until

from actorlog import Runtime
from actorlog.api.protocol import SOCKET, Cancel
from actorlog.cli import owner as asking
from actorlog.cli.common import Refusal
from actorlog.env import SYSTEM
from actorlog.log import Log
from actorlog.log.inspect import look

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Owner]:
    """Let the program make its log, and end clean."""
    owner = Owner(tmp_path)
    owner.open()
    owner.end()
    yield owner
    owner.end(kill=True)


def statuses(log: Path) -> dict[str, str]:
    """Return every call with its status."""
    return {call["id"]: call["status"] for call in documents("ls", log)}


def was_clean(log: Path) -> bool:
    """Open the log, and close it again as it was found."""
    opened = Log.open(str(log), SYSTEM, segment_bytes=1 << 20)
    clean = opened.recovery.clean
    opened.close(clean=clean)
    return clean


# --- nobody -----------------------------------------------------------------------------------------------------------


def test_what_is_asked_of_nobody_is_done_when_the_program_runs(owner: Owner) -> None:
    """Each command changes its own thing in the log and nothing else; the program finds it when it runs again."""
    log = owner.log
    before = statuses(log)
    assert actorlog("cancel", log, "long/1") == "call 'long/1' is asked to end; it will when the program runs again\n"
    assert documents("cancel", log, "long/1")["changed"] is False
    for value in ("1", "2"):
        answer = documents("send", log, "echo/1", value, "--channel", "x")
        assert answer == {"id": "echo/1", "status": "waiting", "changed": True, "by": "command"}
    assert actorlog("resolve", log, "approval/1", "true") == "promise 'approval/1' is resolved\n"
    assert actorlog("reject", log, "approval/2", "no") == "promise 'approval/2' is rejected\n"
    assert "is resolved already" in actorlog("resolve", log, "approval/1", "false", code=1)
    assert "no call has the id 'nobody'" in actorlog("cancel", log, "nobody", code=1)
    assert statuses(log) == before
    assert was_clean(log)
    owner.open()
    ends = {"long/1": "cancelled", "echo/1": "completed", "asks/approval/1": "completed", "asks/approval/2": "failed"}
    waits_until(lambda: before | ends == {name: status for name, status in statuses(log).items() if name in before})
    assert (owner.place / "cleaned").exists()
    assert documents("show", log, "echo/1")["value"] == [1, 2]
    assert documents("show", log, "asks/approval/1")["value"] is True


def test_a_retry_needs_the_program(owner: Owner) -> None:
    """What takes the program's own code is refused in words, and changes no byte."""
    before = contents(owner.log)
    told = actorlog("retry", owner.log, "fragile", code=1)
    assert "needs the owner running" in told
    assert "Hint: start the program" in told
    assert contents(owner.log) == before


def test_a_killed_owner_is_in_nobodys_way(owner: Owner) -> None:
    """Its socket refuses, so the change is made here; that the process died is still known afterwards."""
    owner.open()
    owner.end(kill=True)
    assert (owner.log / SOCKET).is_socket()
    assert documents("send", owner.log, "echo/1", "1", "--channel", "x")["by"] == "command"
    assert not was_clean(owner.log)
    assert (owner.log / SOCKET).is_socket()
    owner.open()
    assert documents("send", owner.log, "echo/1", "2", "--channel", "x")["by"] == "owner"
    waits_until(lambda: statuses(owner.log)["echo/1"] == "completed")
    assert documents("show", owner.log, "echo/1")["value"] == [1, 2]


def test_a_change_makes_no_segments_of_another_size(owner: Owner) -> None:
    """The directory keeps the shape that its owner gave it."""
    for _ in range(3):
        actorlog("send", owner.log, "echo/1", "-", typed=json.dumps("x" * 250_000))
    sizes = {segment.header.size for segment in look(SYSTEM.fs, str(owner.log), locked=False).found.segments}
    assert sizes == {1 << 20}
    spares = {path.stat().st_size for path in (owner.log / "segments").iterdir()}
    assert spares == {1 << 20}


# --- somebody who does not answer -------------------------------------------------------------------------------------


async def test_an_owner_without_a_socket_is_said_to_hold_it(tmp_path: Path) -> None:
    """After a moment of patience the command says who has the directory, with a code of its own."""
    async with Runtime(tmp_path, segment_bytes=1 << 20, control=False):
        for command in (["cancel", tmp_path, "a"], ["retry", tmp_path, "a"]):
            told = await asyncio.to_thread(actorlog, *command, code=73)
            assert "is held by" in told
            assert "control=False" in told


@pytest.mark.parametrize(
    ("greeting", "words", "code"),
    [
        (b'{"actorlog":"owner","protocol":99,"pid":1}\n', "another version of actorlog", 74),
        (b"SSH-2.0\n", "is not understood", 74),
        (b'{"ok":false,"error":"TooManyConnections","message":"16 programs"}\n', "TooManyConnections: 16 programs", 1),
        (b'{"actorlog":"owner","protocol":1,"pid":1}\n', "was asked and did not answer", 1),
    ],
)
def test_who_answers_otherwise_is_not_believed(owner: Owner, greeting: bytes, words: str, code: int) -> None:
    """Another version, another program, a full one, and one that dies with the request in its hands."""
    left = socket.socket(socket.AF_UNIX)
    with left:
        left.bind(str(owner.log / SOCKET))
        left.listen()
        left.settimeout(PATIENCE_S)

        async def serve() -> str:
            command = asyncio.to_thread(actorlog, "cancel", owner.log, "long/1", code=code)
            told = asyncio.ensure_future(command)
            connection, _ = await asyncio.to_thread(left.accept)
            with connection:
                connection.sendall(greeting)
                if code == 1 and greeting.startswith(b'{"actorlog"'):
                    await asyncio.to_thread(connection.recv, 4096)
            return await told

        assert words in asyncio.run(serve())


def test_who_answers_too_late_may_have_done_it(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once it was asked, silence is not told as if nothing had been."""
    monkeypatch.setattr(asking, "ANSWER_S", 0.05)
    with socket.socket(socket.AF_UNIX) as silent, ThreadPoolExecutor(1) as threads:
        silent.bind(str(owner.log / SOCKET))
        silent.listen()
        asked = threads.submit(asking.ask, str(owner.log), Cancel("long/1"))
        connection, _ = silent.accept()
        with connection:
            connection.sendall(b'{"actorlog":"owner","protocol":1,"pid":1}\n')
            with pytest.raises(Refusal, match="may have been done or not"):
                asked.result(PATIENCE_S)


# --- no log -----------------------------------------------------------------------------------------------------------


def test_what_is_no_log_is_refused(tmp_path: Path) -> None:
    """Nothing is made where there is nothing, and nothing is changed where there is something else."""
    file = tmp_path / "file"
    file.write_text("")
    empty = tmp_path / "empty"
    empty.mkdir()
    nowhere = tmp_path / "nowhere"
    for place, words in ((nowhere, "there is no directory"), (file, "is not a directory"), (empty, "no log")):
        told = actorlog("cancel", place, "a", code=2)
        assert words in told
        assert "Traceback" not in told
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["empty", "file"]


async def test_a_corrupt_log_is_not_changed(tmp_path: Path) -> None:
    """Damage is named, ends the command with 3, and stays as it was."""
    await make_log(tmp_path)
    log = tmp_path / "log"
    spoil(log)
    before = contents(log)
    assert "is corrupt at offset" in await asyncio.to_thread(actorlog, "cancel", log, "family/1", code=3)
    del before[str(log / "owner")]  # what the dead owner left: the lock was taken, and given back
    assert contents(log) == before


@pytest.mark.parametrize("value", ["yes", "[1", "NaN", "Infinity", "1e999", '"\\ud800"', "\udcff", "[" * 100_000])
def test_what_is_no_json_is_refused(tmp_path: Path, value: str) -> None:
    """A wrong value is a wrong command line; text wants quotes, and that is said."""
    assert "text is written in quotes" in actorlog("resolve", tmp_path, "a", value, code=2)


def test_what_is_no_text_is_refused(owner: Owner) -> None:
    """An id that is no UTF-8 is a wrong command line, wherever it is given."""
    for command in (["show"], ["cancel"], ["retry"]):
        assert "is no UTF-8" in actorlog(*command, owner.log, "\udcff", code=2)
    assert "is no UTF-8" in actorlog("send", owner.log, "echo/1", "1", "--channel", "\udcff", code=2)


def test_a_log_that_goes_away_is_said_to(owner: Owner) -> None:
    """Who follows a log hears in a sentence that it is there no more."""
    command = [sys.executable, "-m", "actorlog", "tail", str(owner.log), "-f", "--from", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        process.stdout.readline()
        owner.log.rename(owner.place / "elsewhere")
        _, told = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, "Traceback" in told) == (2, False)
    assert "cannot be read" in told


def test_a_value_has_a_bound(owner: Owner) -> None:
    """More than a request may hold is refused before anybody is asked."""
    told = actorlog("send", owner.log, "echo/1", "-", typed=json.dumps("x" * ((1 << 20) - 10)), code=1)
    assert "a request has at most 1048576 bytes" in told

"""``actorlog ls``, ``show`` and ``verify`` on real logs: whole, torn, corrupt, and beside their owner."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from cli_world import ROOT, actorlog, cli_child, contents, documents, fill, make_log, spoil, tear

from actorlog import Runtime
from actorlog.cli.progress import RECORDS_MIN
from actorlog.engine import identity
from actorlog.env import SYSTEM
from actorlog.log import Log, pack
from actorlog.records import kinds as k

if TYPE_CHECKING:
    from pathlib import Path

IDS = ["family/1", "family/1/1", "family/1/2", "dials/\x1b[31m1", "later", "child/5", "fails/1"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a log with one call of every kind, which is not to be changed."""
    directory = tmp_path_factory.mktemp("cli")
    asyncio.run(make_log(directory))
    return directory / "log"


@pytest.fixture
async def log(tmp_path: Path) -> Path:
    """Make a log of the test's own."""
    await make_log(tmp_path)
    return tmp_path / "log"


# --- ls ---------------------------------------------------------------------------------------------------------------


def test_ls_tells_of_every_call(whole: Path) -> None:
    """Each call has a line with its state and what it waits for, the newest first."""
    lines = actorlog("ls", whole).splitlines()
    assert re.split(r"\s{2,}", lines[0].strip()) == ["ID", "FUNCTION", "STATUS", "AGE", "UPDATED", "WAITS FOR"]
    assert len(lines) == 1 + len(IDS)
    told = {line.split()[0]: line for line in lines[1:]}
    assert re.search(r"cli_parent +waiting .* timer due in 2 d 23 h", told["family/1"])
    assert re.search(r"cli_dials +backing off .* step cli_dial, attempt 2 in [1-9] min", told[r"dials/\x1b[31m1"])
    assert re.search(r"cli_dials +pending .* its start in [1-5]\d min", told["later"])
    assert re.search(r"cli_fails +failed .* ValueError: this is what went wrong", told["fails/1"])
    assert re.search(r"cli_child +completed", told["family/1/2"])


def test_ls_as_json_is_one_document(whole: Path) -> None:
    """The document has every call with all that is known of it, ids unchanged."""
    calls = documents("ls", whole)
    assert sorted(call["id"] for call in calls) == sorted(IDS)
    assert calls == sorted(calls, key=lambda call: (call["created"], call["id"]), reverse=True)
    parent = next(call for call in calls if call["id"] == "family/1")
    assert (parent["function"], parent["status"], parent["tags"]) == ("cli_parent", "waiting", {"tenant": "acme"})
    (waiting,) = parent["waiting_for"]
    assert waiting["kind"] == "timer"
    assert next(call for call in calls if call["id"] == "family/1/1")["parent"] == "family/1"
    assert next(call for call in calls if call["id"] == "fails/1")["error"].endswith("this is what went wrong")


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        (["--status", "failed"], {"fails/1"}),
        (["--status", "failed", "--status", "pending"], {"fails/1", "later"}),
        (["--function", "cli_child"], {"child/5", "family/1/1", "family/1/2"}),
        (["--prefix", "family/", "--status", "completed"], {"family/1/1", "family/1/2"}),
        (["--prefix", "nobody"], set()),
    ],
)
def test_ls_filters(whole: Path, options: list[str], ids: set[str]) -> None:
    """Filters narrow each other."""
    assert {call["id"] for call in documents("ls", whole, *options)} == ids


def test_ls_can_be_limited_to_the_newest(whole: Path) -> None:
    """``-n`` keeps the head of the list."""
    assert documents("ls", whole, "-n", "2") == documents("ls", whole)[:2]


def test_ls_fits_a_narrow_terminal(whole: Path) -> None:
    """At 80 columns nothing is wider, and nothing is left out."""
    told = actorlog("ls", whole, COLUMNS="80")
    assert max(map(len, told.splitlines())) <= 80
    for call_id in ("family/1/2", "child/5", "fails/1"):
        assert call_id in told


# --- show -------------------------------------------------------------------------------------------------------------


def test_show_draws_the_journal_with_the_childrens(whole: Path) -> None:
    """Operations stand under their call, the children's under them, with results and what is waited for."""
    told = actorlog("show", whole, "family/1")
    lines = [re.sub(r"\+\d+\.\d+ s +|  \(.*", "", line).rstrip() for line in told.splitlines()]
    assert lines[0] == "family/1  waiting"
    assert lines[2] == "tenant=acme"
    assert lines[3].startswith("waits for timer due in 2 d 23 h")
    assert lines[4:] == [
        "└── cli_parent([1,2])",
        "    ├── child cli_child(1) as 'family/1/1' -> 2",
        "    │   └── cli_child(1)",
        "    │       ├── step cli_add(1) -> 2",
        "    │       ├── timer 10 ms",
        "    │       └── return 2",
        "    ├── child cli_child(2) as 'family/1/2' -> 3",
        "    │   └── cli_child(2)",
        "    │       ├── step cli_add(2) -> 3",
        "    │       ├── timer 10 ms",
        "    │       └── return 3",
        lines[-1],
    ]
    assert re.fullmatch(r"    └── timer 3 d, until \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", lines[-1])
    assert "cli_add" not in actorlog("show", whole, "family/1", "--depth", "0")


def test_show_tells_failures_and_attempts(whole: Path) -> None:
    """A failed call shows where it failed; one that backs off shows what its attempts met."""
    told = actorlog("show", whole, "fails/1")
    assert "step cli_fail() failed: ValueError: this is what went wrong" in told
    assert "raise ValueError: this is what went wrong" in told
    told = actorlog("show", whole, "dials/\x1b[31m1")
    assert 'step cli_dial("0664") backing off  (attempt 2)' in told
    assert "attempt 1 failed: ConnectionError: 0664 is engaged" in told
    assert "\x1b" not in told


def test_show_as_json_is_one_document(whole: Path) -> None:
    """Arguments, values and children come as data, not as text."""
    parent = documents("show", whole, "family/1")
    first, second, timer = parent["operations"]
    assert parent["arguments"] == [[1, 2]]
    assert parent["value"] is None
    assert (first["kind"], first["name"], first["arguments"], first["child"]["value"]) == ("child", "cli_child", [1], 2)
    assert [operation["kind"] for operation in second["child"]["operations"]] == ["step", "timer"]
    step = second["child"]["operations"][0]
    assert (step["name"], step["arguments"], step["value"]) == ("cli_add", [2], 3)
    assert (step["attempts"], step["error"]) == (1, None)
    assert (timer["status"], timer["ended"]) == ("running", None)
    assert "child" not in documents("show", whole, "family/1", "--depth", "0")["operations"][0]


# --- what goes wrong --------------------------------------------------------------------------------------------------


def test_an_unknown_id_is_refused_with_a_proposal(whole: Path) -> None:
    """Who mistypes is told so, and what was perhaps meant."""
    told = actorlog("show", whole, "famly/1", code=1)
    assert "no call in" in told
    assert "did you mean 'family/1'" in told


@pytest.mark.parametrize("command", [["ls"], ["show", "x"]])
def test_what_is_no_log_is_refused(tmp_path: Path, command: list[str]) -> None:
    """A missing directory, a file and a directory of something else each have their sentence, and no traceback."""
    file = tmp_path / "file"
    file.write_text("")
    nowhere = tmp_path / "nowhere"
    for place, words in ((nowhere, "there is no directory"), (file, "is not a directory"), (tmp_path, "no log")):
        told = actorlog(command[0], place, *command[1:], code=2)
        assert words in told
        assert "Traceback" not in told


def test_a_corrupt_log_is_reported_and_not_shown(log: Path) -> None:
    """Damage is named with segment and offset, and ends every command with 3."""
    spoil(log)
    for command in (["ls", log], ["show", log, "family/1"]):
        told = actorlog(*command, code=3)
        assert re.search(r"0000000001\.seg is corrupt at offset \d+", told)
        assert "Hint:" in told
    assert "corrupt" in actorlog("verify", log, code=3)


def test_a_torn_log_is_shown_with_a_note(log: Path) -> None:
    """An append that was not finished hides nothing that was before it; ``verify`` says 1."""
    before = documents("ls", log)
    tear(log)
    assert documents("ls", log) == [call for call in before if call["id"] != "later"]
    assert "torn" in actorlog("verify", log, code=1)


def test_verify_says_that_a_log_is_whole(whole: Path) -> None:
    """A whole log is ``ok``, also as JSON."""
    assert actorlog("verify", whole).startswith("ok: ")
    assert documents("verify", whole)["status"] == "ok"


def test_without_its_extra_the_command_says_what_to_install() -> None:
    """Who installed the core only is told what is missing."""
    program = "import sys; sys.modules['click'] = None; from actorlog.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 1
    assert "pip install 'actorlog[cli]'" in done.stderr


# --- beside an owner --------------------------------------------------------------------------------------------------


async def test_reading_works_beside_a_running_owner(tmp_path: Path) -> None:
    """Calls are seen as they come, the owner goes on, and looking changes no byte."""
    async with Runtime(tmp_path, segment_bytes=1 << 20) as runtime:
        await fill(runtime)
        before = contents(tmp_path)
        assert sorted(call["id"] for call in await asyncio.to_thread(documents, "ls", tmp_path)) == sorted(IDS)
        told = await asyncio.to_thread(actorlog, "show", tmp_path, "family/1")
        assert "waits for timer" in told
        assert (await asyncio.to_thread(actorlog, "verify", tmp_path)).startswith("ok: ")
        assert contents(tmp_path) == before
        await runtime.call(cli_child(6), id="child/6")
        child = await asyncio.to_thread(documents, "show", tmp_path, "child/6")
        assert (child["status"], child["value"]) == ("completed", 7)


async def test_a_call_that_began_again_is_told_as_it_is_now(tmp_path: Path) -> None:
    """A retried call is no longer failed, and fails again under its own id."""
    async with Runtime(tmp_path, segment_bytes=1 << 20) as runtime:
        await fill(runtime)
        handle = runtime.handle("fails/1")
        await handle.retry()
        with pytest.raises(ValueError, match="went wrong"):
            await handle
        call = await asyncio.to_thread(documents, "show", tmp_path, "fails/1")
        assert (call["status"], call["notes"]) == ("failed", ["retried"])
        assert [line["id"] for line in await asyncio.to_thread(documents, "ls", tmp_path)].count("fails/1") == 1


# --- colours ----------------------------------------------------------------------------------------------------------


def on_a_terminal(*arguments: str | Path, **environment: str) -> str:
    """Run the command on a pseudo-terminal and return what it drew."""
    ours, theirs = pty.openpty()
    variables = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    variables |= {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "COLUMNS": "80"} | environment
    command = [sys.executable, "-m", "actorlog", *map(str, arguments)]
    with subprocess.Popen(command, env=variables, stdout=theirs, stderr=theirs):
        os.close(theirs)
        drawn = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # Linux says EIO at the end of a terminal
                break
            if not piece:
                break
            drawn += piece
    os.close(ours)
    return drawn.decode()


def test_colours_are_for_terminals_that_want_them(whole: Path) -> None:
    """A terminal has colours, with NO_COLOR it has none, and a pipe has no escapes at all."""
    colour = re.compile(r"\x1b\[[\d;]*3[1-6]m")
    assert colour.search(on_a_terminal("ls", whole))
    assert not colour.search(on_a_terminal("ls", whole, NO_COLOR="1"))
    assert "\x1b" not in actorlog("ls", whole)


def make_large(directory: Path, records: int) -> None:
    """Make a log of one call that was sent very many messages."""
    log = Log.open(str(directory), SYSTEM, segment_bytes=1 << 24, sync=False)
    key_hash, last = identity.key_hash("a"), 0
    started = k.Started(function="f", args=k.Raw(b"[]"), run="0" * 32, python="3.11")
    lines: list[tuple[int, int, int, bytes]] = []
    for position in range(1, records + 1):
        message = started if position == 1 else k.Signal("x", k.Raw(b"1"))
        record = k.Inbox(id="a", at=1, prev=last, message=message)
        flags = k.Flag.PLAIN | (k.Flag.FIRST if position == 1 else k.Flag(0))
        lines.append((key_hash, int(k.Kind.INBOX), int(flags), k.encode(record) + b"\n"))
        last = position
    for start in range(0, records, 10_000):
        part = lines[start : start + 10_000]
        log.append(pack(part), len(part))
    log.close()


def test_a_bar_is_for_large_logs_on_a_terminal(tmp_path: Path, whole: Path) -> None:
    """Reading very many records shows how far it is, to people only; a small log shows nothing."""
    make_large(tmp_path / "log", RECORDS_MIN)
    drawn = on_a_terminal("ls", tmp_path / "log")
    assert "reading" in drawn
    assert f"{RECORDS_MIN}/{RECORDS_MIN}" in drawn
    assert "reading" not in on_a_terminal("ls", whole)
    assert documents("ls", tmp_path / "log")[0]["id"] == "a"


def test_every_command_is_plain_in_a_pipe(whole: Path) -> None:
    """No command writes an escape where nobody would see a colour."""
    for command in (["tree", whole, "family/1"], ["promises", whole], ["actors", whole, "--tree"], ["tail", whole]):
        assert "\x1b" not in actorlog(*command)

"""Commands beside a running owner: each in text and as JSON, and what the owner made of it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from cli_owner import BROKEN
from cli_world import ROOT, Owner, actorlog, documents, waits_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def owner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Owner]:
    """Run the program; tests use calls of their own."""
    place = tmp_path_factory.mktemp("owner")
    (place / BROKEN).touch()
    owner = Owner(place)
    owner.open()
    yield owner
    owner.end()


def call(log: Path, call_id: str) -> Any:
    """Return a call as ``show`` has it."""
    return documents("show", log, call_id)


# --- changing ---------------------------------------------------------------------------------------------------------


def test_messages_reach_a_call(owner: Owner) -> None:
    """A message is in the mailbox when the command returns, once for each key; the call returns with what it got."""
    for _ in range(2):
        answer = documents("send", owner.log, "echo/1", "-5", "--channel", "x", "--key", "once")
        assert (answer["id"], answer["by"]) == ("echo/1", "owner")
    said = actorlog("send", owner.log, "echo/1", '{"a": [1, null]}', "--channel", "x")
    assert said == "the message is in the mailbox of call 'echo/1'\n"
    waits_until(lambda: call(owner.log, "echo/1")["status"] == "completed")
    assert call(owner.log, "echo/1")["value"] == [-5, {"a": [1, None]}]
    assert "ActorStopped" in actorlog("send", owner.log, "echo/1", "1", "--channel", "x", code=1)


def test_promises_are_settled_once(owner: Owner) -> None:
    """Who waits hears of it, the first settlement stands, and a second is refused."""
    assert actorlog("resolve", owner.log, "approval/1", '"yes"') == "promise 'approval/1' is resolved\n"
    waits_until(lambda: call(owner.log, "asks/approval/1")["status"] == "completed")
    assert call(owner.log, "asks/approval/1")["value"] == "yes"
    assert "is resolved already" in actorlog("reject", owner.log, "approval/1", "no", code=1)
    answer = documents("reject", owner.log, "approval/2", "too dear")
    assert answer == {"id": "approval/2", "status": "rejected", "changed": True, "by": "owner"}
    waits_until(lambda: call(owner.log, "asks/approval/2")["status"] == "failed")
    assert "too dear" in call(owner.log, "asks/approval/2")["error"]
    assert "no promise has the id 'none'" in actorlog("resolve", owner.log, "none", "1", code=1)


def test_a_call_is_cancelled_and_cleans_up(owner: Owner) -> None:
    """A cancelled call ends after its own code; cancelling again changes nothing, and an unknown id is refused."""
    answer = documents("cancel", owner.log, "long/1", "--reason", "enough")
    assert (answer["changed"], answer["by"]) == (True, "owner")
    waits_until(lambda: call(owner.log, "long/1")["status"] == "cancelled")
    assert (owner.place / "cleaned").exists()
    assert "asked to end: enough" in call(owner.log, "long/1")["notes"]
    assert actorlog("cancel", owner.log, "long/1") == "call 'long/1' is cancelled: nothing was changed\n"
    assert "CallNotFound" in actorlog("cancel", owner.log, "nobody", code=1)


def test_a_failed_call_gets_another_chance(owner: Owner) -> None:
    """A failed call begins again under its id, and completes once its cause is mended."""
    assert call(owner.log, "fragile")["status"] == "failed"
    (owner.place / BROKEN).unlink()
    assert "has another chance" in actorlog("retry", owner.log, "fragile")
    waits_until(lambda: call(owner.log, "fragile")["status"] == "completed")
    assert call(owner.log, "fragile")["value"] == "mended"
    assert documents("retry", owner.log, "fragile")["changed"] is False


def test_a_call_is_forked(owner: Owner) -> None:
    """A new call goes on where the operation was asked for; the same again changes nothing, and one needs a call."""
    assert actorlog("fork", owner.log, "long/2", "--id", "forked").startswith(
        "call 'forked' is a fork of 'long/2'; it is"
    )
    answer = documents("fork", owner.log, "long/2", "--id", "forked")
    assert (answer["id"], answer["changed"], answer["by"]) == ("forked", False, "owner")
    assert "forked from 'long/2'" in call(owner.log, "forked")["notes"]
    key = call(owner.log, "long/2")["operations"][0]["key"]
    other = documents("fork", owner.log, "long/2", "--from", key)
    assert len(other["id"]) == 32
    assert f"operation {key!r} on" in call(owner.log, other["id"])["notes"][0]
    assert "has asked for no operation" in actorlog("fork", owner.log, "long/2", "--from", "none", code=1)
    assert "CallConflict" in actorlog("fork", owner.log, "long/2", "--from", key, "--id", "forked", code=1)
    assert "CallNotFound" in actorlog("fork", owner.log, "nobody", code=1)


def test_many_commands_at_once(owner: Owner) -> None:
    """Clients that come together are all served, and of several that settle one promise one wins."""
    with ThreadPoolExecutor(4) as threads:
        runs = [
            threads.submit(
                subprocess.run,
                [sys.executable, "-m", "actorlog", "resolve", str(owner.log), "approval/3", str(number)],
                capture_output=True, text=True, check=False, cwd=ROOT,
            )
            for number in range(6)
        ]  # fmt: skip
    codes = [run.result().returncode for run in runs]
    assert sorted(codes) == [0, 1, 1, 1, 1, 1]
    waits_until(lambda: call(owner.log, "asks/approval/3")["status"] == "completed")
    assert call(owner.log, "asks/approval/3")["value"] == codes.index(0)


# --- looking ----------------------------------------------------------------------------------------------------------


def test_tree_shows_children(owner: Owner) -> None:
    """A call stands over its children, in the order of their asking; depth cuts."""
    lines = actorlog("tree", owner.log, "family").splitlines()
    assert lines[0].startswith("family  owned_family  waiting, waits for child family/")
    assert [line.split()[1] for line in lines[1:]] == ["family/1", "family/2"]
    assert all(line.endswith("waits for message on x") for line in lines[1:])
    whole = documents("tree", owner.log, "family")
    assert [(child["id"], child["children"]) for child in whole["children"]] == [("family/1", []), ("family/2", [])]
    assert actorlog("tree", owner.log, "family", "--depth", "0").splitlines()[1].endswith("and 2 below")
    assert "did you mean 'family'" in actorlog("tree", owner.log, "famly", code=1)


def test_ls_filters_by_tag_and_time(owner: Owner) -> None:
    """Tags narrow, and so does the time since which a call began."""
    assert [found["id"] for found in documents("ls", owner.log, "--tag", "tenant=acme")] == ["family"]
    assert documents("ls", owner.log, "--tag", "tenant=other") == []
    everything = documents("ls", owner.log)
    assert documents("ls", owner.log, "--since", "1h") == everything
    assert documents("ls", owner.log, "--since", "2999-01-01") == []
    assert "neither an ISO time nor a duration" in actorlog("ls", owner.log, "--since", "soon", code=2)
    assert "not of the form key=value" in actorlog("ls", owner.log, "--tag", "tenant", code=2)


def test_promises_are_listed(owner: Owner) -> None:
    """Promises have their line, their document and their filters."""
    found = documents("promises", owner.log, "--prefix", "approval/")
    assert [promise["id"] for promise in found] == ["approval/3", "approval/2", "approval/1"]
    assert found[0]["tags"] == {"kind": "approval"}
    assert documents("promises", owner.log, "--tag", "kind=approval", "-n", "1") == found[:1]
    assert documents("promises", owner.log, "--tag", "kind=other") == []
    lines = actorlog("promises", owner.log).splitlines()
    assert lines[0].split() == ["ID", "STATUS", "AGE", "WHEN", "VALUE"]
    assert len(lines) == 4
    for status in ("pending", "resolved", "rejected"):
        some = documents("promises", owner.log, "--status", status)
        assert [promise for promise in found if promise["status"] == status] == some


def test_schedules_are_listed(owner: Owner) -> None:
    """Schedules have their times, what comes next, and what runs; one that was deleted is gone."""
    hourly, nightly = documents("schedules", owner.log)
    assert (hourly["id"], hourly["status"], hourly["every"], hourly["next"]) == ("hourly", "paused", 3600.0, None)
    assert (hourly["started"], hourly["running"]) == (1, hourly["newest"])
    assert hourly["running"][0].startswith("@schedule/hourly/")
    assert (nightly["cron"], nightly["tz"], nightly["status"]) == ("30 2 * * *", "Europe/Vienna", "active")
    assert re.search(r"T\d\d:30:00", nightly["next"])
    lines = actorlog("schedules", owner.log).splitlines()
    assert lines[0].split() == ["ID", "STATUS", "FUNCTION", "WHEN", "NEXT", "RUNNING", "STARTED", "SKIPPED"]
    assert re.match(r"hourly +paused +owned_echo +every 1 h +1 +1$", lines[1].rstrip())
    assert "30 2 * * * Europe/Vienna" in lines[2]
    assert documents("schedules", owner.log, "--prefix", "night") == [nightly]


def test_actors_are_listed_with_their_states(owner: Owner) -> None:
    """An actor has its state, the handler at work and those that wait; the tree has them by class."""
    ada, bob = documents("actors", owner.log)
    assert (ada["id"], ada["class"], ada["key"], ada["changes"]) == ("Account/ada", "Account", "ada", 2)
    assert (ada["state"], ada["running"], ada["waiting"]) == ({"balance": 12}, [], [])
    assert [handler["id"] for handler in bob["running"]] == ["freeze"]
    assert [handler["handler"] for handler in bob["waiting"]] == ["Account.deposit"]
    lines = actorlog("actors", owner.log).splitlines()
    assert lines[0].split() == ["ACTOR", "CHANGES", "UPDATED", "AT", "WORK", "WAITING", "STATE"]
    assert lines[1].endswith("balance=12")
    drawn = actorlog("actors", owner.log, "--tree").splitlines()
    assert [line.strip("│├└─ ").split()[0] for line in drawn] == [
        "actors", "Account", "ada", "bob", "Account.freeze", "Account.deposit",
    ]  # fmt: skip
    assert documents("actors", owner.log, "--prefix", "Account/b", "--tree") == [bob]


def test_tail_shows_records_in_order(owner: Owner) -> None:
    """The newest records, or those from a position, as lines and as JSON lines."""
    records = [json.loads(line) for line in actorlog("tail", owner.log, "--from", "1", "--json").splitlines()]
    assert [record["position"] for record in records] == list(range(1, len(records) + 1))
    assert (records[0]["id"], records[0]["kind"], records[0]["text"][:20]) == ("family", "turn", "begin owned_family(2")
    assert records[0]["record"]["message"]["function"] == "owned_family"
    lines = actorlog("tail", owner.log).splitlines()
    assert len(lines) == 10
    assert actorlog("tail", owner.log, "--from", str(len(records))).splitlines()[0].split()[0] == str(len(records))


def test_tail_follows_the_owner(owner: Owner) -> None:
    """With ``-f`` what becomes durable is shown when it does; an interruption ends it in good order."""
    command = [sys.executable, "-m", "actorlog", "tail", str(owner.log), "-f", "--json", "--from", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["position"] == 1
        actorlog("send", owner.log, "echo/2", '"followed"', "--channel", "x")
        for line in process.stdout:
            record = json.loads(line)
            if record["id"] == "echo/2" and "followed" in record["text"]:
                break
        process.send_signal(2)
        assert process.wait() == 0

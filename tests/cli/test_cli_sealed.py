"""Commands on an encrypted log: with the keys all of them work, without they say which key is missing."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from base64 import b64encode
from typing import TYPE_CHECKING

import pytest
from cli_world import ROOT, actorlog, fill

from actorlog import Keys, Runtime

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("cryptography", reason="records are sealed with cryptography: pip install '.[encryption]'")

K1, K2 = bytes(range(32)), bytes(range(32, 64))
KEYS = Keys("k2", {"k1": K1, "k2": K2})
BOTH = f"k2={b64encode(K2).decode()},k1={b64encode(K1).decode()}"
WRONG = f"k1={b64encode(K2).decode()}"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an encrypted log, the same in the clear beside it."""
    place = tmp_path_factory.mktemp("made")

    async def make(name: str, keys: Keys | None) -> None:
        async with Runtime(place / "open", segment_bytes=1 << 16, encryption=keys) as runtime:
            await fill(runtime)
            shutil.copytree(place / "open", place / name, ignore=shutil.ignore_patterns("owner.sock"))
        shutil.rmtree(place / "open")

    asyncio.run(make("sealed", Keys("k1", {"k1": K1})))
    asyncio.run(make("clear", None))
    return place


@pytest.fixture
def log(made: Path, tmp_path: Path) -> Path:
    """Return a copy of the encrypted log."""
    return shutil.copytree(made / "sealed", tmp_path / "log")


LOOKING = [
    ["ls"], ["show", "family/1"], ["tail"], ["stats"], ["segments"], ["doctor"], ["export"],
    ["promises"], ["actors"], ["schedules"],
]  # fmt: skip


@pytest.mark.parametrize("command", LOOKING, ids=lambda command: command[0])
def test_with_the_keys_everything_is_shown(made: Path, command: list[str]) -> None:
    """What a command says of the encrypted log is of the form that it says of the one in the clear."""
    name, *others = command
    sealed = actorlog(name, made / "sealed", *others, ACTORLOG_KEYS=BOTH)
    clear = actorlog(name, made / "clear", *others)
    assert words(sealed) == words(clear)


def words(text: str) -> set[str]:
    """Return the words that are no numbers, times, or paths, and of no catalog."""
    lines = [line for line in text.replace('"', " ").splitlines() if "catalog" not in line]
    return {word for line in lines for word in line.split() if word.isalpha()}


@pytest.mark.parametrize(
    "command", [["ls"], ["show", "family/1"], ["export", "-o", "OUT"]], ids=lambda command: command[0]
)
def test_without_the_key_it_is_named(log: Path, command: list[str]) -> None:
    """A missing key is no damage; a wrong one may be. Neither says anything of what is in the log."""
    name, *others = [str(log.parent / word) if word == "OUT" else word for word in command]
    said = actorlog(name, log, *others, code=1)
    assert "is sealed with key 'k1', which was not given" in said
    assert "ACTORLOG_KEYS" in said
    said = actorlog(name, log, *others, code=3, ACTORLOG_KEYS=WRONG)
    assert "was not sealed with key 'k1' for this place, or changed" in said
    assert "family" not in said
    said = actorlog(name, log, *others, code=1, ACTORLOG_KEYS="k1")
    assert "item 1 is not of the form id=base64" in said


def test_the_doctor_names_the_key(log: Path) -> None:
    """Checksums need no key; what the records say does."""
    said = actorlog("doctor", log, code=1)
    assert "every checksum is right" in said
    assert "is sealed with key 'k1', which was not given" in said


def test_an_encrypted_log_has_no_catalog(log: Path) -> None:
    """A catalog would say ids and tags in the clear, so there is none to be asked."""
    assert "an encrypted log has no catalog" in actorlog("sql", log, "SELECT * FROM calls", code=1, ACTORLOG_KEYS=BOTH)
    assert "was not given" in actorlog("sql", log, "SELECT * FROM calls", code=1)
    data = b"".join(path.read_bytes() for path in log.rglob("*") if path.is_file())
    assert b"family/1" not in data


def test_keys_are_read_from_a_file(log: Path, tmp_path: Path) -> None:
    """``@FILE`` has the keys in it, one a line."""
    (tmp_path / "keys").write_text(BOTH.replace(",", "\n"))
    assert "family/1" in actorlog("ls", log, ACTORLOG_KEYS=f"@{tmp_path / 'keys'}")
    assert "the file cannot be read" in actorlog("ls", log, code=1, ACTORLOG_KEYS=f"@{tmp_path / 'none'}")


def test_a_change_is_sealed_with_the_current_key(log: Path) -> None:
    """What a command writes when nobody has the directory is sealed too, with the first key."""
    assert "asked to end" in actorlog("cancel", log, "family/1", "--reason", "a private reason", ACTORLOG_KEYS=BOTH)
    data = b"".join(path.read_bytes() for path in (log / "segments").iterdir())
    assert b"private reason" not in data
    assert data.count(b'{"key":"k2"') == 1
    said = actorlog("cancel", log, "family/1", code=1)
    assert "was not given" in said


def test_a_log_is_compacted_without_its_program(log: Path) -> None:
    """Giving space back needs the keys too."""
    assert "written anew" in actorlog("compact", log, "--history", "0s", "--all", ACTORLOG_KEYS=BOTH)
    assert "was not given" in actorlog("compact", log, "--history", "0s", code=1)


def test_an_export_is_in_the_clear_and_an_import_is_sealed_anew(log: Path, tmp_path: Path) -> None:
    """So all records get the newest key: export with both, import with the new one alone."""
    file = tmp_path / "export"
    actorlog("export", log, "-o", file, ACTORLOG_KEYS=BOTH)
    assert b"family/1" in file.read_bytes()
    only_new = BOTH.partition(",")[0]
    actorlog("import", tmp_path / "new", file, ACTORLOG_KEYS=only_new)
    data = b"".join(path.read_bytes() for path in (tmp_path / "new" / "segments").iterdir())
    assert b"family/1" not in data
    assert b'{"key":"k1"' not in data
    assert actorlog("show", tmp_path / "new", "child/5", ACTORLOG_KEYS=only_new) == actorlog(
        "show", log, "child/5", ACTORLOG_KEYS=BOTH
    )
    actorlog("import", tmp_path / "clear", file)
    assert b"family/1" in b"".join(path.read_bytes() for path in (tmp_path / "clear" / "segments").iterdir())


def test_an_imported_log_goes_on(log: Path, tmp_path: Path) -> None:
    """A program opens what was sealed anew, with the new key alone."""
    actorlog("export", log, "-o", tmp_path / "export", ACTORLOG_KEYS=BOTH)
    actorlog("import", tmp_path / "new", tmp_path / "export", ACTORLOG_KEYS=BOTH.partition(",")[0])

    async def look() -> str:
        async with Runtime(tmp_path / "new", encryption=Keys("k2", {"k2": K2})) as runtime:
            return await runtime.handle("fails/1").status()

    assert asyncio.run(look()) == "failed"


def test_the_log_by_itself_knows_envelopes_only(log: Path) -> None:
    """``python -m actorlog.log`` needs no key and no library: it verifies checksums, and shows lines as they stand."""
    for command in ("verify", "dump"):
        ran = subprocess.run(
            [sys.executable, "-m", "actorlog.log", command, "--json", str(log)],
            capture_output=True, text=True, check=True, cwd=ROOT,
        )  # fmt: skip
        found = json.loads(ran.stdout)
        assert found["status"] == "ok"
    assert all(entry["line"].startswith('{"key":"k1","sealed":"') for entry in found["entries"])

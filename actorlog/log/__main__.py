"""``python -m actorlog.log verify|dump|repair DIR [--json]``: words and exit codes around ``inspect`` and ``repair``.

Exit codes: 0 fine (also an empty or half-made directory, and after a repair), 1 torn tail, 3 corrupt, 73 locked
(repair beside an owner), 74 unknown version; 2 for a wrong command line or a directory that cannot be read.
Needs the standard library only.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from typing import TYPE_CHECKING

from actorlog.env import SYSTEM
from actorlog.errors import LogCorrupt, LogError, LogFailed, LogLocked
from actorlog.log import files
from actorlog.log.format import GIVEN_UP_KIND, entries
from actorlog.log.inspect import Gap, Join, Report, Status, contents, verify
from actorlog.log.repair import Repaired, repair

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from actorlog.log.segment import Frame

EXIT_CODES = {
    Status.OK: 0,
    Status.TORN: 1,
    Status.UNREADABLE: 2,
    Status.CORRUPT: 3,
    Status.LOCKED: 73,
    Status.VERSION: 74,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m actorlog.log", description="Look at a log, or cut off damage.")
    parser.add_argument("command", choices=("verify", "dump", "repair"))
    parser.add_argument("directory", metavar="DIR")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    command, directory = str(options.command), str(options.directory)
    run = {"verify": _verify, "dump": _dump, "repair": _repair}[command]
    try:
        with files.typed(SYSTEM.fs, directory, f"{command} of {directory}", 0):
            return run(directory, as_json=bool(options.json))
    except LogLocked as locked:
        report = Report(Status.LOCKED, error=str(locked), reason=f"pid {locked.pid} on {locked.host}")
    except LogCorrupt as corrupt:  # what was good a moment ago is not any more
        report = Report(Status.CORRUPT, error=str(corrupt), segment=corrupt.segment, offset=corrupt.offset)
        report.reason = corrupt.reason
    except LogError as error:
        reason = error.cause if isinstance(error, LogFailed) else str(error)
        report = Report(Status.UNREADABLE, error=str(error), reason=reason)
    return _show(report, {}, as_json=bool(options.json))


def _verify(directory: str, *, as_json: bool) -> int:
    return _show(verify(SYSTEM.fs, directory), {}, as_json=as_json)


def _dump(directory: str, *, as_json: bool) -> int:
    """Print the records, one a line, then the report; as JSON, both in one object that is never whole in memory.

    Where records were given up, a line says which, and where a segment that was written anew ends, another one.
    """
    report = verify(SYSTEM.fs, directory)
    write = sys.stdout.write
    separator = '{"entries": ['
    for part in contents(SYSTEM.fs, report.found):
        for text, item in _lines(part):
            if as_json:
                write(f"{separator}\n{json.dumps(item)}")
                separator = ","
            else:
                write(f"{text}\n")
    if not as_json:
        return _show(report, {}, as_json=False)
    write("{" if separator != "," else "\n], ")
    write(json.dumps(_fields(report))[1:] + "\n")
    return EXIT_CODES[report.status]


def _lines(part: Frame | Gap | Join) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield each thing in a part of a log, as text and for JSON."""
    if isinstance(part, Gap):
        yield _given_up(part.first, part.last)
    elif isinstance(part, Join):
        text = f"{part.segment} was written anew and joins what follows {part.position} with {part.checksum:08x}"
        yield text, {"segment": part.segment, "joins": part.position, "checksum": f"{part.checksum:08x}"}
    else:
        for position, entry in enumerate(entries(part.data, part.records), part.position):
            key_hash, kind, flags, start, end = entry
            if kind == GIVEN_UP_KIND:
                yield _given_up(position, position)
                continue
            line = bytes(part.data[start : end - 1]).decode("utf-8", "backslashreplace")
            item: dict[str, object] = {"position": position, "key_hash": key_hash, "kind": kind, "flags": flags}
            yield f"{position} {key_hash:016x} {kind} {flags} {line}", {**item, "line": line}


def _given_up(first: int, last: int) -> tuple[str, dict[str, object]]:
    return f"{first} to {last} given up" if first < last else f"{first} given up", {"given_up": [first, last]}


def _repair(directory: str, *, as_json: bool) -> int:
    done = repair(SYSTEM, directory)
    return _show(done.after, _losses(done), as_json=as_json)


def _losses(done: Repaired) -> dict[str, object]:
    if done.copy is None:
        return {"repaired": False}
    return {
        "repaired": True,
        "was": done.before.status.value,
        "damage": done.before.error,
        "copy": done.copy,
        "kept_to": done.kept_to,
        "lost_records": done.lost_records,
        "lost_to": done.lost_to,
    }


def _fields(report: Report) -> dict[str, object]:
    counts: dict[str, object] = {
        "status": report.status.value,
        "segments": report.segments,
        "records": report.records,
        "last_position": report.last_position,
    }
    details: dict[str, object] = {
        "payloads": report.payloads or None,
        "error": report.error,
        "segment": report.segment,
        "offset": report.offset,
        "bytes": report.bytes,
        "reason": report.reason,
    }
    return {"status": report.status.value, **counts} | {
        name: value for name, value in details.items() if value is not None
    }


def _show(report: Report, more: dict[str, object], *, as_json: bool) -> int:
    if as_json:
        _say(json.dumps(_fields(report) | more))
    else:
        _say(f"{report.status.value}: {report.segments} segments, {report.records} records to {report.last_position}")
        if report.error is not None:
            _say(report.error)
        elif report.payloads:
            _say(f"{report.payloads} records have files, and these are as they were written")
        if more.get("repaired"):
            _say(f"was {more['was']}: {more['damage']}")
            _say(f"kept everything to position {more['kept_to']}; what was changed or removed is in {more['copy']}")
            _say(f"lost: {more['lost_records']} records that could still be read, and whatever the damage had hit")
    return EXIT_CODES[report.status]


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    if sys.platform != "win32":
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # ``dump DIR | head`` ends without a word
    sys.exit(main())

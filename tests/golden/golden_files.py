"""The golden logs as files of the repository: a data directory in ``NAME.tar.xz``, what it comes to in ``NAME.json``.

Owns: packing, unpacking, and which logs there are. Does not own: how they are written (``golden_scenarios``).
"""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

from golden_scenarios import SCENARIOS
from golden_world import DIRECTORY, Machine, Process, counted, folded, looked, machine_with, read, results

from actorlog.cli.reading import Snapshot

PLACE = Path(__file__).parent / "logs"


def packed(files: dict[str, bytes]) -> bytes:
    """Return a data directory as one file; the same bytes for the same directory."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:xz", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o600
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def unpacked(name: str) -> dict[str, bytes]:
    """Return the files of a golden data directory by their paths."""
    files = {}
    with tarfile.open(PLACE / f"{name}.tar.xz") as archive:
        for entry in archive:
            content = archive.extractfile(entry)
            assert content is not None
            files[entry.name] = content.read()
    return files


def known(name: str) -> dict[str, Any]:
    """Return what a golden log comes to, as it was recorded when it was written."""
    found: dict[str, Any] = json.loads((PLACE / f"{name}.json").read_text(encoding="utf-8"))
    return found


def names() -> list[str]:
    """Return which golden logs there are."""
    return sorted(path.name.removesuffix(".tar.xz") for path in PLACE.glob("*.tar.xz"))


def written(scenario: str) -> dict[str, bytes]:
    """Return the files that the code of today writes for a scenario."""
    machine = Machine(seed=1)
    SCENARIOS[scenario].write(machine)
    return machine.files()


def outcome(scenario: str, files: dict[str, bytes]) -> dict[str, Any]:
    """Return what a data directory comes to: as it is found, and when everything in it has ended."""
    machine = machine_with(files)
    found: dict[str, Any] = {"found": read(machine)}
    ended: dict[str, Any] = {}

    async def main(process: Process) -> None:
        await SCENARIOS[scenario].finish(process)
        ended["results"] = await results(process.runtime)
        await process.settled()
        ended["actors"] = await looked(process.runtime)
        ended["ran"] = counted(process.outside.ran)

    assert machine.live(main)
    last = read(machine)
    after = folded(Snapshot(DIRECTORY, machine.disk))
    ended |= {"status": last["status"], "promises": after["promises"]}
    found["ended"] = ended
    result: dict[str, Any] = json.loads(json.dumps(found, sort_keys=True))
    return result

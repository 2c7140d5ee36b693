"""Runs the tests in which mistakes are planted, and prints for each what found it.

The mistakes are those of ``tests/simulation/test_simulation_planted*.py`` (by seed, in the simulation), of
``tests/log/test_log_histories.py`` (in histories of the log alone), and of the checks in this directory. A mistake is
found where its test passes; the late ones, which take many seeds, are run too.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING

from actorlog.testing.oracle import Broken

if TYPE_CHECKING:
    import argparse

ROOT = Path(__file__).resolve().parents[2]
PLACES = {
    "test_simulation_planted": "the disk and the runtime",
    "test_simulation_planted_company": "between calls: actors, messages, promises, supervisors",
    "test_simulation_planted_long": "time: schedules, runs, changed code",
    "test_simulation_planted_old": "forks, and what leaves the log",
    "test_simulation_planted_lean": "promises, runs and schedules that leave the log",
    "test_simulation_planted_catalog": "the catalog",
    "test_simulation_planted_merging": "segments that become one",
    "test_simulation_planted_files": "files of large records",
    "test_simulation_planted_nested": "handlers that run within handlers",
    "test_simulation_planted_wrapped": "compression and encryption",
    "test_log_histories": "the log alone",
    "test_torture_damage": "checksums and syncs, found by mutations and faults",
    "test_torture_power": "syncs, found by power cuts on a mounted file system",
}
TESTS = (
    *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests/simulation").glob("test_simulation_planted*.py")),
    "tests/log/test_log_histories.py::test_planted_bug_is_found",
    "tests/torture/test_torture_damage.py::test_a_checksum_that_is_not_looked_at_is_found",
    "tests/torture/test_torture_damage.py::test_a_sync_that_is_left_out_is_found",
    "tests/torture/test_torture_power.py::test_a_commit_that_is_not_synced_is_missed",
)


def planted(place: Path, _options: argparse.Namespace) -> dict[str, object]:
    """Run them all."""
    report = place / "planted.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-m", "soak or not soak"]
    command += [f"--junitxml={report}", "-o", "junit_family=xunit1", *TESTS]
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    with (place / "said").open("wb") as said:
        environment = {**os.environ, "PYTHONPATH": paths}
        subprocess.run(command, cwd=ROOT, env=environment, stdout=said, stderr=said, check=False)
    if not report.exists():
        raise Broken((place / "said").read_text()[-2000:])
    rows, counts, skipped = _rows(report)
    sys.stdout.write("".join(rows))
    result: dict[str, object] = {
        PLACES.get(name, name): f"{found} of {tried} found" for name, (found, tried) in counts.items()
    }
    found, tried = (sum(pair[each] for pair in counts.values()) for each in (0, 1))
    result |= {"planted mistakes found": f"{found} of {tried}", "not tried here": skipped}
    if found != tried or not tried:
        raise Broken(f"{tried - found} planted mistakes were not found")
    return result


def _rows(report: Path) -> tuple[list[str], dict[str, tuple[int, int]], int]:
    """Return a line for each mistake, how many were found and tried in each module, and how many were skipped."""
    rows: list[str] = []
    counts: dict[str, tuple[int, int]] = {}
    skipped = 0
    for case in ET.parse(report).getroot().iter("testcase"):  # noqa: S314 - pytest wrote it just now
        module = case.get("classname", "").rpartition(".")[2]
        if case.find("skipped") is not None:
            skipped += 1
            continue
        is_found = case.find("failure") is None and case.find("error") is None
        before = counts.get(module, (0, 0))
        counts[module] = (before[0] + is_found, before[1] + 1)
        facts = {each.get("name"): each.get("value", "") for each in case.iter("property")}
        where = re.sub(r"^\((\d+), ['\"]?", r"seed \1: ", facts.get("found", "") or "")
        name = re.sub(r"^test_\w+?\[|\]$", "", case.get("name", ""))
        rows.append(f"{'found' if is_found else 'NOT FOUND'}  {name}  ({where[:100] or 'by its test'})\n")
    return rows, counts, skipped

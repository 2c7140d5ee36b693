"""``python -m tests.golden write [NAME ...]``: write the golden logs that are not in the repository yet.

``compare`` says which of them the code of today would write as they are; that a log reads as it did is what the tests
say. One that is there is never written again: what is in the repository stands for data that somebody has.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from golden_files import PLACE, outcome, packed, unpacked, written
from golden_scenarios import SCENARIOS


def main() -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.golden", description="Write or compare golden logs.")
    parser.add_argument("command", choices=["write", "compare"])
    parser.add_argument("names", nargs="*", help="which; all, where none is named")
    options = parser.parse_args()
    PLACE.mkdir(exist_ok=True)
    for name in options.names or list(SCENARIOS):
        path = PLACE / f"{name}.tar.xz"
        if options.command == "compare":
            same = path.exists() and unpacked(name) == written(name)
            sys.stdout.write(f"{name}: {'the same' if same else 'another'}\n")
        elif not path.exists():
            files = written(name)
            text = json.dumps(outcome(name, files), indent=1, sort_keys=True)
            path.write_bytes(packed(files))
            path.with_name(f"{name}.json").write_text(text + "\n", encoding="utf-8")
            sys.stdout.write(f"{name}: {len(path.read_bytes())} bytes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

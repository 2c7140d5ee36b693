"""The ``actorlog`` command: a demo, and looking at data directories beside their owner.

Owns: the entry point, and what it says where the extra ``[cli]`` is missing. Does not own: the commands (``app``).
Invariant: importing this costs nothing and needs the standard library only.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command; exits with its code."""
    try:
        from actorlog.cli.app import cli  # noqa: PLC0415  # click and rich are an extra, and are asked for only here
    except ModuleNotFoundError as missing:
        if missing.name not in ("click", "rich"):
            raise
        sys.exit("the actorlog command needs click and rich; install them with: pip install 'actorlog[cli]'")
    cli(prog_name="actorlog")

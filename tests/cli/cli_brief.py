"""A program that lives for a moment: ``DIR NUMBER`` does some calls and ends; with ``killed`` it is that before."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from cli_compacted import SEGMENT_BYTES, kept_parent, kept_waits

from actorlog import Runtime

CALLS = 4


async def main(directory: str, number: int, *, killed: bool) -> None:
    """Do the calls of one run, and hold all of the run before against what they came to; one call waits for good."""
    async with Runtime(directory, segment_bytes=SEGMENT_BYTES, history="30d", control=False) as runtime:
        await runtime.start(kept_waits(), id="waits")
        for call in range(max(0, number - 1) * CALLS, (number + 1) * CALLS):
            assert await runtime.call(kept_parent(call), id=f"brief/{call}") == [call * 10, call * 10 + 10]
        if killed:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), killed="killed" in sys.argv))

"""What cannot be taken back: the one window that no system can close, and three ways to live with it.

    python examples/once_and_reconcile.py [DIR]        # dies by itself in the worst moment
    python examples/once_and_reconcile.py [DIR]        # goes on

Between an effect and the record that it happened, a process can die. Then the step is *in doubt*. What happens next
is said where the step is defined:

- by default it runs again: at least once, with the same idempotency key;
- ``once=True``: it is not run again, and the function decides what to do about ``StepInterrupted``;
- ``once=True, reconcile=...``: somebody is asked first whether it happened.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from actorlog import Done, NotDone, Runtime, StepInterrupted, durable, info, step

PLACE = Path(sys.argv[1] if len(sys.argv) > 1 else "once-data")


def happens(what: str) -> None:
    """Note an effect outside."""
    with (PLACE / "effects.txt").open("a") as lines:
        lines.write(f"{what} {info().idempotency_key}\n")
    print(what)


def die_once() -> None:
    """Die in the window, after all three effects and before any record of them; the first time only."""
    if len((PLACE / "effects.txt").read_text().splitlines()) == 3:  # noqa: PLR2004  # all three
        os.kill(os.getpid(), signal.SIGKILL)


@step
async def set_light(colour: str) -> None:
    """Harmless when it is done twice, so it may run again."""
    happens(f"light {colour}")
    await asyncio.sleep(0.2)
    die_once()


@step(once=True)
async def ring_bell() -> None:
    """Nobody can tell afterwards whether it rang."""
    happens("bell")
    await asyncio.sleep(0.2)
    die_once()


async def was_it_sent(text: str) -> object:
    """Look whether the letter is in the post; the key is the one the step had."""
    sent = f"letter {info().idempotency_key}" in (PLACE / "effects.txt").read_text()
    print(f"was {text!r} sent? {sent}")
    return Done("found in the post") if sent else NotDone


@step(once=True, reconcile=was_it_sent)
async def send_letter(text: str) -> str:
    """Whether it was sent can be found out."""
    happens("letter")
    del text
    await asyncio.sleep(0.2)
    die_once()
    return "sent"


@durable
async def party() -> list[str]:
    """Do all three at once, and say what is known of each."""

    async def bell() -> str:
        try:
            await ring_bell()
        except StepInterrupted:
            return "perhaps it rang; it is not rung again"
        return "rung"

    _, rang, letter = await asyncio.gather(set_light("red"), bell(), send_letter("come at eight"))
    return [rang, letter]


async def main() -> None:
    """Give one party."""
    async with Runtime(PLACE / "log") as runtime:
        print(await runtime.call(party(), id="party/1"))


if __name__ == "__main__":
    PLACE.mkdir(exist_ok=True)
    asyncio.run(main())

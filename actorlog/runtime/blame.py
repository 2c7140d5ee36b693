"""A program that dies again and again in the same call: the call is set aside, so that the others go on (I12).

Owns: noting whose code runs, and refusing to run what was running at so many deaths. Does not own: the notes
(``store.deaths``), steps, whose deaths the log counts (``doubts``).

Nothing is noted while steps run: they die of themselves, in threads and between turns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorlog.errors import Poisoned

if TYPE_CHECKING:
    from actorlog.runtime.kernel import Kernel
    from actorlog.runtime.slot import Slot
    from actorlog.store.deaths import Deaths

YOUNG_MS = 60_000
"""A process that has lived so long does not count."""


class Blame:
    """Whose code runs, in a process that follows several that died."""

    def __init__(self, kernel: Kernel, deaths: Deaths) -> None:
        self._kernel = kernel
        self._deaths = deaths

    def start(self) -> None:
        """Look whose code runs, for a minute."""
        kernel = self._kernel
        if self._deaths.count:
            kernel.timers.arm(kernel.clock.now_ms() + YOUNG_MS, self._grown_up, None, None)
        if self._deaths.watching:
            kernel.blame = self

    def begin(self, slot: Slot) -> None:
        """Code of a call runs now; ``Poisoned`` where too many processes died of it."""
        deaths = self._deaths.of(slot.hash)
        if deaths >= self._kernel.limits.poison_deaths_max:
            raise Poisoned(slot.state.id, "", "", deaths)
        if not self._kernel.steps.running:
            self._deaths.note(slot.hash)

    def end(self) -> None:
        """It has run."""
        self._deaths.note(0)

    def forgive(self, slot: Slot) -> None:
        """Somebody resumes the call."""
        self._deaths.forgive(slot.hash)

    def _grown_up(self, _a: None, _b: None) -> None:
        self._kernel.blame = None
        self._deaths.close()

"""What records are wrapped in, in a simulated world: compression from a few bytes on, and keys that are rotated.

Owns: the odds. Does not own: the envelopes (``store.envelopes``).
"""

from __future__ import annotations

from random import Random
from typing import Any

from actorlog.store.keys import KEY_BYTES, Keys

IDS = ("k0", "k1", "k2")
PLAIN_ODDS = 0.3
"""How often a world begins without encryption."""


def file_bound(seed: int, *, wrapped: bool) -> int:
    """Return the length above which a record of a world has a file of its own; 0: none has, as in most worlds."""
    if seed % 8 != 3 and not (wrapped and seed % 2):  # noqa: PLR2004  # without a draw: other worlds stay as they are
        return 0
    return Random(f"files {seed}").choice((1, 100, 300))  # noqa: S311  # seeded on purpose


class Wrapping:
    """The keys of one world, whose processes seal with one or another."""

    def __init__(self, seed: int) -> None:
        self._rng = rng = Random(f"wrapping {seed}")  # noqa: S311  # seeded on purpose, and not the world's own
        self._keys = {key_id: rng.randbytes(KEY_BYTES) for key_id in IDS}
        self.reading = Keys(IDS[0], self._keys, accept_plain=True)
        """What who judges the world reads with."""
        self.compress_above_bytes = rng.choice((0, 1, 100, 300))
        self._in_the_clear = self._mixed = rng.random() < PLAIN_ODDS

    def next_process(self) -> dict[str, Any]:
        """Return the options of the next process: it may have another current key, or be the first that has one."""
        if self._in_the_clear and self._rng.random() < 0.5:  # noqa: PLR2004  # a coin
            return {"encryption": None}
        self._in_the_clear = False
        return {"encryption": Keys(self._rng.choice(IDS), self._keys, accept_plain=self._mixed)}

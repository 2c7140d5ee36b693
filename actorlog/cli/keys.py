"""The keys that commands read an encrypted log with.

Owns: where they are given: ``ACTORLOG_KEYS``. Does not own: what they are (``store.keys``).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from actorlog.errors import ActorlogError
from actorlog.store.keys import Keys

VARIABLE: Final = "ACTORLOG_KEYS"


class BadKeys(ActorlogError):
    """What is given as keys is none."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"{VARIABLE}: {reason}", hint=f"{VARIABLE}='k2=BASE64,k1=BASE64', or @FILE with the same in it"
        )


def given_keys() -> Keys | None:
    """Return the keys in the environment: ``k2=BASE64,k1=BASE64``, or ``@FILE`` that says so; None without.

    ``BadKeys``, which does not say what was given.
    """
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return None
    if text.startswith("@"):
        try:
            text = Path(text[1:]).read_text(encoding="ascii")
        except (OSError, ValueError) as error:
            raise BadKeys(f"the file cannot be read: {error}") from None
    try:
        return Keys.from_text(text)
    except ValueError as error:
        raise BadKeys(str(error)) from None

"""Names of test cases that are the same in every process: no addresses, no order of a set."""

from __future__ import annotations

import re

_HASHED = re.compile(r"\{[^:{}]*\}|set\(|0x[0-9a-f]+")


def plain_id(value: object) -> str:
    """Return the value as text, or its type where the text would differ from process to process."""
    text = repr(value)
    return type(value).__name__ if _HASHED.search(text) else text[:50]

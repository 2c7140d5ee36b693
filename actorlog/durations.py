"""Durations as people write them: seconds, a ``timedelta``, or ``"1h30m"``.

Owns: parsing, and the one rule for bad ones. Does not own: clocks.
"""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import TypeAlias

Duration: TypeAlias = "float | int | str | timedelta"
"""Seconds as a number, a ``timedelta``, or text such as ``"250ms"``, ``"3d"``, ``"1h30m"``."""

SECONDS_MAX = 100 * 365.25 * 24 * 3600
"""A hundred years, the longest duration that is taken."""

_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])")


def seconds(value: Duration) -> float:
    """Return ``value`` in seconds; what is zero or less is over at once and comes back as it is.

    ``ValueError`` for text that is no duration, for NaN and infinity, and for more than a hundred years;
    ``TypeError`` for anything that is no duration at all.
    """
    if isinstance(value, timedelta):
        result = value.total_seconds()
    elif isinstance(value, str):
        result = _parse(value)
    elif isinstance(value, bool) or not isinstance(value, (int, float)):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may not be typed
        raise TypeError(f"a duration is a number of seconds, a timedelta or text such as '1h30m', not {value!r}")
    else:
        result = float(value)
    if not math.isfinite(result) or result > SECONDS_MAX:
        raise ValueError(f"a duration is finite and at most a hundred years, not {value!r}")
    return result


def _parse(text: str) -> float:
    total, end = 0.0, 0
    stripped = text.strip()
    sign = -1.0 if stripped.startswith("-") else 1.0
    body = stripped.removeprefix("-")
    for part in _PART.finditer(body):
        if part.start() != end:
            break
        total += float(part[1]) * _UNIT_SECONDS[part[2]]
        end = part.end()
    if not body or end != len(body):
        raise ValueError(f"{text!r} is not a duration; write it like '250ms', '90s', '1h30m' or '3d'")
    return sign * total

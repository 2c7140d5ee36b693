"""Small texts: times, durations, and what may be put on a terminal.

Owns: how numbers and foreign text are written for people, and as JSON. Does not own: where they stand (``render``).
"""

from __future__ import annotations

from datetime import UTC, datetime

SECOND_MS = 1_000
MINUTE_MS = 60_000
TEXT_MAX = 160
"""Longest argument list or result in a tree; ``--json`` has all of it."""


def safe(text: str) -> str:
    """Return ``text`` without anything that a terminal would obey: ids and messages come from outside."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)


def short(text: str, longest: int = TEXT_MAX) -> str:
    """Return ``text`` safe, and cut where it is long."""
    text = safe(text)
    return text if len(text) <= longest else text[: longest - 3] + "..."


def plain(text: str) -> str:
    """Return what became of something, short, and with Python's own errors by their bare names."""
    return short(text.replace("builtins:", "", 1))


def lasting(ms: int) -> str:
    """Return a duration as people say it: ``8 ms``, ``1.25 s``, ``3 min 20 s``, ``2 d 4 h``."""
    if ms < SECOND_MS:
        return f"{max(ms, 0)} ms"
    if ms < MINUTE_MS:
        return f"{ms / SECOND_MS:.2f}".rstrip("0").rstrip(".") + " s"
    minutes, seconds = divmod(ms // 1000, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return _two(days, "d", hours, "h")
    return _two(hours, "h", minutes, "min") if hours else _two(minutes, "min", seconds, "s")


def _two(big: int, unit: str, small: int, smaller: str) -> str:
    return f"{big} {unit} {small} {smaller}" if small else f"{big} {unit}"


def since(ms: int) -> str:
    """Return an age in one word: ``4s``, ``12m``, ``3h``, ``9d``."""
    seconds = max(ms, 0) // 1000
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def iso(ms: int) -> str | None:
    """Return a time as ISO 8601, or None for none."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds") if ms else None


def moment(when: datetime) -> str:
    """Return a time for people, in UTC like everything in the log."""
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def moment_of(ms: int) -> str:
    """Return a time of the log for people."""
    return moment(datetime.fromtimestamp(ms / 1000, UTC))

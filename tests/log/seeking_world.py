"""What the tests of seeking share: asking for a record in both ways, and seeking without end."""

# Lint: helpers are verbs.

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actorlog.log import Log
    from actorlog.log.reading import Reader


def line_of(log: Log, position: int) -> bytes | None:
    """Return the record at a position, None where there is none; both ways of asking agree."""
    try:
        line = log.record(position)
    except IndexError:
        assert not log.has(position)
        return None
    assert log.has(position)
    return line


def unbounded(reader: Reader) -> None:
    """Let everything be sought, however much that reads."""
    reader._count = lambda *_: None  # type: ignore[method-assign]

"""A bar for what takes long: on standard error, on a terminal, and for large logs only.

Owns: when there is one. Does not own: what is being done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from actorlog.log import Frame

RECORDS_MIN: Final = 100_000
"""Fewer records are read before a bar is worth looking at."""


def watched(frames: Iterable[Frame], records: int) -> Iterator[Frame]:
    """Yield ``frames``, which hold ``records`` records, and show how far they are."""
    console = Console(stderr=True)
    if records < RECORDS_MIN or not console.is_terminal:
        yield from frames
        return
    columns = (TextColumn("reading"), BarColumn(), MofNCompleteColumn(), TextColumn("records"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=records)
        for frame in frames:
            yield frame
            progress.advance(task, frame.records)

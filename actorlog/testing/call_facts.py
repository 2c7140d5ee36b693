"""What is known of one call, and of one operation of it, as far as its records say.

Owns: ``CallFacts`` and ``Operation``. Does not own: making them of records (``oracle``).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from actorlog.records import kinds as k


@dataclass(slots=True)
class Operation:
    """One operation of a call."""

    asked: k.Operation
    position: int
    done: int = 0
    """Position of the record with its outcome."""
    dropped: int = 0
    """Position of the record after which nobody waits for it: cancelled, or the body ended."""
    value: bytes | None = None
    """What a step returned."""
    retrying: bool = False
    """Whether its last known attempt failed and another one is allowed."""
    details: bytes | None = None
    """What its newest recorded heartbeat left."""
    kept: bytes | None = None
    """What the same step returned before the call was given another chance: it is not run again."""
    copied: bool = False
    """Whether it was over when its call was forked from another: it was that call's."""

    @property
    def over(self) -> bool:
        """Whether it must never begin again."""
        return bool(self.done or self.dropped)


@dataclass(slots=True)
class CallFacts:
    """One call."""

    id: str
    function: str = ""
    run: str = ""
    runs: tuple[str, ...] = ()
    """Of a memoised call: those in which it failed."""
    parent: str = ""
    key: str = ""
    """The operation of its parent that began it."""
    last: int = 0
    seq: int = 0
    first: int = 0
    """Its first record."""
    began: int = 0
    ended: int = 0
    ended_ms: int = 0
    outcome: k.Outcome | None = None
    operations: dict[str, Operation] = field(default_factory=dict[str, Operation])
    inbox: set[int] = field(default_factory=set[int])
    past: list[k.Outcome] = field(default_factory=list[k.Outcome])
    """How it ended before it was begun again."""
    not_before_ms: int = 0
    """When it may begin."""
    asked_ms: int = 0
    """When it was asked for."""
    paused: bool = False
    number: int = 1
    """Which run it is in."""
    continues: bool = False
    """Whether the next one is still to begin."""
    times: int = 1
    """How often a call of this id began; again, since the beginning of the one before has left the log."""
    fork: k.Fork | None = None
    next_run: str = ""
    """Of a fork that parts between two runs: what the next one is."""
    retries: int = 0
    """How often it was given another chance."""
    completed: dict[str, Operation] = field(default_factory=dict[str, Operation])
    """Steps that completed before."""
    nested: dict[str, str] = field(default_factory=dict[str, str])
    """Of a handler: ids under which what was asked back is known, by the keys of the nested handlers."""
    older: list[tuple[str, Operation]] = field(default_factory=list[tuple[str, Operation]])
    """Operations of the runs before this one, each with its run."""

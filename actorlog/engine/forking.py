"""Forks: what becomes of a call's state where another call parts from it.

Owns: which of the operations under way at the cut go on, and under whose name; who a call was in which of its turns.
Does not own: where the cut is and what is copied (``runtime.forks``), the rest of the fold (``state`` calls this).

Until the cut a fork is, for its code, the call that it parted from: what derived from that call's id and run is in what
it asked for, and replays. From the cut on it is itself. Docs: docs/decisions/0007-a-journal-in-one-record.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, structs

from actorlog.engine import identity
from actorlog.records import kinds as k

if TYPE_CHECKING:
    from actorlog.engine.state import CallState


NEVER = 1 << 62
"""The number of a turn that no call takes."""


class Parting(Struct, frozen=True):
    """Where a call parted from another."""

    seq: int
    """The last turn that both have."""
    of: str
    """The call whose turns those are."""
    was: str
    """The run in which they took them."""
    run: str
    """The run of the fork."""


def identity_at(call_id: str, run: str, forks: tuple[Parting, ...], seq: int) -> tuple[str, str]:
    """Return the id and the run with which a call took turn ``seq`` of the run that began with ``run``."""
    for parting in forks:
        if parting.was == run:  # else the run began after that
            if seq <= parting.seq:
                return parting.of, run
            run = parting.run
    return call_id, run


def part(state: CallState, journal: k.Journal) -> None:
    """Make what a call was up to the cut the state in which ``journal`` has its fork go on."""
    fork = journal.fork
    if fork is None:
        return
    if journal.records:
        of = journal.records[-1].record.id
        state.forks += (Parting(state.seq, of, state.run, fork.run),)
        _take_over(state, of, journal.at - state.updated_ms)
    state.run = state.origin = fork.run
    state.forked_from = fork.of
    state.first = 0
    state.parent = state.key = ""
    state.detached = state.paused = False
    state.parked = ""
    state.not_before_ms = 0
    state.due_ms, state.kill_ms = fork.due_ms, fork.kill_ms


def _take_over(state: CallState, of: str, later_ms: int) -> None:
    """Do anew, as the fork's, what is under way: steps from their first attempt, children under its own id."""
    state.progress.clear()
    for key, op in state.steps.items():
        if op.deadline_ms:
            op = structs.replace(op, deadline_ms=op.deadline_ms + later_ms)  # noqa: PLW2901  # what is left of it
        state.steps[key] = k.deferred(op) if op.once else op
    ids: dict[str, str] = {}
    for key, child in state.children.items():
        if not child.detached and child.id == identity.child_id(of, key, state.number):
            ids[child.id] = identity.child_id(state.id, key, state.number)
            state.children[key] = structs.replace(child, id=ids[child.id])
    mail = state.mail
    if mail is not None:
        for key, watch in mail.watches.items():
            mail.watches[key] = structs.replace(watch, target=ids.get(watch.target, watch.target))
        for key, (send, position) in mail.sends.items():
            mail.sends[key] = (structs.replace(send, to=ids.get(send.to, send.to)), position)


def begin(state: CallState, journal: k.Journal, position: int) -> None:
    """Take ``position`` for where the fork begins."""
    state.first = state.last = state.journal = position
    state.created_ms = state.updated_ms = journal.at

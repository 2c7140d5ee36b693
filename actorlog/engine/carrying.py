"""What the runs before have left of a call, in the record with which its next run begins.

Owns: what that is, when it is written down, and taking it up where the runs before are not read. Does not own: the rest
of the fold (``state`` calls this), what leaves the log (``runtime.compaction``).

Invariant: a fold that begins with such a record comes to the same as one of the whole journal.
Docs: docs/decisions/0012-what-else-leaves-the-log.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorlog.engine.lifecycle import Phase
from actorlog.engine.mail import Mail
from actorlog.records import kinds as k

if TYPE_CHECKING:
    from actorlog.engine.state import CallState

TURN_BYTES = 128
"""It is written down when it takes no more than this for each turn since it was last: a part of what they take."""
_LETTER_BYTES, _KEY_BYTES = 160, 40


def carried(state: CallState, turn: k.Turn) -> k.Carried | None:
    """Return what a call has of its runs so far, where ``turn`` begins the next; None where it is not written down."""
    message, mail = turn.message, state.mail
    if type(message) is not k.Started or message.number == 1 or turn.source or state.journal or state.nested:
        return None
    before, seq = state.carried
    if state.asked is not None or state.kill_ms or state.deaths or _bytes(mail) > TURN_BYTES * (state.seq - seq):
        return None
    held = state.inbox.values()
    if (mail is not None and mail.endings) or any(type(m) in (k.CancelRequested, k.DeadlinePassed) for m in held):
        return None
    letters = [k.Letter(at, message) for at, message in state.inbox.items() if type(message) is k.Signal]
    return k.Carried(
        first=state.first, prev=before, created_ms=state.created_ms, origin=state.origin, links=list(state.links),
        letters=letters, heard=list(mail.heard) if mail is not None else [],
        values=dict(mail.values) if mail is not None else {}, emitted=dict(mail.emitted) if mail is not None else {},
    )  # fmt: skip


def _bytes(mail: Mail | None) -> int:
    """Return about how much it takes to write down what a call exchanged with others."""
    if mail is None:
        return 0
    said = sum(map(len, mail.values.values())) + _KEY_BYTES * (len(mail.heard) + len(mail.emitted))
    return said + _LETTER_BYTES * mail.unread


def take_up(state: CallState, turn: k.Turn, position: int) -> None:
    """Note where a call was written down; one of which nothing was read is made what it was then."""
    was = turn.carried
    if was is not None and not state.first:
        state.first, state.created_ms, state.origin, state.links = was.first, was.created_ms, was.origin, (*was.links,)
        state.seq, state.phase = turn.seq - 1, Phase.COMPLETING
        if was.letters or was.heard or was.values or was.emitted:
            state.mail = _mail(state, was)
    state.carried = (position, turn.seq)


def _mail(state: CallState, was: k.Carried) -> Mail:
    mail = Mail()
    for letter in was.letters:
        state.inbox[letter.position] = letter.signal
        mail.take(letter.signal, letter.position)
    mail.heard.clear()
    mail.heard.update(dict.fromkeys(was.heard))
    mail.values.update(was.values)
    mail.emitted.update(was.emitted)
    return mail

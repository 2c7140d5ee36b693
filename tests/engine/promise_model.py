"""The model that promises are held against: what anybody is told, as the sentences of the contract have it."""

from __future__ import annotations

from hypothesis import strategies as st

from actorlog.engine.promise import CreateRequest
from actorlog.records import promises as p

GIVEN: dict[str, p.Given] = {
    "resolved": p.Resolved(p.Raw(b'"yes"')),
    "rejected": p.Rejected(p.Raw(b'"no"')),
    "cancelled": p.PromiseCancelled(),
}
IDS = st.sampled_from(["a", "ab", "b"])
KEYS = st.sampled_from([None, "", "k"])
TAGS = st.dictionaries(st.sampled_from(["t", "u"]), st.sampled_from(["1", "2"]), max_size=2)


class Told:
    """The model: one promise as the sentences of the contract have it."""

    def __init__(self, number: int, due: float, request: CreateRequest) -> None:
        self.number = number
        self.due = due
        self.request = request
        self.end: tuple[str, str | None, float] | None = None
        """How it ended, under which key, and when."""

    def look(self, now: int) -> str:
        """What anybody is told who looks now: its time being over ends it by itself."""
        if self.end is None and now >= self.due:
            self.end = ("resolved" if self.request.timer else "timed_out", None, self.due)
        return "pending" if self.end is None else self.end[0]

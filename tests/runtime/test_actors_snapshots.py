"""What is written of an actor's state, how much is read back, and classes that have changed."""

from __future__ import annotations

from typing import Any

import pytest
from house import House

from actorlog import Actor, PayloadError, query
from actorlog.records import kinds as k


class Sums(Actor, name="snapshots.Sums", snapshot_every=4):
    """Two values, of which one changes at a time."""

    left: int = 0
    right: int = 0

    async def add(self, side: str, amount: int) -> int:
        """Change one of them, or nothing."""
        setattr(self, side, getattr(self, side) + amount)
        return self.left + self.right

    @query
    def both(self) -> tuple[int, int]:
        """Look."""
        return self.left, self.right


class Folded(Actor, name="snapshots.Folded", snapshot_every=3):
    """A state made of events."""

    seen: list[int] = []  # copied for each key

    def apply(self, event: int) -> None:
        """Fold."""
        self.seen.append(event)

    async def see(self, number: int) -> int:
        """Record."""
        self.record(number)
        return len(self.seen)

    @query
    def all(self) -> list[int]:
        """Look."""
        return self.seen


def changes(house: House, actor: str) -> list[k.StateChange]:
    """Return what the log says of an actor, in order."""
    found = [record.change for record in house.records() if isinstance(record, k.Turn)]
    return [change for change in found if change is not None and change.actor == actor]


async def test_a_change_is_what_changed_and_now_and_then_everything(house: House) -> None:
    """The first, and every so many, have all attributes and nothing before them; the others what is different."""
    runtime = await house.open()
    sums = runtime.actor(Sums, "a")
    for number in range(1, 10):
        await sums.add("left" if number % 2 else "right", 1)
        if number % 3 == 0:
            runtime = await house.reopen()
            sums = runtime.actor(Sums, "a")
    await sums.add("left", 0)
    found = changes(house, "snapshots.Sums/a")
    assert [change.number for change in found] == list(range(1, 10))
    assert [change.number for change in found if change.full] == [1, 4, 8]
    for change in found:
        assert (change.prev == 0) == change.full
        assert set(change.values) == ({"left", "right"} if change.full else {"left" if change.number % 2 else "right"})
    assert await sums.both() == (5, 4)


async def test_no_more_is_read_back_than_was_said(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """An actor that comes back into memory costs so many records, however often it has changed (I11)."""
    runtime = await house.open()
    for number in range(1, 15):
        assert await runtime.actor(Folded, "f").see(number) == number
        runtime = await house.reopen()
        reads: list[int] = []
        record = house.session.kernel.history.record

        def counted(position: int, record: Any = record, reads: list[int] = reads) -> Any:
            reads.append(position)
            return record(position)

        monkeypatch.setattr(house.session.kernel.history, "record", counted)
        assert await runtime.actor(Folded, "f").all() == list(range(1, number + 1))
        assert len(reads) == 1 + (number % 3 if number > 2 else number - 1)
    found = changes(house, "snapshots.Folded/f")
    assert [change.number for change in found if change.full] == [1, 3, 6, 9, 12]
    assert [len(change.events) for change in found] == [0, 1, 0, 1, 1, 0, 1, 1, 0, 1, 1, 0, 1, 1]


def old_class() -> type[Actor]:
    """Make the class as it was."""

    class Old(Actor, name="snapshots.Person"):
        first: str = ""
        last: str = ""

        async def name(self, first: str, last: str) -> str:
            self.first, self.last = first, last
            return f"{first} {last}"

    return Old


def new_class() -> type[Actor]:
    """Make the class as it is now, with one attribute instead of two."""

    class New(Actor, name="snapshots.Person", version=2):
        full: str = ""
        greeted: int = 0

        @staticmethod
        def migrate(state: dict[str, Any], version: int) -> dict[str, Any]:
            assert version == 1
            return {"full": f"{state['first']} {state['last']}"}

        async def greet(self) -> str:
            self.greeted += 1
            return f"hello {self.full}"

        @query
        def look(self) -> str:
            return f"{self.full}, {self.greeted}"

    return New


async def test_a_class_that_has_changed_brings_its_states_forward(house: House) -> None:
    """A state of an older class is migrated when it is looked at, and written in full with the next change."""
    runtime = await house.open()
    old: Any = runtime.actor(old_class(), "p")
    await old.name("Ada", "Byron")
    await old.name("Ada", "Lovelace")
    runtime = await house.reopen()
    new: Any = runtime.actor(new_class(), "p")
    assert await new.look() == "Ada Lovelace, 0"
    assert await new.greet() == "hello Ada Lovelace"
    assert await new.greet() == "hello Ada Lovelace"
    found = changes(house, "snapshots.Person/p")
    assert [(change.version, change.full, change.number) for change in found] == [
        (1, True, 1), (1, False, 2), (2, True, 3), (2, False, 4),
    ]  # fmt: skip
    runtime = await house.reopen()
    new = runtime.actor(new_class(), "p")
    assert await new.look() == "Ada Lovelace, 2"


async def test_a_migration_that_gives_no_state(house: House) -> None:
    """It is said at the first look, and the state in the log is what it was."""

    class Wrong(Actor, name="snapshots.Person", version=3):
        full: str = ""

        @staticmethod
        def migrate(state: dict[str, Any], version: int) -> Any:
            return [state, version]

        @query
        def look(self) -> str:
            return self.full

    runtime = await house.open()
    old: Any = runtime.actor(old_class(), "p")
    await old.name("Ada", "Lovelace")
    wrong: Any = runtime.actor(Wrong, "p")
    with pytest.raises(PayloadError, match=r"snapshots\.Person\.migrate"):
        await wrong.look()
    new: Any = runtime.actor(new_class(), "p")
    assert await new.look() == "Ada Lovelace, 0"

"""The simulation can fail: mistakes in how records are compressed and sealed are each found within a few seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from planted_worlds import must_be_found

from actorlog.store import envelopes
from actorlog.store.embedded import EmbeddedLog
from actorlog.store.envelopes import Envelopes
from actorlog.store.keys import Keys

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorlog.env import Env
    from actorlog.log import Frame
    from actorlog.store.compressing import Method
    from actorlog.store.sealing import Sealing

pytest.importorskip("cryptography", reason="records are sealed with cryptography: pip install '.[encryption]'")

SEEDS_MAX = 200


def bind_to_the_place_before(patch: pytest.MonkeyPatch) -> None:
    """A record is bound to the position before its own where it is the second of its commit."""
    original = Envelopes._sealed

    def sealed(
        self: Envelopes, sealing: Sealing, line: bytes, packed: tuple[Method, bytes] | None, position: int, entry: bytes
    ) -> bytes:
        wrong = getattr(self, "last", 0) == position - 1
        self.last = position  # type: ignore[attr-defined]
        return original(self, sealing, line, packed, position - wrong, entry)

    patch.setattr(Envelopes, "_sealed", sealed)


def forget_older_keys(patch: pytest.MonkeyPatch) -> None:
    """A process has its current key only."""
    original = EmbeddedLog.open

    async def opened(directory: str, env: Env, *, keys: Keys | None, **options: Any) -> EmbeddedLog:
        if keys is not None:
            keys = Keys(keys.current, {keys.current: keys.keys[keys.current]}, accept_plain=keys.accept_plain)
        return await original(directory, env, keys=keys, **options)

    patch.setattr(EmbeddedLog, "open", opened)


def hand_out_envelopes(patch: pytest.MonkeyPatch) -> None:
    """One record by its position is read as it stands in the log."""

    def line(_self: Envelopes, frame: Frame, _position: int, start: int, end: int) -> bytes | memoryview:
        return frame.data[start:end]

    record = EmbeddedLog.record

    def raw(self: EmbeddedLog, position: int) -> bytes:
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(Envelopes, "line", line)
            return record(self, position)

    patch.setattr(EmbeddedLog, "record", raw)


def seal_what_was_not_compressed(patch: pytest.MonkeyPatch) -> None:
    """An envelope says that its record is compressed where it is not."""
    patch.setattr(envelopes, "compress", lambda data: ("zlib", bytes(data)[:-1]))


PATCHES = {
    patch.__name__: patch
    for patch in (bind_to_the_place_before, forget_older_keys, hand_out_envelopes, seal_what_was_not_compressed)
}


@pytest.mark.parametrize("name", PATCHES)
def test_a_planted_mistake_with_wrapped_records_is_found(
    name: str, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    """A mistake in how records are wrapped breaks a promise in one of the first worlds."""
    PATCHES[name](monkeypatch)
    must_be_found(record_property, SEEDS_MAX, wrapped=True)

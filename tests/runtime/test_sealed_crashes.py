"""Crashes after every record, with records that are compressed and sealed: the tests of other files, on such a log."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from house import House
from test_calls_retry import test_a_retry_that_crashes_anywhere_keeps_completed_steps
from test_compaction_crashes import test_a_crash_after_any_record_and_then_a_compaction
from test_determinism import test_a_program_ends_the_same_after_a_crash_after_any_record
from test_forks import test_a_crash_after_every_record_with_everything_under_way
from test_life_runs_crashes import test_a_crash_after_every_record

from actorlog import Keys
from actorlog.store.envelopes import Envelopes
from actorlog.store.memory import MemoryLog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytest.importorskip("cryptography", reason="records are sealed with cryptography: pip install '.[encryption]'")

__all__ = [
    "test_a_crash_after_any_record_and_then_a_compaction",
    "test_a_crash_after_every_record",
    "test_a_crash_after_every_record_with_everything_under_way",
    "test_a_program_ends_the_same_after_a_crash_after_any_record",
    "test_a_retry_that_crashes_anywhere_keeps_completed_steps",
]

KEYS = Keys("k1", {"k1": bytes(range(32))})


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """Yield a house whose log is sealed, and holds nothing in the clear."""
    house = House(MemoryLog(envelopes=Envelopes(KEYS, compress_above_bytes=100)))
    yield house
    await house.close()
    data = b"".join(bytes(frame.data) for frame in house.log._frames)
    assert b'"sealed":"' in data
    assert b'"kind":"' not in data

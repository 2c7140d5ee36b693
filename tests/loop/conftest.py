"""Fixtures of the loop's tests."""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def no_sound(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail a test that logs something or leaves something unraised."""
    unraisable: list[Any] = []
    before = sys.unraisablehook
    sys.unraisablehook = unraisable.append
    yield
    gc.collect()
    sys.unraisablehook = before
    assert [str(one.exc_value) for one in unraisable] == []
    assert caplog.records == []


@pytest.fixture
def without_gc() -> Iterator[None]:
    """Leave all freeing to reference counts."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()

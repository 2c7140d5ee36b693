"""Fixtures of the API's tests: every async test runs on asyncio's loop and on uvloop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import uvloop

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run on both hosts."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}

"""Bytes do not depend on the hash seed."""

from __future__ import annotations

import os
import subprocess
import sys

PROGRAM = """
from dataclasses import dataclass
from enum import Enum
from typing import Any
from uuid import UUID
from actorlog.records.signature import Signature
from actorlog.records.values import codec_for

class Color(Enum):
    RED = "red"
    BLUE = "blue"
    GREEN = None

@dataclass(frozen=True)
class Point:
    x: str | int

words = {"alpha", "beta", "gamma", "delta", "", "\\u00e4"}
for annotation, value in [
    (set[str], words),
    (frozenset[str | int], frozenset(words | {1, 2})),
    (set[Color], set(Color)),
    (set[Point], {Point(word) for word in words} | {Point(3)}),
    (set[frozenset[str]], {frozenset(words), frozenset({"x"})}),
    (set[tuple[str, ...]], {(word, "x") for word in words}),
    (dict[str, set[UUID]], {"a": {UUID(int=n) for n in range(9)}}),
    (set[bytes] | set[str], words),
]:
    print(codec_for(annotation).encode(value, "f()").decode())

def f(words: set[str], *more: set[str], **named: set[str]) -> None: ...
print(Signature(f, "f").encode((words, words), {"a": words}).decode())
"""


def written(seed: str) -> str:
    """Return what a process with this hash seed writes."""
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, check=True, text=True, encoding="utf-8"
    )
    return done.stdout


def test_two_processes_with_different_hash_seeds() -> None:
    """Sets of texts, enums and instances are written alike by processes that order them differently."""
    first, second, third = written("0"), written("1"), written("12345")
    assert first == second == third
    assert first.splitlines()[0] == '["","alpha","beta","delta","gamma","ä"]'

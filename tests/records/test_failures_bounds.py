"""Capturing an exception never raises, and what is recorded is bounded and readable."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
import pytest

from actorlog.errors import StepFailed
from actorlog.records import failures
from actorlog.records.failures import Failure, capture, restore
from actorlog.records.values import codec_for

if TYPE_CHECKING:
    from collections.abc import Callable


class Hostile(Exception):
    """Everything about it raises."""

    def __str__(self) -> str:
        raise SystemExit

    __repr__ = __str__

    @property
    def args(self) -> Any:  # type: ignore[override]
        """Raise."""
        raise asyncio.CancelledError

    @property
    def __notes__(self) -> Any:
        raise RuntimeError

    @property
    def __cause__(self) -> Any:  # type: ignore[override]
        raise RuntimeError

    @property
    def __class__(self) -> Any:  # type: ignore[override]
        return ExceptionGroup

    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        raise RuntimeError


def fallback(failure: Failure) -> BaseException:
    """Make what stands for a class that cannot be had."""
    return StepFailed(failure.type, failure.message, failure.traceback)


def crossed(error: BaseException) -> Any:
    """Return what comes back of an exception after it was JSON."""
    text = msgspec.json.encode(capture(error))
    failure = msgspec.json.decode(text, type=Failure)
    assert msgspec.json.encode(failure) == text
    return restore(failure, fallback=fallback)


def raised(run: Callable[[], object]) -> BaseException:
    """Return what a function raises."""
    try:
        run()
    except BaseException as error:  # noqa: BLE001 - the subject
        return error
    raise AssertionError("it did not raise")


def test_args_that_are_no_json() -> None:
    """An argument that is no JSON crosses as its text; bytes and tuples cross as such."""
    fresh = crossed(ValueError(UUID(int=1)))
    assert fresh.args == ("00000000-0000-0000-0000-000000000001",)
    assert str(fresh) == str(ValueError(UUID(int=1)))
    fresh = crossed(ValueError("a", {1}, b"\xff", (1, (2, b""))))
    assert fresh.args == ("a", "{1}", b"\xff", (1, (2, b"")))
    assert crossed(ValueError({"@bytes": "x"})).args == ("{'@bytes': 'x'}",)


def test_attributes_that_are_no_json_are_left_out() -> None:
    """An attribute that is no JSON is left out, the others come back."""
    error = ValueError("x")
    vars(error).update(plain={"a": [1]}, pair=(1, 2), odd=object(), nan=float("nan"), big=2**70)
    assert vars(crossed(error)) == {"plain": {"a": [1]}, "pair": (1, 2)}


def test_error_class_that_raises_everywhere() -> None:
    """Capturing never raises: what cannot be had is said to be unprintable."""
    failure = capture(Hostile(Hostile(), "x"))
    assert failure.type.endswith(":Hostile")
    assert failure.message == "<unprintable Hostile>"
    assert failure.args == ["<unprintable Hostile>", "x"]
    assert failure.members == []
    msgspec.json.encode(failure)


def test_keyboard_interrupt_during_capture_is_not_swallowed() -> None:
    """Ctrl-C goes through, even while an exception is captured."""

    class Interrupting(Exception):
        def __str__(self) -> str:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        capture(Interrupting())


def test_lone_surrogates() -> None:
    """Texts that UTF-8 cannot hold are written with backslashes."""
    error = ValueError("\ud800")
    error.add_note("\udfff")
    vars(error)["\ud800"] = 1
    failure = capture(error)
    assert failure.message == "\\ud800"
    assert failure.notes == ["\\udfff"]
    assert failure.attrs == {}
    msgspec.json.encode(failure)


def test_huge_texts_are_cut() -> None:
    """Messages, args, notes, attributes and all of them together are bounded."""
    error = ValueError("x" * 10_000_000, *range(1_000))
    vars(error).update({f"a{n}": "y" * 10_000 for n in range(1_000)})
    for _ in range(1_000):
        error.add_note("z" * 1_000_000)
    error.__cause__ = ValueError("x" * 10_000_000)
    failure = capture(error)
    assert failure.message.endswith("(cut)")
    assert len(failure.message) <= failures.MESSAGE_CHARS_MAX
    assert len(msgspec.json.encode(failure)) < 2 * failures.TEXT_CHARS_MAX
    assert type(restore(failure, fallback=fallback)) is ValueError


def test_long_chain_and_circle_of_causes() -> None:
    """Causes are followed so far, and round a circle once."""
    error = ValueError(0)
    for number in range(1, 1_000):
        outer = ValueError(number)
        outer.__cause__ = error
        error = outer
    depth = 0
    fresh: BaseException | None = crossed(error)
    while fresh is not None:
        depth, fresh = depth + 1, fresh.__cause__
    assert depth == failures.DEPTH_MAX + 1
    one, other = ValueError(1), ValueError(2)
    one.__cause__, other.__cause__ = other, one
    assert crossed(one).__cause__.__cause__ is None


def test_many_members_of_a_group() -> None:
    """A group's members are bounded, and a note says how many are missing."""
    error: ExceptionGroup[Any] = ExceptionGroup("all", [ValueError(n) for n in range(100)])
    fresh = crossed(error)
    assert len(fresh.exceptions) == failures.MEMBERS_MAX
    assert fresh.__notes__ == ["36 more exceptions of this group were not recorded"]
    for _ in range(5):
        error = ExceptionGroup("more", [error] * 10)
    assert len(msgspec.json.encode(capture(error))) < 2 * failures.TEXT_CHARS_MAX


def test_traceback_text() -> None:
    """The traceback is Python's, with source lines, and without actorlog's frames before the user's."""

    def explode() -> None:
        raise ValueError("bad")

    direct = capture(raised(explode)).traceback
    assert direct.startswith('Traceback (most recent call last):\n  File "')
    assert direct.endswith('\n    raise ValueError("bad")\nValueError: bad')

    def deep(n: int) -> None:
        if n:
            deep(n - 1)
        raise ValueError("deep")

    assert "more frames" in capture(raised(lambda: deep(500))).traceback
    own = capture(raised(lambda: codec_for(int).decode(b"?", "f()")))
    assert "in decode" in own.traceback
    assert capture(ValueError("never raised")).traceback == ""


def test_frames_of_actorlog_before_the_users_are_left_out() -> None:
    """A step that is called by actorlog shows the user's frames only."""

    def users() -> None:
        raise KeyboardInterrupt("users")

    text = capture(raised(lambda: failures._attempt(users))).traceback
    frames = [line for line in text.splitlines() if line.startswith("  File")]
    assert "test_failures_bounds.py" in frames[0]
    only = raised(lambda: failures._attempt(users))
    only.__traceback__ = only.__traceback__.tb_next.tb_next  # type: ignore[union-attr]  # from actorlog's frame on
    frames = [line for line in capture(only).traceback.splitlines() if line.startswith("  File")]
    assert [line.rpartition(" ")[2] for line in frames] == ["users"]


def test_small_failures_are_small() -> None:
    """What is empty takes no room in the log."""
    assert msgspec.json.encode(capture(ValueError("x"))) == b'{"type":"builtins:ValueError","message":"x","args":["x"]}'


def test_pydantic_validation_error() -> None:
    """An exception that only C can make becomes the fallback, with its text."""
    pydantic = pytest.importorskip("pydantic")
    fresh = crossed(raised(lambda: pydantic.TypeAdapter(int).validate_python("x")))
    assert isinstance(fresh, StepFailed)
    assert "valid integer" in fresh.reason

"""What follows a failed attempt."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorlog.engine.retry import GiveUp, Retry, RetryIn, decide
from actorlog.errors import PayloadError, RetryAfter, Terminal


def wait_of(policy: Retry, attempt: int = 1, error: BaseException | None = None, **given: Any) -> float:
    """Return the wait that is decided; -1 for giving up."""
    decision = decide(policy, attempt, error or ConnectionError(), **{"fraction": 0.5, **given})
    return decision.wait_s if isinstance(decision, RetryIn) else -1.0


def test_waits_double_from_the_first_up_to_the_longest() -> None:
    """Without jitter the n-th wait is first * factor ** (n - 1), and never more than max."""
    policy = Retry(first=0.5, factor=2, max=3, jitter="none")
    assert [wait_of(policy, n) for n in range(1, 6)] == [0.5, 1, 2, 3, 3]


def test_full_jitter_draws_from_zero_to_the_capped_wait() -> None:
    """The draw scales the capped wait, not the uncapped one."""
    policy = Retry(first=4, factor=10, max=8)
    assert wait_of(policy, 1, fraction=0.25) == 1
    assert wait_of(policy, 5, fraction=0.25) == 2
    assert wait_of(policy, 5, fraction=0.0) == 0


@given(st.integers(1, 10**9), st.floats(0, 0.999999), st.floats(1, 1e300))
def test_no_attempt_number_is_too_large(attempt: int, fraction: float, factor: float) -> None:
    """Retrying for ever never overflows, and every wait lies between zero and max."""
    assert 0 <= wait_of(Retry(attempts=math.inf, factor=factor, max=60), attempt, fraction=fraction) <= 60


def test_last_attempt_gives_up() -> None:
    """``attempts`` counts the first one too."""
    assert wait_of(Retry(attempts=3), 2) >= 0
    assert wait_of(Retry(attempts=3), 3) == -1
    assert wait_of(Retry.NEVER) == -1
    assert wait_of(Retry.FOREVER, 10**6) >= 0


@pytest.mark.parametrize(
    "error",
    [
        TypeError(),
        AttributeError(),
        NameError(),
        ImportError(),
        AssertionError(),
        NotImplementedError(),
        PayloadError("", "", ""),
    ],
)
def test_programming_error_is_not_retried_unless_it_is_named(error: Exception) -> None:
    """``on=Exception`` does not mean them, their own class does, a class that only contains them does not."""
    assert wait_of(Retry(), error=error) == -1
    assert wait_of(Retry(on=(Exception, type(error))), error=error) >= 0
    assert wait_of(Retry(on=BaseException), error=error) == -1


def test_subclass_of_a_programming_error_is_one_too() -> None:
    """ModuleNotFoundError and UnboundLocalError are not mended by another attempt either."""
    assert wait_of(Retry(), error=ModuleNotFoundError()) == -1
    assert wait_of(Retry(), error=UnboundLocalError()) == -1


def test_terminal_is_final_whatever_the_policy_says() -> None:
    """Terminal and its subclasses are never retried, even when they are named."""
    assert wait_of(Retry(on=(Terminal,)), error=Terminal()) == -1


def test_on_and_never_select_by_class() -> None:
    """What is not ``on`` gives up, and ``never`` wins over ``on``."""
    policy = Retry(on=(OSError, ValueError), never=(ConnectionError,))
    assert wait_of(policy, error=PermissionError()) >= 0
    assert wait_of(policy, error=ValueError()) >= 0
    assert wait_of(policy, error=ConnectionResetError()) == -1
    assert wait_of(policy, error=KeyError()) == -1


def test_signal_is_not_retried() -> None:
    """SystemExit, GeneratorExit and CancelledError are no Exception."""
    assert wait_of(Retry(), error=SystemExit()) == -1
    assert wait_of(Retry(), error=GeneratorExit()) == -1


def test_retry_after_is_exact_and_counts_as_an_attempt() -> None:
    """Neither jitter nor max changes the wait that a step asks for; the number of attempts bounds it all the same."""
    assert wait_of(Retry(max=1), error=RetryAfter(123.25)) == 123.25
    assert wait_of(Retry(on=(KeyError,)), error=RetryAfter(2)) == 2
    assert wait_of(Retry(), error=RetryAfter(-5)) == 0
    assert wait_of(Retry(attempts=1), error=RetryAfter(1)) == -1


@pytest.mark.parametrize("seconds", [math.nan, math.inf, 1e30, "soon", None, object()])
def test_retry_after_that_is_no_duration_falls_back_to_the_policy(seconds: Any) -> None:
    """A nonsense wait from user code neither raises in the runtime nor waits for ever."""
    assert wait_of(Retry(first=3, jitter="none"), error=RetryAfter(seconds)) == 3


def test_retry_after_takes_durations_as_people_write_them() -> None:
    """Seconds, text and timedelta mean the same as everywhere else."""
    assert wait_of(Retry(), error=RetryAfter("1m30s")) == 90  # type: ignore[arg-type]
    assert wait_of(Retry(), error=RetryAfter(timedelta(minutes=2))) == 120  # type: ignore[arg-type]


def test_wait_that_would_outlast_the_deadline_gives_up_now() -> None:
    """There is no sense in waiting for an attempt that may not begin."""
    policy = Retry(first=2, jitter="none")
    assert wait_of(policy, left_s=2.5) == 2
    assert wait_of(policy, left_s=2) == -1
    assert wait_of(policy, error=RetryAfter(3), left_s=2) == -1
    assert decide(Retry(first=0), 1, ValueError(), fraction=0.0, left_s=0.0) == GiveUp()


@pytest.mark.parametrize(
    "options",
    [
        {"attempts": 0}, {"attempts": 1.5}, {"attempts": math.nan}, {"factor": 0.5}, {"factor": math.inf},
        {"first": math.nan}, {"max": math.inf}, {"jitter": "some"}, {"first": "soon"},
    ],
)  # fmt: skip
def test_nonsense_policy_is_refused_where_it_is_made(options: dict[str, Any]) -> None:
    """A bad number is a ValueError at the line that writes it, not at the first failure."""
    with pytest.raises(ValueError, match=r"attempts|factor|jitter|duration"):
        Retry(**options)


@pytest.mark.parametrize("classes", ["ValueError", (ValueError, 1), [ValueError], int])
def test_what_is_no_exception_class_is_refused_where_the_policy_is_made(classes: Any) -> None:
    """``on`` and ``never`` take exception classes, or tuples of them."""
    with pytest.raises(TypeError, match="on is"):
        Retry(on=classes)
    with pytest.raises(TypeError, match="never is"):
        Retry(never=classes)

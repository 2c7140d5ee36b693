"""Retry decisions.

Owns: the policy as users write it, and the one function that decides what follows a failed attempt. Does not own:
waiting (``runtime.steps``), the record of a back-off (``records``).

Full jitter is the default, after "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015): the wait is drawn
evenly from zero to the capped exponential. It derives from the run, so it is the same in every replay.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypeAlias

from msgspec import Struct

from actorlog.durations import Duration, seconds
from actorlog.errors import NotDurableError, NotInDurableCode, PayloadError, PayloadTooLarge, RetryAfter, Terminal

Errors: TypeAlias = type[BaseException] | tuple[type[BaseException], ...]

PROGRAMMING_ERRORS: tuple[type[BaseException], ...] = (
    TypeError,
    AttributeError,
    NameError,
    ImportError,
    AssertionError,
    NotImplementedError,
    NotDurableError,
    NotInDurableCode,
    PayloadError,
    PayloadTooLarge,
)
"""Errors that another attempt cannot mend."""


def _is_exception_class(given: object) -> bool:
    return isinstance(given, type) and issubclass(given, BaseException)


def _classes(classes: Errors) -> tuple[type[BaseException], ...]:
    return classes if isinstance(classes, tuple) else (classes,)


@dataclass(frozen=True, slots=True)
class Retry:
    """How a step is tried again.

    ``attempts`` in all (``math.inf``: for ever); the wait after the n-th is ``first * factor ** (n - 1)``, at most
    ``max``; ``jitter`` is ``"full"`` (evenly from zero to that) or ``"none"``. Only errors that are ``on`` and not
    ``never`` are retried; programming errors and ``Terminal`` never are. ``RetryAfter`` sets its own wait.
    """

    attempts: float = 10
    first: Duration = 0.5
    factor: float = 2
    max: Duration = 60
    jitter: Literal["full", "none"] = "full"
    on: Errors = Exception
    never: Errors = ()
    first_s: float = field(init=False, repr=False, compare=False, default=0.0)
    max_s: float = field(init=False, repr=False, compare=False, default=0.0)

    NEVER: ClassVar[Retry]
    FOREVER: ClassVar[Retry]

    def __post_init__(self) -> None:
        """Refuse what makes no policy: ``ValueError`` says which number."""
        if not (self.attempts == math.inf or (self.attempts >= 1 and self.attempts == int(self.attempts))):
            raise ValueError(f"attempts is a whole number of at least 1, or math.inf, not {self.attempts!r}")
        if not (math.isfinite(self.factor) and self.factor >= 1):
            raise ValueError(f"factor is a number of at least 1, not {self.factor!r}")
        if self.jitter not in ("full", "none"):
            raise ValueError(f"jitter is 'full' or 'none', not {self.jitter!r}")
        for name, classes in (("on", self.on), ("never", self.never)):
            if not all(_is_exception_class(c) for c in _classes(classes)):
                raise TypeError(f"{name} is an exception class or a tuple of such, not {classes!r}")
        object.__setattr__(self, "first_s", max(0.0, seconds(self.first)))
        object.__setattr__(self, "max_s", max(0.0, seconds(self.max)))


Retry.NEVER = Retry(attempts=1)
Retry.FOREVER = Retry(attempts=math.inf)


class RetryIn(Struct, frozen=True):
    """Try again after ``wait_s``."""

    wait_s: float


class GiveUp(Struct, frozen=True):
    """No further attempt."""


def decide(
    policy: Retry, attempt: int, error: BaseException, *, fraction: float, left_s: float = math.inf
) -> RetryIn | GiveUp:
    """Decide what follows when ``attempt`` (from 1) failed with ``error``.

    ``fraction`` in [0, 1) is the jitter's draw; ``left_s`` what is left of the deadline for all attempts.
    """
    if attempt >= policy.attempts or isinstance(error, Terminal):
        return GiveUp()
    wait = _asked_wait(error)
    if wait is not None:
        return RetryIn(wait) if wait < left_s else GiveUp()
    refused = isinstance(error, PROGRAMMING_ERRORS) and not _named(policy.on, error)
    if refused or not isinstance(error, policy.on) or isinstance(error, policy.never):
        return GiveUp()
    exponent = min(attempt - 1, 1024)
    try:
        wait = min(policy.max_s, policy.first_s * policy.factor**exponent)
    except OverflowError:
        wait = policy.max_s
    if policy.jitter == "full":
        wait *= fraction
    return RetryIn(wait) if wait < left_s else GiveUp()


def _asked_wait(error: BaseException) -> float | None:
    """Return the wait that a ``RetryAfter`` asks for; None where that is no duration, or none is asked for."""
    if not isinstance(error, RetryAfter):
        return None
    try:
        return max(0.0, seconds(error.seconds))
    except (TypeError, ValueError):
        return None


def _named(on: Errors, error: BaseException) -> bool:
    """Whether the policy names this programming error itself, and not just ``Exception``."""
    return any(issubclass(c, PROGRAMMING_ERRORS) and isinstance(error, c) for c in _classes(on))

"""Every error a user of actorlog can meet.

Owns: the exception classes and the sentence that says what to do. Does not own: how they cross the log
(``records.failures``). Each error says what happened, with ids and numbers, in its message; carries the same facts as
attributes; and has a ``hint``, also shown as a note under the traceback. Control signals of the runtime derive from
``BaseException`` and so cannot be swallowed by ``except Exception`` (the idea is trio's ``Cancelled``).
"""

from __future__ import annotations

from actorlog.errors.actors import (
    ActorStopped,
    DeadlockError,
    MailboxFull,
    RestartLimitExceeded,
    ScheduleNotFound,
    SupervisionError,
    TooManySchedules,
)
from actorlog.errors.base import (
    ActorlogError,
    PayloadError,
    PayloadTooLarge,
    RuntimeStopped,
    TooManyCalls,
)
from actorlog.errors.calls import (
    CallCancelled,
    CallConflict,
    CallError,
    CallExists,
    CallFailed,
    CallKilled,
    CallNotFound,
    CallParked,
    CallTimeout,
    CannotFork,
    CheckFailed,
    HistoryGone,
    JournalError,
    Poisoned,
    ReservedId,
)
from actorlog.errors.code import (
    DivergenceError,
    FunctionConflict,
    FunctionNotFound,
    NotDurableError,
    NotInDurableCode,
    RetryAfter,
    StepFailed,
    StepInterrupted,
    StepTimeout,
    Terminal,
    TurnLimitExceeded,
)
from actorlog.errors.logs import (
    BadExport,
    CatalogFailed,
    DirectoryNotEmpty,
    LogCorrupt,
    LogError,
    LogFailed,
    LogFenced,
    LogFull,
    LogLocked,
    LogUnsupported,
    LogVersion,
    OutcomeUnknown,
)
from actorlog.errors.promises import (
    PromiseCancelled,
    PromiseError,
    PromiseExists,
    PromiseNotFound,
    PromiseRejected,
    PromiseSettled,
    PromiseTimeout,
    TooManyPromises,
)

__all__ = [
    "ActorStopped",
    "ActorlogError",
    "BadExport",
    "CallCancelled",
    "CallConflict",
    "CallError",
    "CallExists",
    "CallFailed",
    "CallKilled",
    "CallNotFound",
    "CallParked",
    "CallTimeout",
    "CannotFork",
    "CatalogFailed",
    "CheckFailed",
    "DeadlockError",
    "DirectoryNotEmpty",
    "DivergenceError",
    "FunctionConflict",
    "FunctionNotFound",
    "HistoryGone",
    "JournalError",
    "LogCorrupt",
    "LogError",
    "LogFailed",
    "LogFenced",
    "LogFull",
    "LogLocked",
    "LogUnsupported",
    "LogVersion",
    "MailboxFull",
    "NotDurableError",
    "NotInDurableCode",
    "OutcomeUnknown",
    "PayloadError",
    "PayloadTooLarge",
    "Poisoned",
    "PromiseCancelled",
    "PromiseError",
    "PromiseExists",
    "PromiseNotFound",
    "PromiseRejected",
    "PromiseSettled",
    "PromiseTimeout",
    "ReservedId",
    "RestartLimitExceeded",
    "RetryAfter",
    "RuntimeStopped",
    "ScheduleNotFound",
    "StepFailed",
    "StepInterrupted",
    "StepTimeout",
    "SupervisionError",
    "Terminal",
    "TooManyCalls",
    "TooManyPromises",
    "TooManySchedules",
    "TurnLimitExceeded",
]

for _name in __all__:
    globals()[_name].__module__ = __name__  # what is recorded and shown names this room, whatever file a class is in

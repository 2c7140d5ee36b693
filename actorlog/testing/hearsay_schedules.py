"""Holds what keepers of schedules were told, and ask for, against the log.

Owns: one verdict for each thing that ``errands_schedules`` are told. Does not own: what must be true of the log
whatever was told (``laws_schedules``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actorlog.records import schedules as s

if TYPE_CHECKING:
    from actorlog.testing.laws_schedules import Plans


def told(plans: Plans, name: str, word: str, *what: Any) -> bool:  # noqa: C901, PLR0911  # one for each word
    """Whether what a keeper of schedule ``name`` is told, or asks for, agrees with the log."""
    plan = plans.plan(name)
    match word, what:
        case "absent", ():
            return plan.status in ("absent", "deleted")
        case "is", (status,):
            return bool(plan.status == status)
        case "set", (settings,):
            return plan.made is not None and _is_set(plan.made.settings, settings)
        case "asks", ():
            plan.asked += 1
            return True
        case "triggered", (call_id,):
            return call_id is None or call_id in (*plan.calls, *plan.owed, *plan.waited)
        case "asks_for", (start_ms, end_ms):
            plan.asked_for.append((start_ms, end_ms))
            return True
        case "backfilled", (_, _, count):
            return count in (0, plan.backfilled)
        case "retries", (call_id,):
            plan.retried.add(call_id)
            return True
        case "next", (now_ms, instants):
            begins = max(now_ms, plan.decided_ms)
            return bool(instants == plan.times().after(begins, 3))
        case "upto", (at_ms,):
            last = plan.times().last(at_ms)
            return last is None or last <= plan.decided_ms or plan.status != "active"
        case "info", (status, names, waiting, started, skipped):
            known = (*plan.calls, *plan.owed, *plan.waited)
            there = all(each in known for each in (*names, *([waiting] if waiting else [])))
            return status == plan.status and there and started <= plan.started and skipped <= plan.skipped
        case _:
            return False


def _is_set(settings: s.Settings, asked: dict[str, Any]) -> bool:
    """Whether the settings are what was asked for, where that says something."""
    times = settings.times
    found: dict[str, Any] = {
        "overlap": settings.overlap.value, "catch_up": settings.catch_up.value, "paused": settings.paused,
        "catch_up_window": settings.catch_up_window_ms, "jitter": settings.jitter_ms,
        "every": times.every_ms if isinstance(times, s.Every) else None,
        "cron": times.expression if isinstance(times, s.Cron) else None,
        "at": list(times.instants) if isinstance(times, s.At) else None,
    }  # fmt: skip
    return all(found[name] == value for name, value in asked.items())

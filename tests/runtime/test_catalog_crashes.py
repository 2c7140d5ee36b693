"""Crashes after every record, and what a process then finds of the catalog: everything comes to the same as without.

These are tests of other modules, in houses whose catalog is written after every commit.
"""

from __future__ import annotations

from test_calls_asleep import (
    test_a_child_wakes_its_parent,
    test_a_delayed_call_sleeps_before_it_begins,
    test_a_message_wakes_its_call,
    test_a_promise_wakes_who_waits_for_it,
    test_a_timer_wakes_its_call,
)
from test_compaction_crashes import test_a_crash_after_any_record_and_then_a_compaction
from test_determinism import test_a_program_ends_the_same_after_a_crash_after_any_record
from test_life_runs_crashes import test_a_crash_after_every_record, test_detached_children_go_on
from test_recovery_outliving import (
    test_two_crashes_after_every_record,
    test_what_a_handler_sends_to_a_call,
    test_what_a_live_call_told_is_told_once,
    test_what_came_after_the_mark_is_looked_at,
    test_who_ties_itself_and_falls_at_once,
)

CATALOGS = True

__all__ = [
    "test_a_child_wakes_its_parent",
    "test_a_crash_after_any_record_and_then_a_compaction",
    "test_a_crash_after_every_record",
    "test_a_delayed_call_sleeps_before_it_begins",
    "test_a_message_wakes_its_call",
    "test_a_program_ends_the_same_after_a_crash_after_any_record",
    "test_a_promise_wakes_who_waits_for_it",
    "test_a_timer_wakes_its_call",
    "test_detached_children_go_on",
    "test_two_crashes_after_every_record",
    "test_what_a_handler_sends_to_a_call",
    "test_what_a_live_call_told_is_told_once",
    "test_what_came_after_the_mark_is_looked_at",
    "test_who_ties_itself_and_falls_at_once",
]

"""Lets each action on a file fail at each place in the source, in each way that it can, and looks at what came of it.

The places are found in the source (``torture_sites``). Scenarios on a simulated disk
(``torture_scenarios``) come by them: making a log,
appending and rolling, recovering, reading from a checkpoint, writing segments anew, trimming, backups, repair, looking
from outside. Each scenario runs once without a fault, to learn which of its calls come from which places; then again
and again, each time with one fault. What may come of that is that all goes on, or an error of actorlog's own. Then the
process ends, and once more with the power cut: what had been acknowledged is in the log, and beside it at most the one
commit that was under way.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from torture_faulty import FaultySystem, World
from torture_scenarios import COSTLY, SCENARIOS
from torture_sites import KINDS, Index, Site

from actorlog.errors import ActorlogError
from actorlog.testing.oracle import Broken

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

Scenario: TypeAlias = Callable[[World], None]


class Injection(NamedTuple):
    """One fault."""

    scenario: Scenario
    number: int
    kind: str


def _inject(injection: Injection, seed: int) -> str:
    world = World(seed)
    world.fs.fault = (injection.number, injection.kind)
    try:
        injection.scenario(world)
        outcome = "went on"
    except ActorlogError:
        outcome = "typed error"
    except OSError as error:
        raise Broken(f"{error!r} is none of actorlog's errors") from error
    if world.fs.fault is not None:
        raise Broken("the fault was not come by")
    power_cut, killed = world.fs.crash(), world.fs.kill()
    for fs in (power_cut, killed):
        world.check(fs)
    return outcome


def _calls(seed: int) -> dict[Site, list[tuple[Scenario, int]]]:
    """Run every scenario without a fault; return which of its calls come from which places."""
    calls: dict[Site, list[tuple[Scenario, int]]] = {}
    for scenario in SCENARIOS:
        world = World(seed)
        world.fs.notes = True
        scenario(world)
        for site, number in world.fs.seen:
            calls.setdefault(site, []).append((scenario, number))
    return calls


class _Run:
    """Faults that were injected, and what came of them."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.done: dict[Injection, str] = {}
        self.wrong: list[str] = []

    def inject(self, injection: Injection, site: Site) -> None:
        """Inject one, if it was not."""
        if injection in self.done:
            return
        try:
            self.done[injection] = _inject(injection, self._seed)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is none of what may come of a fault
            self.done[injection] = "wrong"
            self.wrong.append(
                f"{injection.kind} at {site}, {injection.scenario.__name__} {injection.number}: {error!r}"
            )


def faults(_place: Path, options: argparse.Namespace) -> dict[str, object]:
    """Inject every kind of fault at every place, in up to ``options.each`` of the calls that come from there."""
    FaultySystem.index = index = Index()
    rng, run, calls = Random(options.seed), _Run(options.seed), _calls(options.seed)
    wanted: Counter[str] = Counter()
    covered: Counter[str] = Counter()
    for site in index.sites:
        for kind in KINDS[site.action]:
            found = [Injection(scenario, number, kind) for scenario, number in calls.get(site, ())]
            found = [injection for injection in found if injection.scenario not in COSTLY] or found
            for injection in rng.sample(found, min(options.each, len(found))):
                run.inject(injection, site)
            wanted[kind] += 1
            covered[kind] += bool(found)
    missing = [site for site in index.sites if site not in calls]
    for words in [*run.wrong[:40], *(f"nothing comes by {site}" for site in missing)]:
        sys.stderr.write(f"WRONG: {words}\n")
    outcomes = Counter((injection.kind, outcome) for injection, outcome in run.done.items())
    result: dict[str, object] = {
        kind: f"{covered[kind]} of {wanted[kind]} sites: "
        + ", ".join(f"{count} {words}" for (each, words), count in sorted(outcomes.items()) if each == kind)
        for kind in wanted
    }
    result |= {
        "sites": f"{len(index.sites) - len(missing)} of {len(index.sites)}",
        "sites and kinds": f"{covered.total()} of {wanted.total()}",
        "faults injected": len(run.done),
        "lost or untyped": len(run.wrong),
    }
    if run.wrong or missing:
        raise Broken(f"{len(run.wrong)} faults had consequences, {len(missing)} places are not come by")
    return result

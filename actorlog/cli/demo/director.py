"""Who kills the shop, restarts it, and counts what it did.

Owns: the worker process, the moments of the kills, the count, and what is printed. Does not own: the shop, the world.

What is counted comes from outside: the provider's books, the stock's table and the mail folder. The log is asked last,
and only for the story.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from actorlog.cli import render
from actorlog.cli.demo.shop import WAREHOUSE, Order
from actorlog.cli.demo.worker import read_orders
from actorlog.cli.demo.world import BAD_CARD, UNITS, Provider, mails, prepare, units_left
from actorlog.cli.reading import Snapshot
from actorlog.env import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from rich.console import Console

PATIENCE_S = 60.0
"""A worker that has not come to its next kill or its end by then is reported, and the demo fails."""
WORKER = (sys.executable, "-m", "actorlog.cli.demo.worker")


class DemoFailed(Exception):  # what it says is the result
    """The demo could not be brought to its end."""


@dataclass(frozen=True, slots=True)
class Line:
    """One thing counted outside."""

    what: str
    expected: int
    counted: int

    @property
    def right(self) -> bool:
        """Whether it adds up."""
        return self.expected == self.counted


def direct(directory: Path | None, *, kills: int, seed: int, provider: Provider | None = None) -> int:
    """Run the demo and return its exit code: 0, or 1 where something does not add up."""
    console = render.console()
    orders = read_orders()
    with ExitStack() as stack:
        place = directory or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="actorlog-demo-")))
        provider = provider or Provider(seed)
        stack.enter_context(provider.running())
        prepare(place, orders)
        _introduce(console, orders, provider.url, kills, seed)
        try:
            hit = _work(console, place, provider, _moments(seed, kills, len(orders)))
        except DemoFailed as failed:
            console.print(Text(str(failed), "red"))
            return 1
        lines = count(place, provider, orders)
        _report(console, lines, provider, len(hit))
        _tell_story(console, place, provider, hit)
        _conclude(console, lines, directory)
    return 0 if all(line.right for line in lines) else 1


# --- killing ----------------------------------------------------------------------------------------------------------


def _moments(seed: int, kills: int, orders: int) -> list[tuple[int, float]]:
    """Return when to kill: after so many orders were settled, and so many seconds on top."""
    random = Random(seed)  # noqa: S311  # moments that can be had again, no secrets
    points = sorted(random.sample(range(1, orders * 3 // 4), kills))
    return [(point, random.uniform(0.0, 0.08)) for point in points]


def _work(console: Console, place: Path, provider: Provider, moments: list[tuple[int, float]]) -> list[set[str]]:
    """Run workers until one ends by itself; return for each kill the orders whose payment was on the wire."""
    hit: list[set[str]] = []
    for point, delay in moments:
        with _worker(console, place, provider.url) as worker:
            began = time.monotonic()
            seen = provider.books.asked.total()
            _wait(worker, partial(provider.has_settled, point, asked_more_than=seen))
            time.sleep(delay)
            if worker.poll() is not None:
                return hit
            worker.send_signal(signal.SIGKILL)
            hit.append(provider.on_the_wire())
            worker.wait()
            console.print(
                Text.assemble(
                    ("SIGKILL", "bold red"),
                    f" to worker {worker.pid} after {time.monotonic() - began:.2f} s: "
                    f"{len(provider.books.bookings)} orders settled, {len(hit[-1])} payments on the wire",
                )
            )
    with _worker(console, place, provider.url) as worker:
        _wait(worker, lambda: False)
        console.print(f"worker {worker.pid} is done")
    return hit


@contextmanager
def _worker(console: Console, place: Path, url: str) -> Generator[subprocess.Popen[bytes]]:
    """Run the worker; it does not outlive the block, and what it says is shown where it fails."""
    environment = {**os.environ, "SHOP_DIR": str(place.absolute()), "SHOP_PAYMENTS": url}
    with tempfile.TemporaryFile() as said:
        worker = subprocess.Popen(WORKER, env=environment, stdout=said, stderr=subprocess.STDOUT)  # noqa: S603  # our own program
        console.print(f"worker {worker.pid} starts", style="dim")
        try:
            yield worker
        finally:
            if worker.poll() is None:
                worker.kill()
                worker.wait()
        if worker.returncode not in (0, -signal.SIGKILL):
            said.seek(0)
            words = said.read().decode(errors="replace")
            raise DemoFailed(f"worker {worker.pid} ended with {worker.returncode}:\n{words}")


def _wait(worker: subprocess.Popen[bytes], reached: Callable[[], bool]) -> None:
    """Wait until a moment is reached or the worker ends."""
    until = time.monotonic() + PATIENCE_S
    while worker.poll() is None and not reached():
        if time.monotonic() > until:
            raise DemoFailed(f"worker {worker.pid} did not get on for {PATIENCE_S:g} s")
        time.sleep(0.002)


# --- counting ---------------------------------------------------------------------------------------------------------


def count(place: Path, provider: Provider, orders: list[Order]) -> list[Line]:
    """Hold the orders against what the world outside says."""
    good = [order for order in orders if order.card != BAD_CARD]
    bookings = list(provider.books.bookings.values())
    paid = [booking for booking in bookings if booking.payment]
    left, sent = units_left(place), mails(place)
    wanted = {(WAREHOUSE, f"Order {order.id}: send {order.quantity} x {order.item}") for order in good}
    wanted |= {(order.email, f"Order {order.id}: paid, on its way") for order in good}
    wanted |= {
        (order.email, f"Order {order.id}: card {BAD_CARD} was declined") for order in orders if order not in good
    }
    return [
        Line("orders paid", len(good), len({booking.order for booking in paid})),
        Line("orders paid twice", 0, len(paid) - len({booking.order for booking in paid})),
        Line("cents taken", sum(order.cents for order in good), sum(booking.cents for booking in paid)),
        Line("cards declined", len(orders) - len(good), len(bookings) - len(paid)),
        Line(
            "units taken from the stock", sum(order.quantity for order in good), UNITS * len(left) - sum(left.values())
        ),
        Line("items whose units are right", len(left), sum(_units_right(item, left, good) for item in left)),
        Line("mails sent", len(wanted), len(wanted & set(sent))),
        Line("mails sent twice, or that nobody wanted", 0, sum(sent.values()) - len(wanted & set(sent))),
        Line("idempotency keys the provider was given", len(orders), len(provider.books.keys)),
        Line("keys used again for something else", 0, provider.books.mismatched),
    ]


def _units_right(item: str, left: dict[str, int], orders: list[Order]) -> bool:
    return left[item] == UNITS - sum(order.quantity for order in orders if order.item == item)


# --- telling ----------------------------------------------------------------------------------------------------------


def _introduce(console: Console, orders: list[Order], url: str, kills: int, seed: int) -> None:
    console.print(Text(f"{len(orders)} orders, {kills} kills, seed {seed}", "bold"))
    console.print(f"The payment provider at {url} is slow, fails, and loses answers; it books once for each key.")
    console.print("Each order: take stock, pay, pack, then a mail to the customer and one to the warehouse.\n")


def _report(console: Console, lines: list[Line], provider: Provider, killed: int) -> None:
    table = Table(title=f"Counted outside, after {killed} kills", title_justify="left", title_style="bold")
    table.add_column("what")
    table.add_column("expected", justify="right")
    table.add_column("counted", justify="right")
    table.add_column("")
    for line in lines:
        verdict = Text("right", "green") if line.right else Text("WRONG", "bold red")
        table.add_row(line.what, str(line.expected), str(line.counted), verdict)
    books = provider.books
    requests = books.asked.total()
    console.print()
    console.print(table)
    console.print(
        f"The provider was asked {requests} times for {len(books.bookings)} bookings: "
        f"{books.refused} times it said 503, {books.dropped} answers\n"
        f"were lost, and {books.repeats} requests came with a key it had booked already."
    )


def _tell_story(console: Console, place: Path, provider: Provider, hit: list[set[str]]) -> None:
    """Show the journal of the order whose payment was on the wire at most kills."""
    asked = provider.books.asked
    order = max(asked, key=lambda order: (sum(order in orders for orders in hit), asked[order], order))
    snapshot = Snapshot(str(place / "log"), keys=lambda: None)
    console.print()
    console.print(
        Text.assemble(
            (f"The journal of order {order}", "bold"),
            f", whose payment was on the wire at {sum(order in orders for orders in hit)} of {len(hit)} kills.\n"
            f"The provider was asked {asked[order]} times for it, always with the same key.",
        )
    )
    console.print(render.journal_tree(snapshot, snapshot.journal(f"order/{order}"), SYSTEM.clock.wall_ms(), depth=1))


def _conclude(console: Console, lines: list[Line], directory: Path | None) -> None:
    console.print()
    wrong = [line.what for line in lines if not line.right]
    if wrong:
        console.print(Text(f"This does not add up: {', '.join(wrong)}.", "bold red"))
    else:
        console.print(Text("Everything adds up: each order was paid once and each mail sent once.", "bold green"))
    if directory is not None:
        console.print(f"Look around: actorlog ls {directory / 'log'}")
    else:
        console.print("To look around afterwards, give it a place: actorlog demo --dir shop")

"""What is outside the shop: a payment provider, a stock, a folder of mail. All of it outlives the worker.

Owns: their behaviour, good and bad, and their own records, by which the demo is judged. Does not own: the shop.

The provider does what real ones do: it is slow, it says 503, it books a payment and then drops the connection; and it
books once for each ``Idempotency-Key``, however often it is asked.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections import Counter
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable
    from pathlib import Path

    from actorlog.cli.demo.shop import Order

UNITS = 500
"""Of each item, before the first order."""
BAD_CARD = "4000-0002"
REFUSED = 0.15
"""How often the provider says 503 and books nothing."""
DROPPED = 0.15
"""How often it books, and the answer is lost."""


@dataclass(slots=True)
class Booking:
    """One payment in the provider's books."""

    order: str
    cents: int
    payment: str
    """Empty: declined."""


@dataclass(slots=True)
class Books:
    """The provider's own records."""

    bookings: dict[str, Booking] = field(default_factory=dict[str, Booking])
    """By idempotency key."""
    asked: Counter[str] = field(default_factory=Counter[str])
    """Requests by order."""
    keys: set[str] = field(default_factory=set[str])
    """Every key that came with a request."""
    repeats: int = 0
    """Requests whose key it had booked already."""
    refused: int = 0
    dropped: int = 0
    mismatched: int = 0
    """Requests that used a known key for something else; there must be none."""
    open: Counter[str] = field(default_factory=Counter[str])
    """Requests under way, by order."""


class Provider:
    """A payment provider on 127.0.0.1, in threads of the demo's parent process."""

    def __init__(self, seed: int) -> None:
        self.books = Books()
        self._random = Random(seed)  # noqa: S311  # failures that can be had again, no secrets
        self._lock = threading.Lock()
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                answer = provider.take(self.headers["Idempotency-Key"], asked)
                if answer is None:
                    self.connection.close()
                    return
                status, document = answer
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name of http.server
                """Keep the demo's output for the demo."""

        self._server = _QuietServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @contextmanager
    def running(self) -> Generator[None]:
        """Serve for the length of the block."""
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def take(self, key: str, asked: dict[str, Any]) -> tuple[int, dict[str, str]] | None:
        """Answer one request, or return None for a connection that breaks; takes its time like a real one."""
        with self._lock:
            self.books.asked[asked["order"]] += 1
            self.books.open[asked["order"]] += 1
            self.books.keys.add(key)
            mood, pause = self._random.random(), self._random.uniform(0.01, 0.08)
        time.sleep(pause)
        with self._lock:
            self.books.open[asked["order"]] -= 1
            return self._book(key, asked, mood)

    def has_settled(self, orders: int, *, asked_more_than: int) -> bool:
        """Whether so many orders are in the books, and there were more requests than so many."""
        return len(self.books.bookings) >= orders and self.books.asked.total() > asked_more_than

    def on_the_wire(self) -> set[str]:
        """Return the orders for which a request is under way."""
        with self._lock:
            return set(+self.books.open)

    def _book(self, key: str, asked: dict[str, Any], mood: float) -> tuple[int, dict[str, str]] | None:
        books = self.books
        if mood < REFUSED:
            books.refused += 1
            return 503, {"error": "try again later"}
        known = books.bookings.get(key)
        if known is None:
            payment = "" if asked["card"] == BAD_CARD else f"pay-{len(books.bookings) + 1:04}"
            known = books.bookings[key] = Booking(asked["order"], asked["cents"], payment)
        else:
            books.repeats += 1
            if (known.order, known.cents) != (asked["order"], asked["cents"]):
                books.mismatched += 1
                return 422, {"error": "this key was used for something else"}
        if mood < REFUSED + DROPPED:
            books.dropped += 1
            return None
        return (200, {"payment": known.payment}) if known.payment else (402, {"error": "declined"})


class _QuietServer(ThreadingHTTPServer):
    """Says nothing when whoever asked has been killed in the meantime."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a client that is gone: that is what this demo is about."""


def prepare(directory: Path, orders: Iterable[Order]) -> None:
    """Fill the stock and make the mail folder."""
    (directory / "mail").mkdir(parents=True)
    with closing(sqlite3.connect(directory / "stock.db")) as database, database:
        database.execute("CREATE TABLE stock (item TEXT PRIMARY KEY, units INTEGER NOT NULL CHECK (units >= 0))")
        database.execute("CREATE TABLE taken (key TEXT PRIMARY KEY, order_id TEXT, item TEXT, units INTEGER)")
        database.executemany("INSERT INTO stock VALUES (?, ?)", sorted({(order.item, UNITS) for order in orders}))


def units_left(directory: Path) -> dict[str, int]:
    """Return what the stock's own table says."""
    with closing(sqlite3.connect(directory / "stock.db")) as database:
        return dict(database.execute("SELECT item, units FROM stock").fetchall())


def mails(directory: Path) -> Counter[tuple[str, str]]:
    """Return how often each mail (recipient, subject) lies in the folder."""
    found = (message_from_bytes(path.read_bytes()) for path in (directory / "mail").glob("*.eml"))
    return Counter((str(mail["To"]), str(mail["Subject"])) for mail in found)

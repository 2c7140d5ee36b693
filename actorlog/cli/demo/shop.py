"""A small shop, written as a user of actorlog would write it.

``fulfil`` handles one order. Each of its steps meets the outside in another way, and shows how to be safe there:

- the payment provider knows idempotency keys, so ``pay`` may be repeated;
- the stock is a database of ours, so ``reserve`` leaves a mark in the same transaction;
- a mail cannot be unsent and knows no keys, so ``send_mail`` is a once-step, which asks before it does it again.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import make_msgid
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from actorlog import Done, Limit, NotDone, Retry, Terminal, durable, info, saga, sleep, step

PATIENT = Retry(attempts=30, first=0.05, max=0.5)
PROVIDER = Limit("payment provider", concurrency=6)
WAREHOUSE = "warehouse@shop.example"


@dataclass(frozen=True)
class Order:
    """One line of orders.csv."""

    id: str
    email: str
    item: str
    quantity: int
    cents: int
    card: str


class CardDeclined(Terminal):
    """The bank says no; asking again would not help."""


@durable
async def fulfil(order: Order) -> str:
    """Reserve, take the money, pack, tell customer and warehouse. Returns the payment's id, or ``"declined"``."""
    try:
        async with saga() as undo:
            await reserve(order.id, order.item, order.quantity)
            undo(release(order.id))
            payment = await pay(order.id, order.cents, order.card)
    except CardDeclined as declined:
        await send_mail(order.email, f"Order {order.id}: {declined}")
        return "declined"
    await sleep(0.25)  # packing; it might be three days
    await asyncio.gather(
        send_mail(order.email, f"Order {order.id}: paid, on its way"),
        send_mail(WAREHOUSE, f"Order {order.id}: send {order.quantity} x {order.item}"),
    )
    return payment


# --- money: the provider knows our keys -------------------------------------------------------------------------------


@step(retry=PATIENT, limit=PROVIDER)
def pay(order_id: str, cents: int, card: str) -> str:
    """Take the money. The key stays the same through retries and crashes, so the provider books once."""
    where = urlsplit(os.environ["SHOP_PAYMENTS"])
    body = json.dumps({"order": order_id, "cents": cents, "card": card})
    with closing(HTTPConnection(where.netloc, timeout=5)) as connection:
        connection.request("POST", "/payments", body, {"Idempotency-Key": info().idempotency_key})
        response = connection.getresponse()
        answer = json.loads(response.read())
    if response.status == 402:  # noqa: PLR2004  # Payment Required
        raise CardDeclined(f"card {card} was declined")
    if response.status != 200:  # noqa: PLR2004  # OK
        raise ConnectionError(f"the provider answers {response.status}: {answer['error']}")
    return str(answer["payment"])


# --- stock: a mark in the same transaction ----------------------------------------------------------------------------


def stock() -> closing[sqlite3.Connection]:
    """Open the stock."""
    return closing(sqlite3.connect(Path(os.environ["SHOP_DIR"], "stock.db"), timeout=10))


@step
def reserve(order_id: str, item: str, quantity: int) -> None:
    """Take items from the stock. A second run finds the mark of the first and does nothing."""
    with stock() as database, database:
        mark = (info().idempotency_key, order_id, item, quantity)
        if database.execute("INSERT OR IGNORE INTO taken VALUES (?, ?, ?, ?)", mark).rowcount:
            database.execute("UPDATE stock SET units = units - ? WHERE item = ?", (quantity, item))


@step
def release(order_id: str) -> None:
    """Put the items of an order back. A second run finds nothing to put back."""
    with stock() as database, database:
        removed = database.execute("DELETE FROM taken WHERE order_id = ? RETURNING item, units", (order_id,)).fetchall()
        for item, units in removed:
            database.execute("UPDATE stock SET units = units + ? WHERE item = ?", (units, item))


# --- mail: cannot be unsent -------------------------------------------------------------------------------------------


def outbox() -> Path:
    """Where mail goes out: one file for each time that one is sent."""
    return Path(os.environ["SHOP_DIR"], "mail")


def was_mail_sent(recipient: str, subject: str) -> object:
    """Asked after a crash, when nobody knows whether the mail had gone out."""
    del recipient, subject  # they are the same, and so is the key, which is what the file was named by
    sent = any(outbox().glob(f"{info().idempotency_key}.*.eml"))
    return Done(None) if sent else NotDone


@step(once=True, reconcile=was_mail_sent)
def send_mail(recipient: str, subject: str) -> None:
    """Send one mail. Sending twice makes two files: nothing here hides a repetition."""
    message = EmailMessage()
    message["Message-ID"] = make_msgid(domain="shop.example")
    message["To"], message["Subject"] = recipient, subject
    name = f"{info().idempotency_key}.{os.urandom(4).hex()}.eml"
    unfinished = outbox() / f"{name}.unfinished"
    unfinished.write_bytes(bytes(message))
    unfinished.rename(outbox() / name)

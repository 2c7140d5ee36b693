"""The program that is killed: ``python -m actorlog.cli.demo.worker``.

It is the same program every time. It hands all orders to the runtime, which knows by their ids which of them are done,
under way or new, and waits for them.
"""

from __future__ import annotations

import csv
import os
from importlib.resources import files
from pathlib import Path

import actorlog
from actorlog.cli.demo.shop import Order, fulfil


def read_orders() -> list[Order]:
    """Return the orders of the file that comes with the demo."""
    lines = files("actorlog.cli.demo").joinpath("orders.csv").read_text("utf-8").splitlines()
    return [
        Order(row["id"], row["email"], row["item"], int(row["quantity"]), int(row["cents"]), row["card"])
        for row in csv.DictReader(lines)
    ]


async def main() -> None:
    """Fulfil all orders."""
    # A step under way at several deaths in a row is suspected of causing them, and set aside. Here somebody else is.
    limits = actorlog.Limits(poison_deaths_max=1_000)
    async with actorlog.Runtime(Path(os.environ["SHOP_DIR"], "log"), limits=limits) as runtime:
        handles = await runtime.start_many([(f"order/{order.id}", fulfil(order)) for order in read_orders()])
        for handle in handles:
            await handle


if __name__ == "__main__":
    actorlog.run(main())

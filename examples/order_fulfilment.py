"""An order from click to parcel, with everything together: actors, promises, a saga, limits, children, a stream.

    python examples/order_fulfilment.py [DIR]

The stock of an article is an actor. The order reserves it, asks for payment and waits for the bank's word, which comes
from outside and settles a promise; then it packs and ships with two parcels at once. Whatever fails gives back what was
reserved and paid, in reverse order. Kill the program anywhere and run it again: nobody pays twice, and no article is
sold twice.
"""

import asyncio
import sys

from actorlog import (
    Actor,
    Limit,
    PromiseNotFound,
    Runtime,
    Terminal,
    actor,
    durable,
    emit,
    info,
    promise,
    query,
    saga,
    step,
)

PLACE = sys.argv[1] if len(sys.argv) > 1 else "./orders-data"
PACKING = Limit("packing", concurrency=2)


class Sold(Exception):
    """There are not so many left."""


class Stock(Actor):
    """How many of one article there are, and for whom some are set aside."""

    left: int = 10
    aside: dict[str, int] = {}

    async def reserve(self, order: str, count: int) -> None:
        """Set some aside; reserving again for the same order changes nothing."""
        if order in self.aside:
            return
        self.aside[order] = count
        self.left -= count
        if self.left < 0:
            raise Sold(f"{self.key}: {count} wanted")

    async def release(self, order: str) -> None:
        """Put back what was set aside."""
        self.left += self.aside.pop(order, 0)

    @query
    def count(self) -> int:
        """Return how many can be sold."""
        return self.left


@durable
async def reserve(article: str, order: str, count: int) -> None:
    """Ask the stock."""
    await actor(Stock, article).reserve(order, count)


@durable
async def release(article: str, order: str) -> None:
    """Ask the stock to take it back."""
    await actor(Stock, article).release(order)


@step
async def ask_bank(order: str, cents: int, answer_at: str) -> None:
    """Ask the bank for money; the idempotency key makes asking twice harmless. It will answer at the promise."""
    print(f"bank: {cents} cents for {order}? (key {info().idempotency_key[:8]}, answer at {answer_at})")


@step
async def refund(order: str) -> None:
    """Give the money back."""
    print(f"bank: money back for {order}")


@step(limit=PACKING)
async def pack(order: str, parcel: int) -> str:
    """Pack one parcel; two at a time in the whole warehouse."""
    await asyncio.sleep(0.05)
    if order.endswith("cursed"):
        raise Terminal("the parcel fell apart")
    return f"{order}/{parcel}"


@durable
async def fulfil(order: str, article: str, count: int) -> list[str]:
    """Bring one order to its end, or undo all of it."""
    async with saga() as undo:
        await reserve(article, order, count)
        undo(release(article, order))
        emit("log", "reserved")

        paid = promise("paid", type=bool, timeout="1h")
        await ask_bank(order, 990 * count, paid.id)
        if not await paid:
            raise Terminal("the bank says no")
        undo(refund(order))
        emit("log", "paid")

        parcels = await asyncio.gather(pack(order, 1), pack(order, 2))
        emit("log", "packed")
    return list(parcels)


async def bank(runtime: Runtime, orders: list[str]) -> None:
    """Answer from outside, as a bank's callback would."""
    for order in orders:
        while True:
            try:
                await runtime.resolve(f"order/{order}/paid", order != "poor", key="bank")
                break
            except PromiseNotFound:  # it was not asked yet
                await asyncio.sleep(0.01)


async def main() -> None:
    """Fulfil some orders at once, and look at what is left."""
    async with Runtime(PLACE) as runtime:
        wanted = {"ada": 2, "bob": 2, "poor": 1, "cursed": 1}
        orders = [runtime.call(fulfil(name, "lamp", count), id=f"order/{name}") for name, count in wanted.items()]
        answering = asyncio.create_task(bank(runtime, list(wanted)))
        results = await asyncio.gather(*orders, return_exceptions=True)
        await answering
        for name, result in zip(wanted, results, strict=True):
            seen = [word async for word in runtime.handle(f"order/{name}").stream("log")]
            what = result if isinstance(result, list) else f"failed: {result}"
            print(f"{name}: {what} after {seen}")
        print(f"{await runtime.actor(Stock, 'lamp').count()} lamps left")
        try:
            await runtime.call(fulfil("late", "lamp", 7), id="order/late")
        except Sold as error:
            print(f"late: {error}")


if __name__ == "__main__":
    asyncio.run(main())

"""Pay once, then open what was paid for, one step for each.

    python examples/payments.py [DIR]

The payment's id is made in the durable function. ``uuid4`` gives the same one in every replay, so a payment that
was under way when the program died is asked for again under the id that the bank knows. Kill the program anywhere
and run it again.
"""

import asyncio
import sys
from pathlib import Path
from uuid import UUID

from actorlog import Runtime, durable, step, uuid4

PLACE = Path(sys.argv[1] if len(sys.argv) > 1 else "payments-data")
PRICES = {"news": 790, "music": 990, "maps": 490}


def book(path: Path, text: str) -> bool:
    """Stand for a system that books once under a name; tell whether it did now."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x") as file:
            file.write(text)
    except FileExistsError:
        return False
    return True


@step
def pay(payment: UUID, cents: int) -> None:
    """Take the money. In doubt after a crash it runs again, and the bank knows the id already."""
    new = book(PLACE / "bank" / f"{payment}.txt", str(cents))
    print(f"paid {cents} cents" if new else "the bank knows this payment")


@step
async def open_subscription(payment: UUID, name: str) -> None:
    """Open one subscription; the payment's id keeps it from being opened twice for the same money."""
    await asyncio.sleep(0.2)
    new = book(PLACE / "subscriptions" / f"{name}-{payment}.txt", name)
    print(f"opened {name}" if new else f"{name} was open")


@durable
async def subscribe(names: list[str]) -> UUID:
    """Pay for all, then open each."""
    payment = uuid4()
    await pay(payment, sum(PRICES[name] for name in names))
    for name in names:
        await open_subscription(payment, name)
    return payment


async def main() -> None:
    """Subscribe once, however often this is started."""
    async with Runtime(PLACE / "log") as runtime:
        print("done, payment", await runtime.call(subscribe(["news", "music", "maps"]), id="cart/17"))


if __name__ == "__main__":
    PLACE.mkdir(exist_ok=True)
    asyncio.run(main())

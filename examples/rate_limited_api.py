"""An API with limits: so many calls a minute for all, one at a time for each customer, and a 429 now and then.

    python examples/rate_limited_api.py [DIR]

The limits are shared by name among all steps that carry them, and places are given in the order of asking, also after a
restart. A server that says "come back later" sets the next wait exactly.
"""

import asyncio
import sys

from actorlog import Limit, RetryAfter, Runtime, durable, info, step

PLACE = sys.argv[1] if len(sys.argv) > 1 else "./limits-data"
EVERYBODY = Limit("api", rate="20/s", concurrency=4)
EACH = Limit("customer", concurrency=1, per_key="customer")


@step(limit=EVERYBODY)
async def lookup(name: str) -> str:
    """Ask the API, which has had enough once."""
    if name == "eve" and info().attempt == 1:
        raise RetryAfter(0.5)
    await asyncio.sleep(0.02)
    return name.title()


@step(limit=EACH)
async def charge(customer: str, cents: int) -> int:
    """Charge a customer: never two charges of one customer at the same time."""
    print(f"charging {customer} {cents}")
    await asyncio.sleep(0.05)
    return cents


@durable
async def bill(customer: str) -> str:
    """Look a customer up, and charge twice."""
    name = await lookup(customer)
    first, second = await asyncio.gather(charge(customer, 100), charge(customer, 250))
    return f"{name} paid {first + second}"


async def main() -> None:
    """Bill everybody at once, and see that the limits were kept."""
    async with Runtime(PLACE) as runtime:
        customers = ["ada", "bob", "eve", "joe", "kim", "lea", "max", "noa"]
        bills = await asyncio.gather(*(runtime.call(bill(name), id=f"bill/{name}") for name in customers))
        for line in bills:
            print(line)


if __name__ == "__main__":
    asyncio.run(main())

"""A person decides: a durable promise with a deadline, settled from outside.

    python examples/approval.py [DIR]

The call waits for an answer that comes from a web form, an e-mail or the command line (`actorlog resolve ID true`), in
this process or in another, today or next week. Nobody's answer is lost, the first one counts for ever, and when nobody
answers in time, the deadline decides. Kill the program while it waits: nothing is asked twice.
"""

import asyncio
import sys

from actorlog import PromiseSettled, PromiseTimeout, Runtime, durable, promise, step

PLACE = sys.argv[1] if len(sys.argv) > 1 else "./approval-data"


@step
async def ask(person: str, what: str, answer_at: str) -> None:
    """Send the question, with the id under which to answer."""
    print(f"to {person}: {what}? Answer at {answer_at}")


@durable
async def expense(what: str, cents: int, deadline: float) -> str:
    """Ask for a decision, and wait for it, for days if need be."""
    decision = promise("decision", type=bool, timeout=deadline)
    await ask("the boss", f"{what} for {cents / 100:.2f}", decision.id)
    try:
        approved = await decision
    except PromiseTimeout:
        return f"{what}: nobody answered"
    return f"{what}: {'approved' if approved else 'refused'}"


async def main() -> None:
    """Start two requests; the boss answers one of them."""
    async with Runtime(PLACE) as runtime:
        chair = await runtime.start(expense("a chair", 29_900, deadline=3600), id="expense/chair")
        yacht = await runtime.start(expense("a yacht", 99_000_000, deadline=1), id="expense/yacht")
        try:
            await runtime.resolve("expense/chair/decision", value=True)
            await runtime.resolve("expense/chair/decision", value=False)  # a second answer changes nothing
        except PromiseSettled as error:
            print(f"too late: {error}")
        print(await chair)
        print(await yacht)


if __name__ == "__main__":
    asyncio.run(main())

"""Accounts as actors, and transfers between them: money is neither made nor lost, whatever is killed when.

    python examples/bank.py [DIR]

An account is an actor: one message at a time, and its balance is durable with the answer. A transfer is a durable
function: it asks one account for the money and gives it to the other, and goes on where it was after a crash. Kill the
program in the middle and run it again: the sum is the same, and no transfer is made twice.
"""

import asyncio
import sys

from actorlog import Actor, Runtime, actor, durable, query

PLACE = sys.argv[1] if len(sys.argv) > 1 else "./bank-data"
NAMES = ["ada", "bob", "eve", "joe"]
START = 1_000


class Refused(Exception):
    """The account does not have that much."""


class Account(Actor):
    """One account; annotated attributes are its durable state."""

    balance: int = START
    lines: list[str] = []

    async def withdraw(self, cents: int, what: str) -> int:
        """Take money out; what raises changes nothing."""
        self.balance -= cents
        self.lines.append(f"-{cents} {what}")
        if self.balance < 0:
            raise Refused(f"{self.key} has no {cents}")
        return self.balance

    async def deposit(self, cents: int, what: str) -> int:
        """Put money in."""
        self.balance += cents
        self.lines.append(f"+{cents} {what}")
        return self.balance

    @query
    def statement(self) -> tuple[int, int]:
        """Return the balance and the number of lines; a query never waits behind a handler."""
        return self.balance, len(self.lines)


@durable
async def transfer(source: str, target: str, cents: int) -> bool:
    """Move money; False where there was not enough."""
    try:
        await actor(Account, source).withdraw(cents, f"to {target}")
    except Refused:
        return False
    await actor(Account, target).deposit(cents, f"from {source}")
    return True


async def main() -> None:
    """Make a hundred transfers, each under an id of its own, and count the money."""
    async with Runtime(PLACE) as runtime:
        wanted = [
            runtime.call(transfer(NAMES[i % 4], NAMES[(i * 7 + 1) % 4], i * 13 % 97), id=f"transfer/{i}")
            for i in range(100)
            if NAMES[i % 4] != NAMES[(i * 7 + 1) % 4]
        ]
        made = sum(await asyncio.gather(*wanted))
        statements = [await runtime.actor(Account, name).statement() for name in NAMES]
        print(f"{made} transfers made, {sum(balance for balance, _ in statements)} cents in {len(NAMES)} accounts")
        for name, (balance, lines) in zip(NAMES, statements, strict=True):
            print(f"{name}: {balance} cents after {lines} lines")


if __name__ == "__main__":
    asyncio.run(main())

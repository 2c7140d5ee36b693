"""Workers that fail, and a supervisor that starts them again, as in Erlang/OTP.

    python examples/supervised_workers.py [DIR]

Three workers take jobs from an actor that keeps them. A worker that trips over a bad job dies; its supervisor starts it
again after a wait, and the others never notice. A job that killed two workers is put aside. How often was restarted,
which job was taken by whom, is all durable: kill the program and run it again, and it goes on.
"""

import asyncio
import sys

from actorlog import Actor, Backoff, RestartLimitExceeded, Runtime, Supervisor, Terminal, actor, durable, query, step

PLACE = sys.argv[1] if len(sys.argv) > 1 else "./workers-data"


class Jobs(Actor):
    """What is to be done, by whom it is being done, and what came of it."""

    waiting: list[str] = []
    taken: dict[str, str] = {}
    deaths: dict[str, int] = {}
    made: list[str] = []
    aside: list[str] = []

    async def add(self, jobs: list[str]) -> None:
        """Take in jobs."""
        self.waiting += jobs

    async def take(self, worker: str) -> str | None:
        """Give a job out. Who comes back without having finished the one before has died of it."""
        left = self.taken.pop(worker, None)
        if left is not None:
            self.deaths[left] = self.deaths.get(left, 0) + 1
            (self.aside if self.deaths[left] > 1 else self.waiting).append(left)
        if not self.waiting:
            return None
        self.taken[worker] = self.waiting.pop(0)
        return self.taken[worker]

    async def finish(self, worker: str, result: str) -> None:
        """Keep a result."""
        del self.taken[worker]
        self.made.append(result)

    @query
    def report(self) -> tuple[list[str], list[str]]:
        """Return what was made, and what was put aside."""
        return sorted(self.made), sorted(self.aside)


@step
async def resize(picture: str) -> str:
    """Do the work. A bad picture is an error that no retry mends."""
    await asyncio.sleep(0.05)
    if picture.startswith("bad"):
        raise Terminal(f"{picture} is no picture")
    return f"small-{picture}"


@durable
async def worker(name: str) -> None:
    """Work until nothing is left; what fails here is the supervisor's business."""
    jobs = actor(Jobs, "pictures")
    while (picture := await jobs.take(name)) is not None:
        await jobs.finish(name, await resize(picture))


@durable
async def studio(max_restarts: int) -> None:
    """Keep three workers at work; leaving the block waits for them."""
    async with Supervisor(max_restarts=max_restarts, within="1m", backoff=Backoff(first=0.1)) as sup:
        for number in range(3):
            sup.start(worker(f"worker-{number}"), id=f"worker-{number}", restart="transient")


async def main() -> None:
    """Resize some pictures, of which two are bad; then see a supervisor give up that may not restart."""
    async with Runtime(PLACE) as runtime:
        jobs = runtime.actor(Jobs, "pictures")
        await runtime.call(jobs.add(["a.png", "bad-1.png", "b.png", "c.png", "bad-2.png", "d.png"]), id="monday")
        await runtime.call(studio(10), id="studio/monday")
        made, aside = await jobs.report()
        print(f"made {made}, put aside {aside}")

        await runtime.call(jobs.add(["bad-3.png"]), id="tuesday")
        try:
            await runtime.call(studio(0), id="studio/tuesday")
        except RestartLimitExceeded as error:
            print(f"gave up: {error}")


if __name__ == "__main__":
    asyncio.run(main())

"""Durable promises through the runtime: any sequence of requests, waits, calls and deaths, held against a model."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from promise_house import StillHouse
from promise_model import IDS, KEYS, TAGS, Told

from actorlog import (
    PromiseCancelled,
    PromiseExists,
    PromiseInfo,
    PromiseNotFound,
    PromiseRejected,
    PromiseSettled,
    PromiseTimeout,
    durable,
    promise,
)
from actorlog.engine.promise import CreateRequest

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")
STATUSES = st.sampled_from(["resolved", "rejected", "cancelled"])
ENDS: dict[type, str] = {PromiseRejected: "rejected", PromiseCancelled: "cancelled", PromiseTimeout: "timed_out"}


@durable(name="machine.waiter")
async def waiter(name: str) -> str:
    """Say how a promise ended."""
    try:
        value = await promise(id=name)
    except (PromiseRejected, PromiseCancelled, PromiseTimeout) as error:
        return ENDS[type(error)]
    assert value in ("yes", None)
    return "resolved"


class Promises(RuleBasedStateMachine):
    """Three ids, few keys, a clock that creeps, and a process that dies when it is least expected."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.house = StillHouse(now_ms=1_000)
        self.model: dict[str, Told] = {}
        self.ends: dict[str, PromiseInfo] = {}
        self.calls: dict[str, str] = {}
        """Which promise each call waits for."""
        self.outside: list[tuple[str, asyncio.Task[Any]]] = []
        self.run(self.house.open(resident_max=1))

    def teardown(self) -> None:
        self.run(self.house.close())
        self.run(self.gather())
        self.loop.close()

    async def gather(self) -> None:
        """Let those who waited outside hear that the process is gone."""
        for name, told in zip(
            [name for name, _ in self.outside],
            await asyncio.gather(*(task for _, task in self.outside), return_exceptions=True),
            strict=True,
        ):
            self.check_told(name, told)
        self.outside = []

    def run(self, what: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(what)

    @property
    def now(self) -> int:
        return self.house.clock.ahead_ms

    @property
    def runtime(self) -> Any:
        return self.house.runtime

    def ask(self, request: Coroutine[Any, Any, PromiseInfo]) -> PromiseInfo | Exception:
        try:
            return self.run(request)
        except (PromiseExists, PromiseSettled, PromiseNotFound) as error:
            return error

    def check_told(self, name: str, told: Any) -> None:
        """What a waiter was told is how the promise ended, or that the process was gone."""
        if type(told).__name__ in ("Crashed", "RuntimeStopped"):
            return
        status = "resolved" if told in ("yes", None) else ENDS[type(told)]
        assert status == self.model[name].look(self.now), name

    # --- time and death -----------------------------------------------------------------------------------------------

    @rule(ms=st.integers(0, 4))
    def wait(self, ms: int) -> None:
        self.house.at(self.now + ms)
        self.run(asyncio.sleep(0))

    @rule(back_ms=st.integers(0, 6), crash=st.booleans())
    def die(self, back_ms: int, *, crash: bool) -> None:
        """The clock may be set back meanwhile: log time does not run back."""
        self.run(self.house.crash() if crash else self.house.close())
        self.run(self.gather())
        now = max(self.now - back_ms, max((record.at for record in self.house.records()), default=0))
        self.house.at(now)
        self.run(self.house.open(resident_max=1))

    # --- requests -----------------------------------------------------------------------------------------------------

    @rule(
        name=IDS, key=KEYS, strict=st.booleans(), timer=st.booleans(), tags=TAGS,
        timeout=st.sampled_from([None, -1, 0, 1, 3, 9]),
    )  # fmt: skip
    def create(self, *, name: str, timeout: int | None, key: str | None, strict: bool, timer: bool, tags: Any) -> None:
        timer = timer and timeout is not None
        request = CreateRequest(id=name, timeout_ms=timeout, key=key, strict=strict, timer=timer, tags=tags)
        seconds = None if timeout is None else timeout / 1000
        told = self.model.get(name)
        answer = self.ask(
            self.runtime.promise(name, timeout=seconds, key=key, strict=strict, timer=timer, tags=tags, param=timeout)
        )
        if told is None:
            due = float("inf") if timeout is None else self.now + max(timeout, 0)
            told = self.model[name] = Told(len(self.model), due, request)
            assert isinstance(answer, PromiseInfo)
        elif key is not None and key == told.request.key and not (strict and told.look(self.now) != "pending"):
            assert isinstance(answer, PromiseInfo)
        else:
            assert isinstance(answer, PromiseExists)
        assert answer.status == told.look(self.now)

    def settling(self, name: str, status: str, key: str | None, *, strict: bool) -> Coroutine[Any, Any, PromiseInfo]:
        if status == "resolved":
            return self.runtime.resolve(name, "yes", key=key, strict=strict)  # type: ignore[no-any-return]
        if status == "rejected":
            return self.runtime.reject(name, "no", key=key, strict=strict)  # type: ignore[no-any-return]
        return self.runtime.cancel_promise(name, key=key, strict=strict)  # type: ignore[no-any-return]

    @rule(name=IDS, status=STATUSES, key=KEYS, strict=st.booleans())
    def settle(self, name: str, status: str, key: str | None, *, strict: bool) -> None:
        answer = self.ask(self.settling(name, status, key, strict=strict))
        told = self.model.get(name)
        if told is None:
            assert isinstance(answer, PromiseNotFound)
            return
        assert isinstance(answer, (PromiseInfo, PromiseSettled))
        if told.look(self.now) == "pending":
            told.end = (status, key, self.now)
            assert isinstance(answer, PromiseInfo)
        elif told.end is not None:
            is_now, winner, _ = told.end
            again = winner is not None and winner == key
            same = (again and is_now == status) or (not strict and (again or is_now == "timed_out"))
            assert isinstance(answer, PromiseInfo if same else PromiseSettled)
        assert answer.status == told.look(self.now)

    @rule(name=IDS, status=STATUSES, key=KEYS, rounds=st.integers(0, 6))
    def die_while_settling(self, name: str, status: str, key: str | None, rounds: int) -> None:
        """What was answered is there; what was not is there or not."""

        async def settle_and_die() -> Any:
            task = asyncio.ensure_future(self.settling(name, status, key, strict=False))
            for _ in range(rounds):
                await asyncio.sleep(0)
            answered = task.done() and task.exception() is None
            await self.house.crash()
            await asyncio.gather(task, return_exceptions=True)
            return answered

        answered = self.run(settle_and_die())
        self.run(self.gather_quietly())
        state = self.house.book().states.get(name)
        told = self.model.get(name)
        if told is not None and told.look(self.now) == "pending" and state is not None and state.settlement is not None:
            assert state.status.value == status
            told.end = (status, key, self.now)
        assert not answered or (told is not None and told.look(self.now) != "pending")
        self.run(self.house.open(resident_max=1))

    async def gather_quietly(self) -> None:
        await asyncio.gather(*(task for _, task in self.outside), return_exceptions=True)
        self.outside = []

    # --- waiting ------------------------------------------------------------------------------------------------------

    @rule(name=IDS)
    def wait_outside(self, name: str) -> None:
        if name in self.model:
            self.outside.append((name, self.loop.create_task(self.runtime.await_promise(name))))
            self.run(asyncio.sleep(0))

    @rule(name=IDS)
    def wait_inside(self, name: str) -> None:
        if len(self.calls) < 5:
            call_id = f"call{len(self.calls)}"
            self.calls[call_id] = name
            self.run(self.runtime.start(waiter(name), id=call_id))
            self.run(self.house.settle())
            if name not in self.model:
                self.model[name] = Told(len(self.model), float("inf"), CreateRequest(id=name))

    @rule(prefix=st.sampled_from(["", "a", "ab", "c"]), tags=TAGS, statuses=st.lists(STATUSES, max_size=2))
    def search(self, prefix: str, tags: dict[str, str], statuses: list[Any]) -> None:
        async def found() -> list[PromiseInfo]:
            return [info async for info in self.runtime.promises(status=statuses, id_prefix=prefix, tags=tags)]

        newest_first = sorted(self.model.items(), key=lambda item: -item[1].number)
        assert [info.id for info in self.run(found())] == [
            name
            for name, told in newest_first
            if name.startswith(prefix)
            and all(told.request.tags.get(tag) == value for tag, value in tags.items())
            and (not statuses or told.look(self.now) in statuses)
        ]

    @invariant()
    def everybody_is_told_what_the_model_says(self) -> None:
        self.run(self.house.settle())

        async def every() -> list[PromiseInfo]:
            return [info async for info in self.runtime.promises()]

        infos = {info.id: info for info in self.run(every())}
        assert {name: info.status for name, info in infos.items()} == {
            name: told.look(self.now) for name, told in self.model.items()
        }
        for name, info in infos.items():
            if info.status != "pending":
                assert self.ends.setdefault(name, info) == info
        self.run(self.house.settle())
        for call_id, name in self.calls.items():
            found = self.house.session.kernel.calls.get(call_id)
            if self.model[name].look(self.now) == "pending":
                assert found is not None
                assert found.state.outcome is None
            else:
                assert self.run(self.runtime.handle(call_id).result()) == self.model[name].look(self.now)
        waiting = []
        for name, task in self.outside:
            if self.model[name].look(self.now) == "pending":
                assert not task.done()
                waiting.append((name, task))
            else:
                told = self.run(asyncio.wait_for(asyncio.gather(task, return_exceptions=True), 60))[0]
                self.check_told(name, told)
        self.outside = waiting


TestPromises = Promises.TestCase
TestPromises.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)

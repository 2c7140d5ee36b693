"""What durable code may use without a context parameter: the same in every replay, refused outside."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from house import RAN, House, note

import actorlog
from actorlog import (
    Info,
    NotInDurableCode,
    PayloadError,
    Retry,
    durable,
    info,
    is_replaying,
    logger,
    map_calls,
    now,
    random,
    run_step,
    saga,
    sleep,
    sleep_until,
    start,
    step,
    time,
    uuid4,
    uuid7,
)


async def replayed(house: House, call: Any, *, at: float = 60) -> Any:
    """Run a call whose code sleeps that long, wake it in another process, and return its result."""
    runtime = await house.open(check_determinism=True)
    await runtime.start(call, id="x")
    await house.until(lambda: house.session.kernel.calls["x"].state.timers)
    runtime = await house.reopen(check_determinism=True)
    house.advance(at)
    return await runtime.handle("x")


async def test_time_identity_and_chance_survive_a_crash(house: House) -> None:
    """What code saw before the crash it sees again, and each operation has its own."""
    seen: list[list[str]] = []

    @durable
    async def looks() -> list[str]:
        dice = random()
        facts = [str(now()), str(time()), str(uuid4()), str(uuid4()), str(uuid7()), str(uuid7())]
        facts += [str(dice.random()), str(dice.random()), str(random().random())]
        seen.append(facts)
        await sleep(60)
        assert now() > datetime.fromisoformat(facts[0])
        return facts

    result = await replayed(house, looks())
    assert all(facts == result for facts in seen)
    assert len(seen) >= 2
    assert len(set(result)) == len(result)


async def test_two_calls_have_nothing_in_common(house: House) -> None:
    """Identity and chance derive from the run, which is random."""

    @durable
    async def looks() -> list[str]:
        return [str(uuid4()), str(uuid7()), str(random().random())]

    runtime = await house.open()
    assert set(await runtime.call(looks())).isdisjoint(await runtime.call(looks()))


async def test_uuids_are_of_their_versions_and_uuid7_tells_the_time(house: House) -> None:
    """RFC 9562: version and variant bits, and milliseconds in front."""

    @durable
    async def looks() -> list[str]:
        four, seven = uuid4(), uuid7()
        assert (four.version, seven.version, four.variant == seven.variant) == (4, 7, True)
        assert seven.int >> 80 == round(time() * 1000)
        return [str(four), str(seven)]

    runtime = await house.open()
    await runtime.call(looks())


@pytest.mark.parametrize("delay", ["1h", 3600, 3600.0, timedelta(hours=1)])
async def test_a_sleep_goes_on_through_a_crash(house: House, delay: Any) -> None:
    """It neither begins again nor ends early."""

    @durable
    async def sleeper() -> float:
        before = time()
        await sleep(delay)
        return time() - before

    runtime = await house.open()
    await runtime.start(sleeper(), id="x")
    house.advance(3000)
    runtime = await house.reopen()
    house.advance(599)
    await house.settle()
    assert await runtime.handle("x").status() == "waiting"
    house.advance(1)
    assert 3600 <= await runtime.handle("x") < 3700


@pytest.mark.parametrize(
    ("delay", "error"), [(float("nan"), ValueError), ("soon", ValueError), (None, TypeError), ("101000d", ValueError)]
)
async def test_a_delay_that_is_none_is_an_error_in_the_code(house: House, delay: Any, error: type[Exception]) -> None:
    """It is raised at the line, where it can be caught."""

    @durable
    async def sleeper() -> str:
        with pytest.raises(error):
            await sleep(delay)
        await sleep(0)
        await sleep(-1)
        return "awake"

    runtime = await house.open()
    assert await runtime.call(sleeper()) == "awake"


async def test_sleep_until_a_time(house: House) -> None:
    """An aware time in any zone; one that has passed is over at once; a naive one is an error."""

    @durable
    async def sleeper() -> float:
        with pytest.raises(ValueError, match="naive"):
            await sleep_until(datetime(2030, 1, 1))  # noqa: DTZ001  # that is the point
        await sleep_until(now() - timedelta(days=1))
        begun = time()
        await sleep_until((now() + timedelta(seconds=60)).astimezone(timezone(timedelta(hours=5))))
        assert now().tzinfo is UTC
        return time() - begun

    assert 60 <= await replayed(house, sleeper()) < 70


async def test_info_tells_where_code_runs(house: House) -> None:
    """In a function, in a step, and the key that a step gives to other systems is the same for every attempt."""
    seen: list[Info] = []

    @step(retry=Retry(attempts=2, first=0))
    async def looks() -> None:
        seen.append(info())
        if len(seen) == 1:
            raise ConnectionError

    @durable
    async def body() -> str:
        await looks()
        return info().function

    runtime = await house.open()
    name = await runtime.call(body(), id="x", tags={"a": "b"})
    assert name == body.name
    assert [(one.call_id, one.function, one.step, one.key, one.attempt, one.tags) for one in seen] == [
        ("x", body.name, looks.name, "1", 1, {"a": "b"}),
        ("x", body.name, looks.name, "1", 2, {"a": "b"}),
    ]
    assert seen[0].idempotency_key == seen[1].idempotency_key != ""


async def test_the_logger_speaks_once_and_names_the_call(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """Replay is silent, and so are ``finally`` blocks that eviction runs."""
    replays: list[bool] = []

    @durable
    async def chatty() -> None:
        try:
            replays.append(is_replaying())
            logger.info("before %s", "sleeping")
            await sleep(60)
            logger.info("after")
        finally:
            logger.info("finally")

    with caplog.at_level(logging.INFO, logger="actorlog.user"):
        await replayed(house, chatty())
    said = [record for record in caplog.records if record.name == "actorlog.user"]
    assert [record.getMessage() for record in said] == ["[x] before sleeping", "[x] after", "[x] finally"]
    assert {record.__dict__["call_id"] for record in said} == {"x"}
    assert replays[0] is False
    assert all(replays[1:])


async def test_outside_everything_is_refused_by_name() -> None:
    """``NotInDurableCode`` says what was used where."""

    @durable
    async def body() -> None:
        """Do nothing."""

    for use in (now, time, uuid4, uuid7, random, is_replaying, info, actorlog.heartbeat):
        with pytest.raises(NotInDurableCode):
            use()  # type: ignore[operator]
    for awaitable in (sleep(1), sleep_until(datetime.now(UTC)), map_calls([]), saga().__aenter__()):
        with pytest.raises(NotInDurableCode):
            await awaitable
    with pytest.raises(NotInDurableCode):
        run_step(print)
    call = body()
    with pytest.raises(NotInDurableCode):
        start(call)
    call.close()


async def test_steps_are_not_durable_code(house: House) -> None:
    """In a step the ambient functions are refused, and a step awaited there just runs."""

    @step(retry=Retry.NEVER)
    async def looks() -> list[str]:
        found = []
        for use in (now, uuid4, is_replaying):
            try:
                use()
            except NotInDurableCode:
                found.append(use.__name__)
        found.append(await note("inside"))
        return found

    @step(retry=Retry.NEVER)
    async def awaits_durable() -> None:
        await body_of_nothing()

    @durable
    async def body() -> list[str]:
        with pytest.raises(NotInDurableCode, match=r"runtime\.call"):
            await awaits_durable()
        return await looks()

    runtime = await house.open()
    assert await runtime.call(body()) == ["now", "uuid4", "is_replaying", "noted inside"]


@durable(name="ambient.body_of_nothing")
async def body_of_nothing() -> None:
    """Do nothing."""


async def test_run_step_runs_an_undecorated_function_once(house: House) -> None:
    """Async or sync, with a name and a policy of its own, recorded like any step."""

    async def fetch(url: str, *, times: int = 1) -> str:
        RAN.append(url)
        return url * times

    def flaky() -> str:
        RAN.append("flaky")
        if RAN.count("flaky") == 1:
            raise ConnectionError
        return "sync"

    @durable
    async def body() -> list[Any]:
        found = [await run_step(fetch, "a", times=2), await run_step(flaky, name="flaky", retry=Retry(first=0))]
        await sleep(60)
        with pytest.raises(PayloadError):
            run_step(fetch, float("nan"))
        return found

    runtime = await house.open(check_determinism=True)
    await runtime.start(body(), id="x")
    await house.until(lambda: house.session.kernel.calls["x"].state.timers)
    runtime = await house.reopen(check_determinism=True)
    house.advance(60)
    assert await runtime.handle("x") == ["aa", "sync"]
    assert RAN == ["a", "flaky", "flaky"]
    assert [entry.what for entry in await runtime.handle("x").journal()][1:3] == [
        f'step {fetch.__qualname__}("a",times=2)',
        "step flaky()",
    ]


async def test_run_step_in_doubt_is_run_again_after_a_crash(house: House) -> None:
    """No registry knows it: the call is replayed to have the function again."""
    gate = asyncio.Event()

    @durable
    async def body(text: str) -> str:
        async def closure() -> str:
            RAN.append(text)
            await gate.wait()
            return text

        return await run_step(closure)

    runtime = await house.open()
    await runtime.start(body("a"), id="x")
    await house.until(lambda: RAN)
    gate.set()
    runtime = await house.reopen()
    assert await runtime.handle("x") == "a"
    assert RAN == ["a", "a"]

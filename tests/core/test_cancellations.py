"""Nobody's task ends because code that it awaits raises CancelledError by itself.

That is a failure of the code, wherever it stands. A cancellation that somebody asked for stays one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Coroutine, Sequence

import pytest

import argo_mw_coalesce.plugin as coalesce
import argo_mw_race.plugin as race
from argo_mw import ArgoError, Outcome, Refusal, StreamAborted, UpstreamError
from argo_mw.app.application import engine_of
from argo_mw.base.tasks import Tasks
from argo_mw.chain.refresh import Refresh
from argo_mw.model.guard import Request, Result
from argo_mw.plugin import (
    Batching,
    Call,
    Layer,
    LayerBypassed,
    Next,
    Stream,
    Upstream,
    hookimpl,
    is_failure,
)
from argo_mw.testing import Scripted, capture_events, settle
from argo_mw_cache.plugin import CachePlugin

INSTALLED = {"coalesce": coalesce, "cache": CachePlugin(), "race": race}


async def gives_up() -> None:
    """Wait for a task that its own owner cancels, as a pool does with a request's connection."""
    inner = asyncio.ensure_future(asyncio.Event().wait())
    asyncio.get_running_loop().call_soon(inner.cancel)
    await inner


async def ended(answer: Coroutine[object, object, object]) -> object:
    """Return what a caller gets, value or error; fail if its task ends as cancelled."""
    caller = asyncio.ensure_future(answer)
    await asyncio.wait([caller])
    assert not caller.cancelled()
    return caller.exception() or caller.result()


class GivesUp:
    """A middleware that gives up at one of its steps."""

    def __init__(self, at: str) -> None:
        self._at = at

    async def __call__(self, call: Call, call_next: Next) -> Outcome:
        if self._at == "before":
            await gives_up()
        outcome = await call_next(call)
        if self._at == "after":
            await gives_up()
        return outcome

    async def open(self) -> None:
        if self._at == "open":
            await gives_up()

    async def shadow(self, call: Call, outcome: Outcome) -> None:
        if self._at == "shadow":
            await gives_up()


class Looks(GivesUp):
    """One that gives up, or is given up, when it looks for an answer at hand."""

    def find(self, call: Call) -> Coroutine[object, object, Outcome | None]:
        if self._at == "find":
            raise asyncio.CancelledError
        return self._look()

    async def _look(self) -> Outcome | None:
        if self._at == "look":
            await gives_up()
        return None


@pytest.mark.parametrize("at", ["before", "after", "find", "look"])
async def test_a_layer_that_gives_up_costs_no_answer(open_argo, at: str) -> None:
    upstream = Scripted("a", ["bars"])
    async with open_argo(upstream, layers=(Layer("cache", Looks(at), slot="cache"),)) as argo:
        events = capture_events(argo)
        assert "AAPL" == await ended(argo.call("bars", symbol="AAPL"))
        assert ["cache"] == [event.layer for event in events.of(LayerBypassed)]
    assert 1 == len(upstream.asked)


@pytest.mark.parametrize("at", ["before", "after", "find", "look"])
async def test_a_layer_that_fails_closed_refuses_when_it_gives_up(open_argo, at: str) -> None:
    layer = Layer("cache", Looks(at), slot="cache", fail_closed=True)
    async with open_argo(Scripted("a", ["bars"]), layers=(layer,)) as argo:
        assert isinstance(await ended(argo.call("bars", symbol="AAPL")), Refusal)


async def test_a_shadow_that_gives_up_is_reported(open_argo) -> None:
    config = {"flags": {"cache": "shadow"}}
    layer = Layer("cache", GivesUp("shadow"), slot="cache")
    async with open_argo(Scripted("a", ["bars"]), layers=(layer,), config=config) as argo:
        events = capture_events(argo)
        assert "AAPL" == await argo.call("bars", symbol="AAPL")
        await settle()
        assert ["cache"] == [event.layer for event in events.of(LayerBypassed)]


async def test_a_layer_that_gives_up_when_it_is_opened_is_left_out(open_argo) -> None:
    layer = Layer("cache", GivesUp("open"), slot="cache")
    config = {"argo": {"shared": "memory://"}}
    async with open_argo(Scripted("a", ["bars"]), layers=(layer,), config=config) as argo:
        assert ["cache"] == [broken.plugin for broken in argo.broken]
        assert "AAPL" == await argo.call("bars", symbol="AAPL")


async def test_a_plugin_that_gives_up_at_its_start_is_left_out(open_argo) -> None:
    class Starting:
        @hookimpl
        async def startup(self) -> None:
            await gives_up()

    config = {"argo": {"shared": "memory://"}}
    upstream = Scripted("a", ["bars"])
    async with open_argo(upstream, plugins={"starting": Starting()}, config=config) as argo:
        assert ["starting"] == [broken.plugin for broken in argo.broken]
        assert "AAPL" == await argo.call("bars", symbol="AAPL")


async def test_an_upstream_that_gives_up_has_failed_and_the_next_one_is_asked(open_argo) -> None:
    async def fetch(call: Call) -> Outcome:
        await gives_up()
        return Outcome(1)

    quits = Upstream("a", {"bars"}, fetch, retries=0)
    async with open_argo(quits, Scripted("b", ["bars"])) as argo:
        outcome = await ended(argo.outcome("bars", symbol="AAPL"))
    assert isinstance(outcome, Outcome)
    assert "b" == outcome.upstream


async def test_a_batch_that_gives_up_fails_all_its_calls(open_argo, clock) -> None:
    async def fetch_many(calls: object) -> list[Outcome | Exception]:
        await gives_up()
        return []

    async def fetch(call: Call) -> Outcome:
        raise AssertionError

    upstream = Upstream("a", {"bars"}, fetch, batching=Batching(fetch_many, max_size=2), retries=0)
    async with open_argo(upstream) as argo:
        callers = [asyncio.create_task(ended(argo.call("bars", symbol=s))) for s in "AB"]
        await clock.advance(1.0)
        errors = await asyncio.gather(*callers)
    assert [UpstreamError, UpstreamError] == [type(error) for error in errors]
    assert all("nobody has cancelled" in str(error) for error in errors)


async def test_a_wrapped_function_that_gives_up_has_failed(open_argo) -> None:
    async with open_argo(Scripted("a", ["bars"])) as argo:

        @argo.wrap(name="quote", subject="symbol")
        async def quote(symbol: str) -> float:
            await gives_up()
            return 1.0

        error = await ended(quote("AAPL"))
    assert isinstance(error, UpstreamError)
    assert "nobody has cancelled the call" in str(error)
    assert isinstance(error.__cause__, asyncio.CancelledError)


async def test_a_map_has_an_error_for_what_gives_up(open_argo) -> None:
    async def fetch(call: Call) -> Outcome:
        if call.subject == "B":
            await gives_up()
        return Outcome(call.subject)

    async with open_argo(Upstream("a", {"bars"}, fetch, retries=0)) as argo:
        answers = await argo.map("bars", ["A", "B", "C"])
    assert [Outcome, UpstreamError, Outcome] == [type(answer) for answer in answers.values()]


@pytest.mark.parametrize("at", ["reserve", "settle"])
async def test_a_guard_that_gives_up_refuses_and_its_request_is_settled(open_argo, at: str) -> None:
    results: list[Result] = []

    class Guard:
        name = "quits"

        async def reserve(self, request: Request) -> None:
            if at == "reserve":
                await gives_up()

        def settle(self, request: Request, result: Result) -> Awaitable[None] | None:
            results.append(result)
            return gives_up() if at == "settle" else None

        async def release(self, request: Request) -> None:
            return None

    upstream = Scripted("a", ["bars"])
    async with open_argo(upstream, guards=lambda _: [Guard()]) as argo:
        got = await ended(argo.call("bars", symbol="AAPL"))
    if at == "reserve":
        assert isinstance(got, Refusal)
        assert [] == upstream.asked
    else:
        assert 1 == len(results)


async def test_guards_see_a_failure_and_no_cancellation(open_argo) -> None:
    """A breaker that takes it for a caller's leave would never open."""
    results: list[Result] = []

    class Guard:
        name = "sees"

        async def reserve(self, request: Request) -> None:
            return None

        def settle(self, request: Request, result: Result) -> None:
            results.append(result)

        async def release(self, request: Request) -> None:
            return None

    async def fetch(call: Call) -> Outcome:
        await gives_up()
        return Outcome(1)

    upstream = Upstream("a", {"bars"}, fetch, retries=0)
    async with open_argo(upstream, guards=lambda _: [Guard()]) as argo:
        await ended(argo.call("bars", symbol="AAPL"))
    assert [UpstreamError] == [type(one) for (one,) in results]


async def test_a_stream_whose_source_gives_up_is_aborted_by_that() -> None:
    async def chunks() -> AsyncIterator[str]:
        yield "first"
        await gives_up()

    tasks = Tasks()
    stream = Stream(chunks(), tasks)
    read: list[str] = []
    with pytest.raises(StreamAborted, match="nobody has cancelled"):
        async for chunk in stream.read():
            read.append(chunk)
    assert ["first"] == read
    await tasks.aclose()


async def test_a_refresh_that_gives_up_was_not_stopped_by_shutdown() -> None:
    async def load() -> Outcome:
        await gives_up()
        return Outcome(1)

    refresh = Refresh("bars AAPL", asyncio.ensure_future(load()))
    with pytest.raises(ArgoError) as caught:
        await refresh.wait()
    assert "shutdown" not in str(caught.value)


async def test_a_cancellation_that_somebody_asked_for_stays_one_at_every_turn(open_argo) -> None:
    """Also where code that it reaches waits for a task of its own, or gives up meanwhile."""
    for turns in range(12):
        upstream = Scripted("a", ["bars"])
        layer = Layer("cache", Looks("look"), slot="cache")
        async with open_argo(upstream, layers=(layer,)) as argo:
            caller = asyncio.create_task(argo.call("bars", symbol="AAPL"))
            for _ in range(turns):
                await asyncio.sleep(0)
            done = caller.done()
            caller.cancel()
            await asyncio.wait([caller])
            assert done or caller.cancelled()
            assert [] == engine_of(argo).tasks.names


@pytest.mark.parametrize(
    ("error", "asked", "failure"),
    [
        (ValueError(), False, True),
        (ValueError(), True, True),
        (asyncio.CancelledError(), False, True),
        (asyncio.CancelledError(), True, False),
        (KeyboardInterrupt(), False, False),
        (GeneratorExit(), False, False),
    ],
)
async def test_what_counts_as_a_failure(error: BaseException, asked: bool, failure: bool) -> None:
    async def judge() -> bool:
        if asked:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0)
        return is_failure(error)

    assert failure == await asyncio.ensure_future(judge())


class Panic(BaseException):
    """As of a native library: no ``Exception``, so that nobody catches it by chance."""


ODD = (GeneratorExit("gave up"), Panic("gave up"), BaseExceptionGroup("gave up", [Panic()]))


@pytest.mark.parametrize("layers", [(), ("coalesce",), ("race",), ("coalesce", "cache", "race")])
@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("error", ODD, ids=lambda error: type(error).__name__)
async def test_what_an_upstream_raises_that_is_no_exception_is_its_failure(
    open_argo, clock, error: BaseException, batched: bool, layers: tuple[str, ...]
) -> None:
    """No caller waits for its deadline because of it, nor does its task end in it."""

    async def fetch(call: Call) -> Outcome:
        await asyncio.sleep(0)
        raise error

    async def fetch_many(calls: Sequence[Call]) -> list[Outcome | Exception]:
        raise error

    batching = Batching(fetch_many, max_size=2) if batched else None
    upstream = Upstream("a", {"bars"}, fetch, batching=batching, retries=0)
    plugins = {name: INSTALLED[name] for name in layers}
    async with open_argo(upstream, plugins=plugins) as argo:
        callers = [asyncio.create_task(ended(argo.call("bars", symbol=s))) for s in "AB"]
        await clock.advance(1.0)
        assert all(caller.done() for caller in callers)
        errors = [caller.result() for caller in callers]
    assert [UpstreamError] * 2 == [type(one) for one in errors]
    assert all("gave up" in str(one) for one in errors)


async def test_the_next_upstream_is_asked_after_what_is_no_exception(open_argo) -> None:
    async def fetch(call: Call) -> Outcome:
        raise Panic

    panics = Upstream("a", {"bars"}, fetch, retries=0)
    async with open_argo(panics, Scripted("b", ["bars"])) as argo:
        outcome = await ended(argo.outcome("bars", symbol="AAPL"))
    assert isinstance(outcome, Outcome)
    assert "b" == outcome.upstream


@pytest.mark.parametrize("error", ODD, ids=lambda error: type(error).__name__)
async def test_a_layer_that_raises_what_is_no_exception_is_passed_by(
    open_argo, error: BaseException
) -> None:
    class Raises:
        async def __call__(self, call: Call, call_next: Next) -> Outcome:
            await asyncio.sleep(0)
            raise error

    layer = Layer("cache", Raises(), slot="cache")
    async with open_argo(Scripted("a", ["bars"]), layers=(layer,)) as argo:
        assert "AAPL" == await ended(argo.call("bars", symbol="AAPL"))


@pytest.mark.parametrize("ends", [KeyboardInterrupt(), SystemExit()])
def test_what_ends_the_program_is_no_failure(ends: BaseException) -> None:
    assert not is_failure(ends)


async def test_a_coroutine_that_is_closed_has_not_failed() -> None:
    judged: list[bool] = []

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        except GeneratorExit as error:
            judged.append(is_failure(error))
            raise

    async def around() -> None:
        try:
            await waits()
        except GeneratorExit as error:
            judged.append(is_failure(error))
            raise

    waiting = around()
    waiting.send(None)
    waiting.close()
    assert [False, False] == judged

"""Scope: what is asked from inside of an upstream, without naming the call that it answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import pytest

from argo_mw import Argo, BlockingArgo, Outcome, ScopeConflict
from argo_mw.plugin import (
    AnyOperation,
    Batching,
    Call,
    CallEnded,
    Context,
    Stream,
    Upstream,
    operation,
)
from argo_mw.testing import FakePlugin, capture_events

CONFIG = {"argo": {"shared": "memory://", "strict": True}}
Ask = Callable[["Inside"], Awaitable[object]]


@operation(subject="symbol", scope="tenant")
def private(symbol: str) -> str:
    raise AssertionError


def asking(scope: str) -> AnyOperation:
    @operation(name="asking", subject="symbol", scope=scope)
    def asks(symbol: str) -> str:
        raise AssertionError

    return asks


class Inside(FakePlugin):
    """A plugin whose operation ``asking`` asks ``private`` in a way of its own.

    Attributes:
        argo: The application that it holds, as an SDK's client does.
        asked: On behalf of whom ``private`` was asked, as its upstream has seen it.
    """

    argo: Argo
    context: Context

    def __init__(self, ask: Ask, by: str, scope: str) -> None:
        self._ask = ask
        self.asked: list[str] = []
        batching = Batching(self._many, max_size=2) if by == "a batch" else None
        fetch = self._streamed if by == "a stream" else self._fetch
        super().__init__(
            operations=[private, asking(scope)],
            upstreams=[
                Upstream("asks", {"asking"}, fetch, batching=batching),
                Upstream("private", {"private"}, self._private),
            ],
        )

    async def _private(self, call: Call) -> Outcome:
        self.asked.append(call.tenant)
        return Outcome(f"of {call.tenant}")

    async def _fetch(self, call: Call) -> Outcome:
        return Outcome(await self._ask(self))

    async def _many(self, calls: Sequence[Call]) -> Sequence[Outcome | Exception]:
        return [await self._fetch(call) for call in calls]

    async def _streamed(self, call: Call) -> Outcome:
        async def source() -> AsyncIterator[object]:
            yield await self._ask(self)

        return Outcome(Stream(source(), self.context.tasks))


async def by_call(inside: Inside) -> object:
    return await inside.argo.call("private", symbol="x")


async def by_outcome(inside: Inside) -> object:
    return (await inside.argo.outcome("private", symbol="x")).value


async def by_options(inside: Inside) -> object:
    return await inside.argo.options(timeout=5).call("private", symbol="x")


async def by_map(inside: Inside) -> object:
    [found] = (await inside.argo.map("private", ["x"])).values()
    assert isinstance(found, Outcome)
    return found.value


async def by_a_task(inside: Inside) -> object:
    return await asyncio.create_task(by_call(inside))


async def by_a_thread(inside: Inside) -> object:
    loop = asyncio.get_running_loop()
    return await asyncio.to_thread(
        lambda: asyncio.run_coroutine_threadsafe(by_call(inside), loop).result()
    )


WAYS = (by_call, by_outcome, by_options, by_map, by_a_task, by_a_thread)


async def by_naming_a_tenant(inside: Inside) -> object:
    return await inside.argo.options(tenant="other").call("private", symbol="x")


async def by_a_refresh(inside: Inside) -> object:
    again = inside.context.refresh(inside.context.make_call("private", "other", {"symbol": "x"}))
    assert again is not None
    return (await again.wait()).value


async def by_a_call_of_another(inside: Inside) -> object:
    parent = inside.context.make_call("private", "other", {"symbol": "y"})
    return (await inside.context.call(parent, "private", symbol="x")).value


async def by_a_map_of_another(inside: Inside) -> object:
    parent = inside.context.make_call("private", "other", {"symbol": "y"})
    return str(await inside.context.map(parent, "private", ["x"]))


NAMING = (by_naming_a_tenant, by_a_refresh, by_a_call_of_another, by_a_map_of_another)


async def answered(argo: Argo, tenant: str) -> object:
    value = await argo.options(tenant=tenant).call("asking", symbol="x")
    if not isinstance(value, Stream):
        return value
    [chunk] = [chunk async for chunk in value.read()]
    return chunk


def opened(inside: Inside) -> Argo:
    inside.argo = Argo.open(CONFIG, plugins={"inside": inside}, installed=False)
    return inside.argo


@pytest.mark.parametrize("by", ["a request", "a batch", "a stream"])
@pytest.mark.parametrize("way", [*WAYS, *NAMING])
async def test_no_upstream_of_a_public_operation_gets_a_tenants_answer(way: Ask, by: str) -> None:
    inside = Inside(way, by, "public")
    async with opened(inside) as argo:
        with pytest.raises(Exception, match="asking is public") as caught:
            await answered(argo, "desk-7")
    assert ScopeConflict in {type(caught.value), type(caught.value.__cause__)}
    assert [] == inside.asked


@pytest.mark.parametrize("by", ["a request", "a batch", "a stream"])
@pytest.mark.parametrize("way", WAYS)
async def test_what_an_upstream_asks_is_asked_for_the_tenant_that_it_answers(
    way: Ask, by: str
) -> None:
    inside = Inside(way, by, "tenant")
    async with opened(inside) as argo:
        found = [await answered(argo, tenant) for tenant in ("desk-7", "desk-8")]
    assert ["of desk-7", "of desk-8"] == found
    assert ["desk-7", "desk-8"] == inside.asked


async def test_a_stream_is_read_for_the_tenant_that_it_answers() -> None:
    inside = Inside(by_call, "a stream", "tenant")
    async with opened(inside) as argo:
        stream = await argo.options(tenant="desk-7").call("asking", symbol="x")
        assert isinstance(stream, Stream)

        @argo.wrap(name="reader", scope="tenant")
        async def reader(of: str) -> str:
            return " ".join([str(chunk) async for chunk in stream.read()])

        assert "of desk-7" == await argo.options(tenant="desk-8").call("reader", of="x")
        # And once it has ended, nothing is asked for it any more.
        assert "of default" == await by_call(inside)


async def test_a_task_that_outlives_its_upstream_asks_for_itself() -> None:
    later = asyncio.Event()
    started: list[asyncio.Task[object]] = []

    async def poll(inside: Inside) -> object:
        await later.wait()
        return await by_call(inside)

    async def start(inside: Inside) -> object:
        started.append(asyncio.create_task(poll(inside)))
        return "started"

    inside = Inside(start, "a request", "public")
    async with opened(inside) as argo:
        await answered(argo, "desk-7")
        later.set()
        assert "of default" == await started[0]


async def test_equal_calls_under_way_at_once_end_apart() -> None:
    """The end of one does not end what the other asks."""
    gates = [asyncio.Event(), asyncio.Event()]
    waiting = iter(gates)
    inside_both = asyncio.Semaphore(0)

    async def ask(inside: Inside) -> object:
        gate = next(waiting)
        inside_both.release()
        await gate.wait()
        return await by_call(inside)

    inside = Inside(ask, "a request", "tenant")
    async with opened(inside) as argo:
        asked = [asyncio.create_task(answered(argo, "desk-7")) for _ in gates]
        for _ in gates:
            await inside_both.acquire()
        found = []
        for gate, one in zip(gates, asked, strict=True):
            gate.set()
            found.append(await one)
    assert ["of desk-7"] * 2 == found


def test_the_blocking_facade_asks_for_the_tenant_that_its_upstream_answers() -> None:
    facade: list[BlockingArgo] = []

    async def ask(inside: Inside) -> object:
        return await asyncio.to_thread(
            lambda: [
                facade[0].call("private", symbol="x"),
                facade[0].run(lambda argo: argo.call("private", symbol="x")),
            ]
        )

    for scope in ("tenant", "public"):
        inside = Inside(ask, "a request", scope)
        with BlockingArgo(CONFIG, plugins={"inside": inside}, installed=False) as argo:
            facade[:] = [argo]
            asked = lambda one: one.options(tenant="desk-7").call("asking", symbol="x")  # noqa: E731
            if scope == "tenant":
                assert ["of desk-7"] * 2 == argo.run(asked)
            else:
                with pytest.raises(ScopeConflict):
                    argo.run(asked)


async def test_what_a_public_upstream_asks_of_public_ones_is_no_conflict() -> None:
    async def ask(inside: Inside) -> object:
        return await inside.argo.call("price", symbol="x")

    inside = Inside(ask, "a request", "public")
    async with opened(inside) as argo:

        @argo.wrap(name="price", subject="symbol")
        async def price(symbol: str) -> float:
            return 1.5

        events = capture_events(argo)
        assert 1.5 == await answered(argo, "desk-7")
    assert ["price", "asking"] == [one.call.operation.name for one in events.of(CallEnded)]


async def test_a_thread_of_an_executor_asks_for_the_configured_tenant() -> None:
    """Python hands it no context: what it asks looks like what a program asks by itself."""

    async def ask(inside: Inside) -> object:
        loop = asyncio.get_running_loop()
        asked = lambda: asyncio.run_coroutine_threadsafe(by_call(inside), loop).result()  # noqa: E731
        return await loop.run_in_executor(None, asked)

    inside = Inside(ask, "a request", "tenant")
    async with opened(inside) as argo:
        assert "of default" == await answered(argo, "desk-7")

"""What a look into the store may ask for with it, and what a cache on the way may rely on."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import pytest

from argo_mw import Argo, ArgoError, Outcome, SharedUnavailable
from argo_mw.plugin import (
    ALONE,
    HANDOVER,
    Call,
    ClaimWanted,
    Context,
    Handover,
    Kept,
    Layer,
    Next,
    Trouble,
    context_of,
    hookimpl,
    operation,
)
from argo_mw.testing import FakeClock, FakePlugin, Scripted, capture_events, settle
from argo_mw_coalesce import plugin
from argo_mw_coalesce.distributed import CHANNEL

_names = itertools.count()


@operation(timeout=60.0, subject="symbol")
def bars(symbol: str) -> object:
    """Price bars."""


@operation(kind="compute", name="signal", subject="symbol")
def signal(symbol: str) -> object:
    """Made from bars."""


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(start=0.1)


@pytest.fixture
def store() -> str:
    return f"memory://coalesce-claims-{next(_names)}"


def settings(
    store: str, flags: Mapping[str, object] | None = None, **config: object
) -> dict[str, object]:
    return {
        "argo": {"shared": store, "strict": True},
        "plugins": {"coalesce": {"lease_ttl": 3.0, **config}},
        "flags": flags or {},
    }


def instance(
    store: str,
    clock: FakeClock,
    *upstreams: Scripted,
    flags: Mapping[str, object] | None = None,
    also: Mapping[str, object] | None = None,
) -> Argo:
    asked = FakePlugin(operations=[bars, signal], upstreams=list(upstreams) or [scripted()])
    plugins = {"coalesce": plugin, "asked": asked, **(also or {})}
    return Argo.open(settings(store, flags), clock=clock, plugins=plugins, installed=False)


def scripted(name: str = "a", *script: object) -> Scripted:
    return Scripted(name, ["bars", "signal"], *script, retries=0)


def foreseen(argo: Argo, operation: str = "bars", **changes: object) -> ClaimWanted | None:
    """Return what a look for a call would ask for with it."""
    context = context_of(argo)
    assert context.claims.foresee is not None
    call = context.make_call(operation, "", {"symbol": "AAPL"})
    return context.claims.foresee(call.evolve(**changes))


# -- claims ----------------------------------------------------------------------------------------


async def test_a_look_asks_for_the_lease_that_the_load_will_take(
    store: str, clock: FakeClock
) -> None:
    async with instance(store, clock) as argo:
        await argo.call("bars", symbol="warm")
        key = context_of(argo).make_call("bars", "", {"symbol": "AAPL"}).key
        wanted = ClaimWanted(f"argo:flight:{{{key}}}@a", f"argo:result:{{{key}}}@a", 3.0)
        assert wanted == foreseen(argo)


@pytest.mark.parametrize(
    ("operation", "changes"),
    [("bars", {"refresh": True}), ("bars", {"extensions": {ALONE: True}}), ("signal", {})],
    ids=["refresh", "alone", "compute"],
)
async def test_a_look_asks_for_no_lease_where_the_load_takes_none(
    store: str, clock: FakeClock, operation: str, changes: dict[str, object]
) -> None:
    async with instance(store, clock) as argo:
        await argo.call("bars", symbol="warm")
        assert None is foreseen(argo, operation, **changes)
        assert None is not foreseen(argo, "bars", extensions={ALONE: False})


@pytest.mark.parametrize(("upstreams", "share"), [(["a", "b"], 100), (["a"], 0)], ids=repr)
async def test_a_look_asks_for_no_lease_while_nobody_knows_at_which_upstream(
    store: str, clock: FakeClock, upstreams: list[str], share: int
) -> None:
    async with instance(store, clock, *map(scripted, upstreams)) as argo:
        await argo.call("bars", symbol="warm")
        await argo.reload(settings(store, {"upstream.a": {"percent": share}}))
        assert None is foreseen(argo)


async def test_a_look_asks_for_a_lease_for_those_calls_alone_that_the_flag_is_on_for(
    store: str, clock: FakeClock
) -> None:
    flags = {"coalesce": {"percent": 50, "by": "subject"}}
    async with instance(store, clock, flags=flags) as argo:
        context, asked = context_of(argo), set()
        for number in range(20):
            await argo.call("bars", symbol=f"S{number}")
        for number in range(20):
            call = context.make_call("bars", "", {"symbol": f"S{number}"})
            assert context.claims.foresee is not None
            asked.add(context.claims.foresee(call) is not None)
            assert context.flag("coalesce", call).on == (context.claims.foresee(call) is not None)
    assert {True, False} == asked


async def test_a_look_asks_for_no_lease_before_results_are_heard_of_and_after_that_was_refused(
    store: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with instance(store, clock) as argo:
        shared, answers, subscribe = context_of(argo).shared, asyncio.Event(), None
        subscribe = shared.subscribe

        async def refuse(*_: object) -> None:
            await answers.wait()
            msg = "no channels"
            raise SharedUnavailable(msg)

        monkeypatch.setattr(shared, "subscribe", refuse)
        assert None is foreseen(argo)
        asking = asyncio.create_task(argo.call("bars", symbol="AAPL"))
        await settle()
        assert None is foreseen(argo)
        answers.set()
        assert "AAPL" == await asking
        assert None is foreseen(argo)
        monkeypatch.setattr(shared, "subscribe", subscribe)
        await clock.advance(2.0)
        await argo.call("bars", symbol="AAPL")
        assert None is not foreseen(argo)


async def test_a_load_that_ends_with_its_application_gives_up_what_was_asked_for(
    store: str, clock: FakeClock
) -> None:
    """Its end comes after the application has stopped taking calls."""
    reached = asyncio.Event()

    async def waits(call: Call, call_next: Next) -> Outcome:
        if call.subject == "AAPL":
            reached.set()
            await asyncio.Event().wait()
        return await call_next(call)

    waiting = FakePlugin(layers=[Layer("waits", waits, after=("coalesce",))])
    failed: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, why: failed.append(why))
    async with instance(store, clock, also={"waits": waiting}) as argo:
        await argo.call("bars", symbol="warm")
        context = context_of(argo)
        call = context.make_call("bars", "", {"symbol": "AAPL"})
        assert await context.claims.look("answer", call) is None
        asking = asyncio.create_task(argo.call("bars", symbol="AAPL"))
        await reached.wait()
        assert 1 == len(context.claims)
    assert 0 == len(context.claims)
    assert [] == failed
    assert isinstance((await asyncio.gather(asking, return_exceptions=True))[0], ArgoError)


async def test_looks_ask_for_leases_while_the_layer_in_use_is_open(
    store: str, clock: FakeClock
) -> None:
    async with instance(store, clock) as argo:
        claims = context_of(argo).claims
        before = claims.foresee
        await argo.reload(settings(store, lease_ttl=9.0))
        await clock.advance(3_600.0)
        await argo.call("bars", symbol="warm")
        assert claims.foresee not in (None, before)
        wanted = foreseen(argo)
        assert wanted is not None
        assert 9.0 == wanted.ttl
    assert None is claims.foresee


# -- channels --------------------------------------------------------------------------------------


async def test_where_results_are_not_heard_of_that_is_said_and_tried_again_a_second_later(
    store: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream, tries = scripted(), []
    async with instance(store, clock, upstream) as argo:
        events, shared = capture_events(argo), context_of(argo).shared

        async def refuse(channel: str, *_: object) -> None:
            tries.append((channel, clock.monotonic()))
            msg = "no channels"
            raise SharedUnavailable(msg)

        monkeypatch.setattr(shared, "subscribe", refuse)
        began = clock.monotonic()
        for _ in range(3):
            await argo.call("bars", symbol="AAPL")
            await settle()
        # Once for the call, and once more to see whether this alone is refused.
        assert [(CHANNEL, began)] * 2 == tries
        await clock.advance(0.9)
        await argo.call("bars", symbol="AAPL")
        assert 2 == len(tries)
        await clock.advance(0.1)
        await argo.call("bars", symbol="AAPL")
        await settle()
        assert [(CHANNEL, clock.monotonic())] * 2 == tries[2:]
        said = [trouble.what for trouble in events.of(Trouble) if "coalesce" == trouble.where]
    assert 1 == len(said)
    assert said[0].startswith("results of other processes ")
    assert said[0].endswith(": no channels")
    assert 5 == len(upstream.asked)


async def test_who_waits_looks_again_once_messages_may_have_been_missed(
    store: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, gaps = scripted("a", "one"), []
    one.gate.clear()
    async with instance(store, clock, one) as first, instance(store, clock) as second:
        shared, subscribe = context_of(second).shared, context_of(second).shared.subscribe

        async def deaf(
            channel: str, on_message: Callable[[bytes], None], on_gap: Callable[[], None]
        ) -> object:
            gaps.append(on_gap)
            return await subscribe(channel, lambda _: None, on_gap)

        monkeypatch.setattr(shared, "subscribe", deaf)
        loading = asyncio.create_task(first.call("bars", symbol="AAPL"))
        await settle()
        waiting = asyncio.create_task(second.call("bars", symbol="AAPL"))
        await settle()
        one.gate.set()
        await loading
        await settle()
        assert not waiting.done()
        gaps[-1]()
        await settle()
        assert waiting.done()
        assert "one" == await waiting


# -- handover --------------------------------------------------------------------------------------


class Keeping:
    """A layer that keeps answers as a cache does, and notes whether it may do so later."""

    def __init__(self, keeps_for: float = 10.0, tags: tuple[str, ...] = ("subject:AAPL",)) -> None:
        self.keeps_for = keeps_for
        self.tags = tags
        self.later: list[bool] = []
        self.put: dict[str, bytes] = {}
        self.ended: list[bool] = []
        self.context: Context | None = None

    @hookimpl
    def register_layers(self, context: Context) -> list[Layer]:
        self.context = context
        return [Layer("keeps", self, after=("coalesce",), before=("coalesce.loads",))]

    async def __call__(self, call: Call, call_next: Next) -> Outcome:
        context = self.context
        assert context is not None
        handover = call.extensions[HANDOVER]
        assert isinstance(handover, Handover)
        handover.takes_kept = not call.refresh
        before = await context.tag_versions.load(self.tags)
        outcome = await call_next(call)
        until = context.clock.time() + self.keeps_for
        kept = [
            Kept(until, before.versions, key, data, self.keeps_for, self.ended.append)
            for key, data in self.put.items()
        ]
        self.later.append(handover.keep(*kept or [Kept(until, before.versions)]))
        return outcome


@asynccontextmanager
async def one_has_loaded(
    store: str, clock: FakeClock, asked: Scripted, *keeping: Keeping
) -> AsyncIterator[tuple[Argo, Argo]]:
    """Open two instances, of which the first has loaded "kept" a second ago; the other asks *asked*."""
    one, other = keeping
    async with (
        instance(store, clock, scripted("a", "kept"), also={"keeps": one}) as first,
        instance(store, clock, asked, also={"keeps": other}) as second,
    ):
        await first.call("bars", symbol="AAPL")
        await settle()
        await clock.advance(1.0)
        yield first, second


@pytest.mark.parametrize(("upstreams", "later"), [(["a"], True), (["a", "b"], False)])
async def test_a_cache_may_store_later_where_all_processes_come_to_the_same_result(
    store: str, clock: FakeClock, upstreams: list[str], later: bool
) -> None:
    keeps = Keeping()
    asked = [scripted(name) for name in upstreams]
    async with instance(store, clock, *asked, also={"keeps": keeps}) as argo:
        await argo.call("bars", symbol="AAPL")
    assert [later] == keeps.later


async def test_a_cache_stores_at_once_where_its_upstream_was_switched_off_meanwhile(
    store: str, clock: FakeClock
) -> None:
    """No other process comes to this lease any more."""
    keeps, asked = Keeping(), scripted()
    asked.gate.clear()
    async with instance(store, clock, asked, also={"keeps": keeps}) as argo:
        asking = asyncio.create_task(argo.call("bars", symbol="AAPL"))
        await settle()
        await argo.reload(settings(store, {"upstream.a": {"percent": 0}}))
        asked.gate.set()
        await asking
    assert [False] == keeps.later


@pytest.mark.parametrize(("seconds", "later"), [(2.69, True), (2.7, False)])
async def test_a_cache_stores_at_once_where_another_process_may_have_the_lease(
    store: str, clock: FakeClock, seconds: float, later: bool
) -> None:
    keeps = Keeping()

    def stalls(call: Call) -> str:
        clock.stall(seconds)
        return "late"

    async with instance(store, clock, scripted("a", stalls), also={"keeps": keeps}) as argo:
        await argo.call("bars", symbol="AAPL")
    assert [later] == keeps.later


async def test_what_a_cache_keeps_is_stored_with_the_result(store: str, clock: FakeClock) -> None:
    keeps = Keeping()
    keeps.put = {"kept": b"answer"}
    async with instance(store, clock, also={"keeps": keeps}) as argo:
        await argo.call("bars", symbol="AAPL")
        await settle()
        assert ([True], b"answer") == (keeps.ended, await context_of(argo).shared.get("kept"))
        await clock.advance(10.1)
        assert await context_of(argo).shared.get("kept") is None


@pytest.mark.parametrize("how", ["refused", "late"])
async def test_a_cache_hears_when_what_it_keeps_was_not_stored_with_the_result(
    store: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    keeps = Keeping()
    keeps.put = {"kept": b"answer"}
    async with instance(store, clock, also={"keeps": keeps}) as argo:

        async def fail(*_: object, **__: object) -> bool:
            if how == "refused":
                raise SharedUnavailable("no scripts")
            await clock.sleep(100.0)
            return True

        monkeypatch.setattr(context_of(argo).shared, "settle", fail)
        await argo.call("bars", symbol="AAPL")
        await settle()
        await clock.advance(10.0)
        assert [False] == keeps.ended


@pytest.mark.parametrize(
    ("keeps_for", "change", "refresh", "loads"),
    [
        (10.0, None, False, 0),
        (0.5, None, False, 1),  # it is kept no more
        (10.0, "expire", False, 1),
        (10.0, "invalidate", False, 1),
        (10.0, None, True, 1),
    ],
    ids=["kept", "over", "expired", "invalidated", "refresh"],
)
async def test_a_kept_answer_that_is_not_in_the_store_yet_is_taken_from_the_result(
    store: str,
    clock: FakeClock,
    keeps_for: float,
    change: str | None,
    refresh: bool,
    loads: int,
) -> None:
    """Also by a call from after its load: it would have found it in the cache."""
    keeping = Keeping(keeps_for), Keeping(keeps_for)
    asked = scripted("a", "newer")
    async with one_has_loaded(store, clock, asked, *keeping) as (first, second):
        if change is not None:
            await getattr(context_of(first), change)(["subject:AAPL"])
        asking = second.options(refresh=refresh).outcome("bars", symbol="AAPL")
        assert ("newer" if loads else "kept") == (await asking).value
    assert loads == len(asked.asked)


async def test_a_result_depends_on_all_tags_that_a_cache_has_found(
    store: str, clock: FakeClock
) -> None:
    """Not only on those that the call has had before the load."""
    keeping = [Keeping(tags=("subject:AAPL", "source:x")) for _ in range(2)]
    asked = scripted("a", "newer")
    async with one_has_loaded(store, clock, asked, *keeping) as (first, second):
        await context_of(first).invalidate(["source:x"])
        assert "newer" == await second.call("bars", symbol="AAPL")

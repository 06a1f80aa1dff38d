"""Find: answers at hand, which need no upstream and no way through the chain."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator

import pytest

from argo_mw import DeadlineExceeded, Outcome, QuotaExceeded
from argo_mw.app.application import engine_of
from argo_mw.plugin import Call, CallEnded, Layer, LayerBypassed, Next, TimeLimitExceeded
from argo_mw.testing import Scripted, capture_events, settle

Book = list[str]


async def through(call: Call, call_next: Next) -> Outcome:
    return await call_next(call)


class Layered:
    """A middleware that writes down when it is entered, and what the call had missed."""

    def __init__(self, name: str, book: Book) -> None:
        self.name = name
        self.book = book
        self.missed: tuple[str, ...] = ()

    async def __call__(self, call: Call, call_next: Next) -> Outcome:
        self.book.append(f"{self.name} entered")
        self.missed = call.missed
        return await call_next(call)


class Memory(Layered):
    """A layer with an immediate answer, or an immediate error."""

    def __init__(self, name: str, book: Book, answer: object = None) -> None:
        super().__init__(name, book)
        self.answer = answer

    def find(self, call: Call) -> Outcome | None:
        self.book.append(f"{self.name} asked")
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer  # type: ignore[return-value]


class Store(Layered):
    """A layer that has to wait for its answer."""

    def __init__(self, name: str, book: Book, *answers: object) -> None:
        super().__init__(name, book)
        self.answers = list(answers)
        self.task: asyncio.Task[object] | None = None

    def find(self, call: Call):
        self.book.append(f"{self.name} asked")
        return self.look()

    async def look(self) -> Outcome | None:
        self.task = asyncio.current_task()
        self.book.append(f"{self.name} begun")
        try:
            await asyncio.sleep(0)
            answer = self.answers.pop(0)
            if isinstance(answer, asyncio.Event):
                await answer.wait()
                answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer  # type: ignore[return-value]
        finally:
            self.book.append(f"{self.name} ended")


class Deferred(Store):
    """A layer that never has an immediate answer, and says so by an ``async def find``."""

    async def find(self, call: Call) -> Outcome | None:  # type: ignore[override]
        self.book.append(f"{self.name} asked")
        return await self.look()


def placed(*middlewares: Layered, **more: object) -> tuple[Layer, ...]:
    """*middlewares* as layers, outermost first."""
    layers: list[Layer] = []
    for middleware in middlewares:
        inside = (layers[-1].name,) if layers else ()
        layers.append(Layer(middleware.name, middleware, after=inside, before=("race",), **more))
    return tuple(layers)


@pytest.fixture
def book() -> Book:
    return []


@pytest.fixture(autouse=True, scope="module")
def only_what_these_tests_leave_is_collected() -> Iterator[None]:
    """Set apart what is there already: it is large, and its warnings belong to other tests."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def every_coroutine_is_awaited_or_closed(recwarn: pytest.WarningsRecorder) -> Iterator[None]:
    yield
    gc.collect()
    assert [] == [str(w.message) for w in recwarn if "never awaited" in str(w.message)]


@pytest.fixture
def upstream() -> Scripted:
    return Scripted("a", ["bars"], "asked")


# -- Immediate answers -------------------------------------------------------------------------


async def test_an_immediate_answer_enters_no_layer(open_argo, book, upstream) -> None:
    layers = placed(Memory("one", book), Memory("two", book, Outcome("kept")))
    async with open_argo(upstream, layers=layers) as argo:
        events = capture_events(argo)
        assert "kept" == await argo.call("bars", symbol="A")
        assert "kept" == (await argo.outcome("bars", symbol="A")).value
    assert ["one asked", "two asked"] * 2 == book
    assert [] == upstream.asked
    assert [True, True] == [event.at_hand for event in events.of(CallEnded)]


async def test_the_outermost_immediate_answer_is_served(open_argo, book, upstream) -> None:
    layers = placed(Memory("one", book, Outcome("outer")), Memory("two", book, Outcome("inner")))
    async with open_argo(upstream, layers=layers) as argo:
        assert "outer" == await argo.call("bars", symbol="A")
    assert ["one asked"] == book


async def test_an_inner_immediate_answer_comes_before_an_outer_coroutine(
    open_argo, book, upstream
) -> None:
    """A memory hit never waits for a store or a flight; their coroutines are closed."""
    layers = placed(
        Store("one", book, Outcome("slow")),
        Store("two", book, Outcome("slow")),
        Memory("three", book, Outcome("kept")),
    )
    async with open_argo(upstream, layers=layers) as argo:
        assert "kept" == await argo.call("bars", symbol="A")
    assert ["one asked", "two asked", "three asked"] == book


async def test_a_call_with_nothing_at_hand_goes_through_the_chain(
    open_argo, book, upstream
) -> None:
    memory = Memory("one", book)
    async with open_argo(upstream, layers=placed(memory)) as argo:
        assert "asked" == await argo.call("bars", symbol="A")
    assert ["one asked", "one entered"] == book
    assert () == memory.missed


# -- Coroutines --------------------------------------------------------------------------------


async def test_an_answer_that_is_awaited_enters_no_layer(open_argo, book, upstream) -> None:
    layers = placed(Store("one", book, Outcome("kept")))
    async with open_argo(upstream, layers=layers) as argo:
        events = capture_events(argo)
        assert "kept" == await argo.call("bars", symbol="A")
    assert ["one asked", "one begun", "one ended"] == book
    assert [] == upstream.asked
    [ended] = events.of(CallEnded)
    assert ("kept", False) == (ended.outcome.value, ended.at_hand)


async def test_coroutines_are_awaited_one_after_the_other_outermost_first(
    open_argo, book, upstream
) -> None:
    layers = placed(Store("one", book, None), Store("two", book, Outcome("kept")))
    async with open_argo(upstream, layers=layers) as argo:
        assert "kept" == await argo.call("bars", symbol="A")
    assert [
        "one asked", "two asked", "one begun", "one ended", "two begun", "two ended",
    ] == book  # fmt: skip


async def test_an_async_find_is_not_called_while_another_layer_has_an_immediate_answer(
    open_argo, book, upstream
) -> None:
    layers = placed(Deferred("one", book), Memory("two", book, Outcome("kept")))
    async with open_argo(upstream, layers=layers) as argo:
        assert "kept" == await argo.call("bars", symbol="A")
    assert ["two asked"] == book


async def test_an_async_find_keeps_its_place_among_the_coroutines(
    open_argo, book, upstream
) -> None:
    layers = placed(Store("one", book, None), Deferred("two", book, Outcome("kept")))
    async with open_argo(upstream, layers=layers) as argo:
        assert "kept" == await argo.call("bars", symbol="A")
    expected = ["one asked", "one begun", "one ended", "two asked", "two begun", "two ended"]
    assert expected == book


async def test_coroutines_after_the_first_answer_are_closed(open_argo, book, upstream) -> None:
    layers = placed(Store("one", book, Outcome("kept")), Store("two", book, Outcome("unused")))
    async with open_argo(upstream, layers=layers) as argo:
        assert "kept" == await argo.call("bars", symbol="A")
    assert "two begun" not in book


async def test_a_coroutine_is_awaited_in_the_task_of_the_caller(open_argo, book, upstream) -> None:
    store = Store("one", book, Outcome("kept"), Outcome("kept"))
    async with open_argo(upstream, layers=placed(store)) as argo:
        await argo.call("bars", symbol="A")
        assert asyncio.current_task() is store.task
        await argo.outcome("bars", symbol="A")
        assert asyncio.current_task() is store.task


async def test_the_chain_learns_which_layers_looked_and_found_nothing(
    open_argo, book, upstream
) -> None:
    layers = (
        Store("one", book, None),
        Memory("two", book),
        Store("three", book, ValueError("a bug")),
        Store("four", book, None),
    )
    async with open_argo(upstream, layers=placed(*layers)) as argo:
        assert "asked" == await argo.call("bars", symbol="A")
    # Neither a layer that looked nowhere nor one whose look failed has missed anything.
    assert [("one", "four")] * 4 == [layer.missed for layer in layers]
    assert [("one", "four")] == [call.missed for call in upstream.asked]


async def test_a_refresh_looks_nowhere_and_has_missed_nothing(open_argo, book, upstream) -> None:
    store = Store("one", book, None)
    async with open_argo(upstream, layers=placed(store)) as argo:
        call, _ = engine_of(argo).pipeline.calls.get("bars", "default", {"symbol": "A"})
        refresh = engine_of(argo).refresh(call.evolve(missed=("one",)))
        assert refresh is not None
        await refresh.wait()
    assert ["one entered"] == book
    assert () == store.missed


class AsyncStore(Store):
    """A store whose find is itself a coroutine."""

    async def find(self, call: Call) -> Outcome | None:  # type: ignore[override]
        self.book.append(f"{self.name} asked")
        return await self.look()


async def test_an_async_find_is_not_called_where_an_immediate_answer_is_at_hand(
    open_argo, book, upstream
) -> None:
    layers = placed(AsyncStore("one", book), Memory("two", book, Outcome("kept")))
    async with open_argo(upstream, layers=layers) as argo:
        assert "kept" == await argo.call("bars", symbol="A")
    assert ["two asked"] == book


async def test_async_finds_and_coroutines_are_awaited_outermost_first(
    open_argo, book, upstream
) -> None:
    layers = placed(
        AsyncStore("one", book, None),
        Store("two", book, None),
        AsyncStore("three", book, Outcome("kept")),
        AsyncStore("four", book, Outcome("unused")),
    )
    async with open_argo(upstream, layers=layers) as argo:
        assert "kept" == await argo.call("bars", symbol="A")
    assert ["one", "two", "three"] == [line.split()[0] for line in book if "begun" in line]


async def test_an_async_find_that_may_find_nothing_now_is_not_called(
    open_argo, book, upstream
) -> None:
    class Flights(AsyncStore):
        flying = False

        def may_find(self, call: Call) -> bool:
            self.book.append(f"{self.name} consulted")
            return self.flying

    flights = Flights("one", book, Outcome("joined"))
    async with open_argo(upstream, layers=placed(flights)) as argo:
        assert "asked" == await argo.call("bars", symbol="A")
        assert ["one consulted", "one entered"] == book
        assert () == flights.missed
        book.clear()
        flights.flying = True
        assert "joined" == await argo.call("bars", symbol="A")
    assert ["one consulted", "one asked", "one begun", "one ended"] == book


async def test_an_async_find_is_not_consulted_where_an_immediate_answer_is_at_hand(
    open_argo, book, upstream
) -> None:
    class Flights(AsyncStore):
        def may_find(self, call: Call) -> bool:
            raise AssertionError

    layers = placed(Flights("one", book), Memory("two", book, Outcome("kept")))
    async with open_argo(upstream, layers=layers) as argo:
        assert "kept" == await argo.call("bars", symbol="A")
    assert ["two asked"] == book


async def test_a_layer_that_fails_to_say_whether_it_may_find_is_reported_and_bypassed(
    open_argo, book, upstream
) -> None:
    class Flights(AsyncStore):
        def may_find(self, call: Call) -> bool:
            msg = "a bug"
            raise ValueError(msg)

    layers = placed(Flights("one", book), Store("two", book, Outcome("kept")))
    async with open_argo(upstream, layers=layers) as argo:
        events = capture_events(argo)
        assert "kept" == await argo.call("bars", symbol="A")
    assert ["one"] == [event.layer for event in events.of(LayerBypassed)]


async def test_an_async_find_of_a_wrong_signature_is_reported_and_bypassed(
    open_argo, book, upstream
) -> None:
    class Wrong(Layered):
        async def find(self) -> Outcome | None:
            return None

    layers = placed(Wrong("one", book), Store("two", book, Outcome("kept")))
    async with open_argo(upstream, layers=layers) as argo:
        events = capture_events(argo)
        assert "kept" == await argo.call("bars", symbol="A")
    assert ["one"] == [event.layer for event in events.of(LayerBypassed)]


# -- Layers that the search may not pass -------------------------------------------------------


@pytest.mark.parametrize(
    ("transparent", "expected"), [(True, "kept"), (False, "asked")], ids=["transparent", "opaque"]
)
@pytest.mark.parametrize("kind", [Memory, Store])
async def test_the_search_ends_at_a_layer_without_find_unless_it_is_transparent(
    open_argo, book, upstream, kind: Callable[..., Layered], transparent: bool, expected: str
) -> None:
    """A layer that guards something must see every answer pass."""
    outer = Layer("outer", through, slot="coalesce", transparent=transparent)
    inner = Layer("inner", kind("inner", book, Outcome("kept")), slot="cache")
    async with open_argo(upstream, layers=(outer, inner)) as argo:
        if not transparent and kind is Store:
            inner.middleware.answers.append(None)  # type: ignore[attr-defined]
        assert expected == await argo.call("bars", symbol="A")
    assert ("inner asked" in book) == transparent


async def test_answers_outside_a_layer_without_find_are_served(open_argo, book, upstream) -> None:
    outer = Layer("outer", Memory("outer", book, Outcome("kept")), slot="coalesce")
    guard = Layer("guard", through, after=("coalesce",), before=("cache",))
    inner = Layer("inner", Memory("inner", book, Outcome("unseen")), slot="cache")
    async with open_argo(upstream, layers=(outer, guard, inner)) as argo:
        assert "kept" == await argo.call("bars", symbol="A")
    assert ["outer asked"] == book


async def test_a_layer_that_is_off_is_not_asked(open_argo, book, upstream) -> None:
    layers = placed(Memory("one", book, Outcome("kept")))
    config = {"flags": {"one": {"state": "off", "subjects": {"B": "on"}}}}
    async with open_argo(upstream, layers=layers, config=config) as argo:
        assert "asked" == await argo.call("bars", symbol="A")
        assert "kept" == await argo.call("bars", symbol="B")
    assert ["one asked"] == book


async def test_a_layer_inside_the_choice_of_upstreams_is_not_asked(
    open_argo, book, upstream
) -> None:
    """It would have to know the upstream, which is not chosen yet."""
    inner = Layer("similarity", Memory("inner", book, Outcome("kept")), slot="similarity")
    async with open_argo(upstream, layers=(inner,)) as argo:
        assert "asked" == await argo.call("bars", symbol="A")
    assert ["inner entered"] == book


# -- Failures ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "broken",
    [
        lambda book: Memory("one", book, ZeroDivisionError("a bug")),
        lambda book: Memory("one", book, "no outcome"),
        lambda book: Store("one", book, ZeroDivisionError("a bug")),
        lambda book: Store("one", book, "no outcome"),
    ],
    ids=["raises", "returns no outcome", "raises later", "returns no outcome later"],
)
async def test_a_find_that_fails_is_reported_and_bypassed(
    open_argo, book, upstream, broken
) -> None:
    layers = placed(broken(book), Store("two", book, Outcome("kept")))
    config = {"argo": {"shared": "memory://"}}
    async with open_argo(upstream, layers=layers, config=config) as argo:
        events = capture_events(argo)
        assert "kept" == await argo.call("bars", symbol="A")
    [bypassed] = events.of(LayerBypassed)
    assert "one" == bypassed.layer
    assert isinstance(bypassed.error, ZeroDivisionError | TypeError)


async def test_a_find_that_fails_alone_leaves_the_call_to_the_chain(
    open_argo, book, upstream
) -> None:
    store = Store("one", book, ZeroDivisionError("a bug"))
    async with open_argo(upstream, layers=placed(store)) as argo:
        assert "asked" == await argo.call("bars", symbol="A")
    assert "one entered" == book[-1]


@pytest.mark.parametrize("kind", [Memory, Store])
async def test_an_error_on_purpose_reaches_the_caller_and_ends_the_call(
    open_argo, book, upstream, kind: Callable[..., Layered]
) -> None:
    layers = placed(
        Store("one", book, None),
        kind("two", book, QuotaExceeded("known to be full")),
        Store("three", book, Outcome("unused")),
    )
    async with open_argo(upstream, layers=layers) as argo:
        events = capture_events(argo)
        with pytest.raises(QuotaExceeded, match="known to be full"):
            await argo.call("bars", symbol="A")
    assert [] == upstream.asked
    assert [QuotaExceeded] == [type(event.error) for event in events.of(CallEnded)]
    assert "three begun" not in book


# -- Time --------------------------------------------------------------------------------------


async def test_the_deadline_holds_while_a_look_is_under_way(
    open_argo, clock, book, upstream
) -> None:
    layers = placed(Store("one", book, asyncio.Event()), Store("two", book))
    async with open_argo(upstream, layers=layers) as argo:
        events = capture_events(argo)
        asked = asyncio.create_task(argo.options(timeout=2.0).call("bars", symbol="A"))
        await clock.advance(2.1)
        with pytest.raises(DeadlineExceeded, match="the caller's deadline"):
            await asked
    assert ["one asked", "two asked", "one begun", "one ended"] == book
    assert [DeadlineExceeded] == [type(event.error) for event in events.of(CallEnded)]


async def test_looks_and_chain_share_one_deadline(open_argo, clock, book) -> None:
    opened = asyncio.Event()
    store = Store("one", book, opened, None)
    upstream = Scripted("a", ["bars"])
    upstream.gate.clear()
    async with open_argo(upstream, layers=placed(store)) as argo:
        asked = asyncio.create_task(argo.options(timeout=2.0).call("bars", symbol="A"))
        await clock.advance(1.5)
        opened.set()
        await upstream.arrived.wait()
        await clock.advance(0.6)
        with pytest.raises(DeadlineExceeded):
            await asked


@pytest.mark.parametrize(("find_timeout", "timers"), [(1.9, 0), (2.0, 1)])
async def test_a_look_that_ends_in_time_by_its_own_means_sets_no_timer(
    open_argo, clock, book, upstream, find_timeout, timers
) -> None:
    opened = asyncio.Event()
    store = Store("one", book, opened, Outcome("kept"))
    async with open_argo(upstream, layers=placed(store, find_timeout=find_timeout)) as argo:
        before = clock.pending
        asked = asyncio.create_task(argo.options(timeout=2.0).call("bars", symbol="A"))
        await settle()
        assert timers == clock.pending - before
        opened.set()
        assert "kept" == await asked
        assert before == clock.pending


async def test_looks_that_end_by_their_own_means_do_not_add_up_past_the_deadline(
    open_argo, clock, book, upstream
) -> None:
    first, second = asyncio.Event(), asyncio.Event()
    stores = Store("one", book, first, None), Store("two", book, second)
    async with open_argo(upstream, layers=placed(*stores, find_timeout=1.5)) as argo:
        asked = asyncio.create_task(argo.options(timeout=2.0).call("bars", symbol="A"))
        await clock.advance(1.0)
        first.set()
        await clock.advance(1.1)
        with pytest.raises(DeadlineExceeded, match="the caller's deadline"):
            await asked
    assert "two ended" == book[-1]


async def test_a_time_limit_of_a_look_of_its_own_is_a_failure_of_its_layer(
    open_argo, book, upstream
) -> None:
    store = Store("one", book, TimeLimitExceeded())
    async with open_argo(upstream, layers=placed(store)) as argo:
        events = capture_events(argo)
        assert "asked" == await argo.call("bars", symbol="A")
    assert ["one"] == [event.layer for event in events.of(LayerBypassed)]


async def test_a_caller_who_leaves_ends_its_look_and_no_other(
    open_argo, clock, book, upstream
) -> None:
    opened = asyncio.Event()
    store = Store("one", book, opened, opened, Outcome("kept"))
    rest = Store("two", book)
    async with open_argo(upstream, layers=placed(store, rest)) as argo:
        events = capture_events(argo)
        before = clock.pending
        leaving, staying = (asyncio.create_task(argo.call("bars", symbol="A")) for _ in range(2))
        await settle()
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        opened.set()
        assert "kept" == await staying
        assert before == clock.pending
    assert [] == upstream.asked
    assert ["one ended", "one ended"] == [line for line in book if "ended" in line]
    assert "two begun" not in book
    errors = [type(event.error) for event in events.of(CallEnded)]
    assert [asyncio.CancelledError, type(None)] == errors

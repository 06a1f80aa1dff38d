"""No caller can change what another receives: each way to an answer, with each kind of value."""

from __future__ import annotations

import asyncio
import collections
import copy
import dataclasses
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import cached_property

import attrs
import numpy as np
import pandas as pd
import pytest

import argo_mw_coalesce.plugin as coalesce_plugin
import argo_mw_race.plugin as race_plugin
from argo_mw import Argo, BlockingArgo, NotShareable, Outcome
from argo_mw.plugin import (
    Call,
    Context,
    Layer,
    Next,
    Stream,
    Upstream,
    context_of,
    hookimpl,
    operation,
)
from argo_mw.testing import FakeClock, FakePlugin, Scripted, settle
from argo_mw_cache.plugin import CachePlugin

TTL = 10.0


@operation(subject="symbol")
def quote(symbol: str) -> object:
    """A price."""


@operation(kind="compute", scope="public", subject="symbol")
def derived(symbol: str) -> object:
    """What is made of a price."""


# -- values ------------------------------------------------------------------------------------


@attrs.define
class Mutable:
    parts: list[int]


@attrs.frozen
class FrozenShell:
    parts: list[int]


@dataclasses.dataclass(frozen=True)
class Remembering:
    number: int

    @cached_property
    def parts(self) -> list[int]:
        return [self.number]


@dataclasses.dataclass(frozen=True)
class FrozenList(list[int]):
    symbol: str = "A"


@attrs.frozen(slots=False)
class FrozenTable(dict[str, int]):
    symbol: str = "A"


@attrs.frozen
class RememberingInASlot:
    number: int

    @cached_property
    def parts(self) -> list[int]:
        return [self.number]


@attrs.frozen
class FrozenError(Exception):
    number: int = 1


class OwnFrame(pd.DataFrame):
    _metadata = ("parts",)

    @property
    def _constructor(self) -> type[OwnFrame]:
        return OwnFrame


class Plain:
    def __init__(self, frame: pd.DataFrame) -> None:
        self.frame = frame


def of_lists() -> pd.DataFrame:
    return pd.DataFrame({"a": [1, 2], "parts": [[1], [2]]})


def with_attrs() -> pd.DataFrame:
    frame = pd.DataFrame({"a": [1.0]})
    frame.attrs["parts"] = [1]
    return frame


def own_frame() -> OwnFrame:
    frame = OwnFrame({"a": [1, 2]})
    object.__setattr__(frame, "parts", [1])
    return frame


def column_of(kind: str, *cells: object) -> Callable[[], pd.DataFrame]:
    return lambda: pd.DataFrame({"a": pd.Series(list(cells), dtype=kind)})


def spoil(value: object) -> None:
    """Change *value* in every way that its kind offers; a kind may refuse."""
    with suppress(ValueError, TypeError, AttributeError):
        if isinstance(value, (pd.DataFrame, pd.Series, np.ndarray)):
            spoil_table(value)
        elif isinstance(value, (dict, list, tuple, set, bytearray, collections.deque)):
            spoil_container(value)
        elif isinstance(value, pd.Index):
            for label in value:
                spoil(label)
        elif isinstance(value, Exception):
            value.add_note("9")
        else:
            for name in ("parts", "frame"):
                if hasattr(value, name):
                    spoil(getattr(value, name))


def spoil_table(value: pd.DataFrame | pd.Series | np.ndarray) -> None:
    columns = [value[name] for name in value] if isinstance(value, pd.DataFrame) else [value]
    for cell in (cell for column in columns for cell in column):
        spoil(cell)
    if isinstance(value, np.ndarray):
        value[0] = 9
        return
    spoil(value.index)
    spoil(getattr(value, "parts", None))
    for column in columns:
        with suppress(ValueError, TypeError):
            column.to_numpy()[0] = column.iloc[-1]
        with suppress(ValueError, TypeError):
            column.to_numpy(dtype="int64")[0] = 9  # periods
        with suppress(ValueError, TypeError):
            column.values[0] = column.iloc[-1]
    value.attrs.setdefault("parts", []).append(9)
    if isinstance(value, pd.DataFrame):
        value.iloc[0, 0] = 9
        value["more"] = 9
    else:
        value.iloc[0] = 9


def spoil_container(value: object) -> None:
    for one in list(value.values() if isinstance(value, dict) else value):  # type: ignore[call-overload]
        spoil(one)
    match value:
        case dict():
            value["more"] = 9
        case set():
            value.add(9)
        case list() | bytearray() | collections.deque():
            value.append(9)


def shown(value: object) -> str:
    """Return all that a caller can see of *value*, as text."""
    match value:
        case pd.DataFrame():
            return f"{value.to_dict('split')} {value.attrs} {getattr(value, 'parts', None)}"
        case pd.Series():
            return f"{list(value)} {list(value.index)} {value.attrs}"
        case Exception():
            return f"{value!r} {getattr(value, '__notes__', None)}"
        case Plain():
            return shown(value.frame)
        case Remembering() | RememberingInASlot():
            return repr(value.parts)
        case dict():
            return str({name: shown(one) for name, one in value.items()})
        case list() | tuple() | collections.deque():
            return str([shown(one) for one in value])
        case _:
            return repr(value)


VALUES: dict[str, Callable[[], object]] = {
    "frame": lambda: pd.DataFrame({"close": [1.0, 2.0], "at": pd.date_range("2024", periods=2)}),
    "frame of lists": of_lists,
    "frame with attrs": with_attrs,
    "series": lambda: pd.Series([1.0, 2.0]),
    "series of lists": lambda: pd.Series([[1], [2]]),
    "array": lambda: np.array([1.0, 2.0]),
    "array of objects": lambda: np.array([[1], None], dtype=object),
    "dict": lambda: {"price": 1.0, "history": [1, {"a": [2]}]},
    "dict of dates": lambda: {"at": pd.Timestamp("2024"), "parts": [1]},
    "list": lambda: [1, [2], {"a": 3}],
    "aliased list": lambda: (lambda one: [one, one])([1]),
    "set": lambda: {1, 2},
    "bytearray": lambda: bytearray(b"text"),
    "deque": lambda: collections.deque([[1], 2]),
    "tuple of lists": lambda: ([1], [2]),
    "nested frames": lambda: {"bars": of_lists(), "more": [with_attrs()]},
    "attrs": lambda: Mutable([1]),
    "frozen attrs with a list": lambda: FrozenShell([1]),
    "frozen dataclass that remembers": lambda: Remembering(1),
    "object with a frame": lambda: Plain(of_lists()),
    "frozen dataclass that is a list": lambda: FrozenList([1]),
    "frozen attrs that is a dict": lambda: FrozenTable({"a": 1}),
    "frozen attrs that remembers": lambda: RememberingInASlot(1),
    "frozen error": lambda: (FrozenError(),),
    "frame of nullable integers": column_of("Int64", 1, 2),
    "frame of nullable numbers": column_of("Float64", 1.0, 2.0),
    "frame of nullable truths": column_of("boolean", True, False),
    "frame of categories": column_of("category", "a", "b"),
    "frame of periods": column_of("period[D]", "2024-01-01", "2024-01-02"),
    "frame of sparse numbers": column_of("Sparse[int]", 1, 2),
    "frame of texts of Python": column_of("string[python]", "a", "b"),
    "frame of texts": column_of("str", "a", "b"),
    "frame of Arrow's numbers": column_of("int64[pyarrow]", 1, 2),
    "frame of moments": column_of("datetime64[ns, UTC]", "2024-01-01", "2024-01-02"),
    "frame of frames": lambda: pd.DataFrame({"a": pd.Series([of_lists(), with_attrs()])}),
    "frame with labels of lists": lambda: pd.DataFrame(
        {"a": [1, 2]}, index=pd.Index([[1], [2]], dtype=object)
    ),
    "frame of a class of its own": own_frame,
    "array of frames": lambda: np.array([of_lists(), None], dtype=object),
    "index of lists": lambda: pd.Index([[1], [2]], dtype=object),
}


# -- ways to an answer ---------------------------------------------------------------------------


def application(
    *upstreams: Scripted | Upstream,
    clock: FakeClock | None = None,
    plugins: Sequence[str] = ("cache", "coalesce", "race"),
    flags: dict[str, object] | None = None,
    shared: str = "memory://",
    layer: Layer | None = None,
    tables: dict[str, object] | None = None,
) -> Argo:
    known = {"cache": CachePlugin, "coalesce": coalesce_plugin, "race": race_plugin}
    asked = FakePlugin(operations=[quote, derived], upstreams=upstreams)
    looking = {} if layer is None else {layer.name: FakePlugin(layer=layer)}
    caching = {"ttl": TTL, "jitter": 0.0, "early": 0.0, "grace": 1e6}
    return Argo.open(
        {
            "argo": {"shared": shared, "strict": True},
            "flags": flags or {},
            "plugins": {
                **({"cache": caching} if "cache" in plugins else {}),
                **(tables or {}),
            },
        },
        clock=clock or FakeClock(),
        plugins={**{name: known[name] for name in plugins}, "asked": asked, **looking},
        installed=False,
    )


Make = Callable[[], object]


def answering(make: Make, name: str = "a", **more: object) -> Scripted:
    return Scripted(name, {"quote"}, lambda _: make(), retries=0, **more)  # type: ignore[arg-type]


async def at_once(upstream: Scripted, calls: Sequence[Awaitable[object]]) -> list[object]:
    """Return the answers to *calls*, which all wait for *upstream* before it answers one."""
    upstream.gate.clear()
    tasks = [asyncio.ensure_future(call) for call in calls]
    await settle()
    upstream.gate.set()
    return await asyncio.gather(*tasks)


async def flight(make: Make) -> list[object]:
    upstream = answering(make)
    async with application(upstream, plugins=["coalesce"]) as argo:
        got = await at_once(upstream, [argo.call("quote", symbol="A") for _ in range(3)])
        assert 1 == upstream.requests
        return got


async def flight_and_cache(make: Make) -> list[object]:
    upstream = answering(make)
    async with application(upstream) as argo:
        got = await at_once(upstream, [argo.call("quote", symbol="A") for _ in range(3)])
        spoil(got[0])
        got += [await argo.call("quote", symbol="A") for _ in range(2)]
        assert 1 == upstream.requests
        return got


async def memory(make: Make) -> list[object]:
    upstream = answering(make)
    async with application(upstream, plugins=["cache"]) as argo:
        got = []
        for _ in range(3):
            got.append(await argo.call("quote", symbol="A"))
            spoil(got[0])
        assert 1 == upstream.requests
        return got


async def refreshed(make: Make, flags: dict[str, object], callers: Sequence[dict[str, object]]):
    upstream, clock = answering(make), FakeClock()
    plugins = ["cache", "coalesce"]
    async with application(upstream, clock=clock, flags=flags, plugins=plugins) as argo:
        await argo.call("quote", symbol="A")
        await clock.advance(TTL + 1)
        calls = [argo.options(**one).call("quote", symbol="A") for one in callers]  # type: ignore[arg-type]
        got = await at_once(upstream, calls)
        assert 2 == upstream.requests
        return got


async def refresh_without_flights(make: Make) -> list[object]:
    return await refreshed(make, {"coalesce": "off"}, [{}, {}, {}])


async def refresh_by_max_age(make: Make) -> list[object]:
    return await refreshed(make, {}, [{"max_age": 50}, {"max_age": 60}, {}, {}])


async def refresh_by_arm(make: Make) -> list[object]:
    tenants = [{"tenant": f"t{number}"} for number in range(8)]
    return await refreshed(make, {"coalesce": "50% by tenant"}, tenants)


async def stale(make: Make) -> list[object]:
    upstream, clock = answering(make), FakeClock()
    async with application(upstream, clock=clock) as argo:
        await argo.call("quote", symbol="A")
        await clock.advance(TTL + 1)
        upstream.gate.clear()
        tasks = [asyncio.ensure_future(argo.call("quote", symbol="A")) for _ in range(3)]
        await settle()
        await clock.advance(5)
        got = await asyncio.gather(*tasks)
        upstream.gate.set()
        spoil(got[0])
        await settle()
        return [*got, await argo.call("quote", symbol="A")]


async def waited_for_refresh(make: Make) -> list[object]:
    """As a layer waits for it."""
    upstream = answering(make)
    async with application(upstream) as argo:
        context = context_of(argo)
        call = context.make_call("quote", "default", {"symbol": "A"})
        refreshes = [context.refresh(call) for _ in range(3)]
        return [(await refresh.wait()).value for refresh in refreshes if refresh is not None]


async def through_the_store(make: Make, tmp: str = "") -> list[object]:
    upstream = answering(make)
    url = f"sqlite:///{tmp}/shared.db"
    async with application(upstream, shared=url) as one, application(upstream, shared=url) as two:
        got = [await one.call("quote", symbol="A")]
        spoil(got[0])
        got += [await two.call("quote", symbol="A") for _ in range(2)]
        return got


async def distributed(make: Make, tmp: str = "") -> list[object]:
    upstream = answering(make)
    url, plugins = f"sqlite:///{tmp}/shared.db", ["coalesce"]
    from argo_mw.plugin import SystemClock

    def instance() -> Argo:
        return application(upstream, shared=url, plugins=plugins, clock=SystemClock())  # type: ignore[arg-type]

    async with instance() as one, instance() as two:
        upstream.gate.clear()
        calls = [argo.call("quote", symbol="A") for argo in (one, one, two, two)]
        tasks = [asyncio.ensure_future(call) for call in calls]
        await upstream.arrived.wait()
        upstream.gate.set()
        return list(await asyncio.gather(*tasks))


async def batch(make: Make) -> list[object]:
    """The upstream answers every subject with one object."""
    one = make()
    upstream = answering(lambda: one, max_batch=10)
    clock = FakeClock()
    async with application(upstream, plugins=[], clock=clock) as argo:
        answers = asyncio.ensure_future(argo.map("quote", ["A", "B", "C", "A"]))
        await settle()
        await clock.advance(1)
        outcomes = await answers
        assert 1 == upstream.requests
        assert ["A", "B", "C"] == list(outcomes)
        return [o.value if isinstance(o, Outcome) else o for o in outcomes.values()]


async def batch_of_parts(make: Make) -> list[object]:
    """The answers to different subjects share a part."""
    part = make()

    async def fetch_many(calls: Sequence[Call]) -> Sequence[Outcome]:
        return [Outcome({"part": part, "of": call.subject}) for call in calls]

    upstream = answering(make, max_batch=10)
    batching = upstream.upstream.batching
    assert batching is not None
    upstream.upstream = attrs.evolve(
        upstream.upstream, batching=attrs.evolve(batching, fetch_many=fetch_many)
    )
    clock = FakeClock()
    async with application(upstream, plugins=[], clock=clock) as argo:
        answers = asyncio.ensure_future(argo.map("quote", ["A", "B", "C"]))
        await settle()
        await clock.advance(1)
        return [o.value["part"] for o in (await answers).values()]  # type: ignore[union-attr,index]


async def race(make: Make) -> list[object]:
    upstreams = [answering(make, name) for name in ("a", "b")]
    table = {"race": {"operations": {"quote": {"strategy": "race"}}}}
    async with application(*upstreams, tables=table) as argo:
        for upstream in upstreams:
            upstream.gate.clear()
        tasks = [asyncio.ensure_future(argo.call("quote", symbol="A")) for _ in range(3)]
        await settle()
        for upstream in upstreams:
            upstream.gate.set()
        return [*await asyncio.gather(*tasks), await argo.call("quote", symbol="A")]


class Deriving:
    """An upstream that answers with what it was answered itself."""

    @hookimpl
    def register_upstreams(self, context: Context) -> Sequence[Upstream]:
        async def fetch(call: Call) -> Outcome:
            return Outcome((await context.call(call, "quote", symbol=call.subject)).value)

        return [Upstream("deriving", {"derived"}, fetch)]


async def nested(make: Make) -> list[object]:
    upstream = answering(make)
    asked = FakePlugin(operations=[quote, derived], upstreams=[upstream])
    plugins = {
        "cache": CachePlugin,
        "coalesce": coalesce_plugin,
        "asked": asked,
        "deriving": Deriving(),
    }
    argo = Argo.open(
        {"argo": {"shared": "memory://"}}, clock=FakeClock(), plugins=plugins, installed=False
    )
    async with argo:
        names = ("derived", "derived", "quote", "quote")
        got = await at_once(upstream, [argo.call(name, symbol="A") for name in names])
        spoil(got[0])
        got += [await argo.call(name, symbol="A") for name in ("derived", "quote")]
        assert 1 == upstream.requests
        return got


class Looking:
    """A layer that keeps what it sees."""

    def __init__(self) -> None:
        self.seen: list[object] = []

    async def __call__(self, call: Call, call_next: Next) -> Outcome:
        return await call_next(call)

    async def shadow(self, call: Call, outcome: Outcome) -> None:
        self.seen.append(outcome.value)


async def shadow(make: Make) -> list[object]:
    looking = Looking()
    upstream = answering(make)
    flags: dict[str, object] = {"looking": "shadow"}
    async with application(
        upstream, plugins=[], flags=flags, layer=Layer("looking", looking)
    ) as argo:
        got = await argo.call("quote", symbol="A")
        spoil(got)  # before the layer has looked
        await settle()
        return [got, *looking.seen]


WAYS = {
    way.__name__: way
    for way in (
        *(flight, flight_and_cache, memory, refresh_without_flights, refresh_by_max_age),
        *(refresh_by_arm, stale, waited_for_refresh, batch, batch_of_parts, race, nested, shadow),
    )
}
STORED = {way.__name__: way for way in (through_the_store, distributed)}


@pytest.fixture(autouse=True)
def private_state(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARGO_MW_STATE_DIR", str(tmp_path / "state"))


def check(make: Make, got: Sequence[object]) -> None:
    assert len(got) >= 2
    spoil(got[0])
    assert [shown(make())] * (len(got) - 1) == [shown(value) for value in got[1:]]


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("way", WAYS)
async def test_no_caller_sees_what_another_does_to_its_answer(way: str, kind: str) -> None:
    check(VALUES[kind], await WAYS[way](VALUES[kind]))


@pytest.mark.parametrize("kind", ["frame", "dict", "list", "series"])
@pytest.mark.parametrize("way", STORED)
async def test_no_caller_sees_what_another_process_does_to_its_answer(
    way: str, kind: str, tmp_path
) -> None:
    check(VALUES[kind], await STORED[way](VALUES[kind], str(tmp_path)))


@pytest.mark.parametrize("kind", VALUES)
def test_threads_of_the_blocking_facade_have_answers_of_their_own(kind: str) -> None:
    make = VALUES[kind]
    asked = FakePlugin(operations=[quote], upstreams=[answering(make)])
    plugins = {"cache": CachePlugin, "coalesce": coalesce_plugin, "asked": asked}
    got: list[object] = []
    config = {"argo": {"shared": "memory://"}}
    with BlockingArgo(config, plugins=plugins, installed=False) as argo:
        threads = [
            threading.Thread(target=lambda: got.append(argo.call("quote", symbol="A")))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    check(make, got)


@pytest.mark.parametrize("kind", VALUES)
async def test_readers_of_a_stream_have_chunks_of_their_own(kind: str) -> None:
    make = VALUES[kind]

    async def source():
        for _ in range(2):
            yield make()

    upstream = Scripted("a", {"quote"}, lambda _: Stream(source(), tasks), retries=0)
    async with application(upstream) as argo:
        tasks = context_of(argo).tasks
        streams = await at_once(upstream, [argo.call("quote", symbol="A") for _ in range(2)])
        read = [[chunk async for chunk in stream.read()] for stream in streams]  # type: ignore[attr-defined]
        for chunk in read[0]:
            spoil(chunk)
        await settle()
        kept = await argo.call("quote", symbol="A")
        read += [[chunk async for chunk in kept.read()], list(kept.chunks)]  # type: ignore[attr-defined]
        first = await kept.first()  # type: ignore[attr-defined]
    assert [[shown(make())] * 2] * 3 == [[shown(chunk) for chunk in one] for one in read[1:]]
    spoil(first)
    assert [shown(make())] * 2 == [shown(chunk) for chunk in kept.chunks]  # type: ignore[attr-defined]


async def test_a_caller_cannot_change_the_question_that_others_wait_for() -> None:
    @operation(subject="")
    def ask(messages: list[dict[str, str]]) -> object:
        """Ask something."""

    upstream = Scripted("a", {"ask"}, lambda call: copy.deepcopy(call.parameters["messages"]))
    asked = FakePlugin(operations=[ask], upstreams=[upstream])
    argo = Argo.open(
        {"argo": {"shared": "memory://"}},
        clock=FakeClock(),
        plugins={"coalesce": coalesce_plugin, "asked": asked},
        installed=False,
    )
    async with argo:
        mine = [{"role": "user", "text": "buy"}]
        upstream.gate.clear()
        tasks = [asyncio.ensure_future(argo.call("ask", messages=mine))]
        tasks.append(asyncio.ensure_future(argo.call("ask", messages=copy.deepcopy(mine))))
        await settle()
        mine[0]["text"] = "sell"
        upstream.gate.set()
        assert [[{"role": "user", "text": "buy"}]] * 2 == await asyncio.gather(*tasks)


async def test_what_cannot_be_copied_reaches_one_caller_only() -> None:
    for plugins in (["coalesce"], ["coalesce", "cache"]):
        lock = threading.Lock()
        upstream = answering(lambda lock=lock: lock)
        async with application(upstream, plugins=plugins) as argo:
            upstream.gate.clear()
            tasks = [asyncio.ensure_future(argo.call("quote", symbol="A")) for _ in range(3)]
            await settle()
            upstream.gate.set()
            got = await asyncio.gather(*tasks, return_exceptions=True)
        assert lock is got[0]
        assert [NotShareable] * 2 == [type(one) for one in got[1:]]
        assert got[1] is not got[2]

"""Wrapped functions as people write them: how long answers live, what decides them, methods."""

from __future__ import annotations

import functools
import gc
import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping
from itertools import count
from typing import Any

import numpy as np
import pandas as pd
import pytest
from attrs import define

from argo_mw import (
    Argo,
    ArgoError,
    BadParameter,
    BlockingArgo,
    ConfigError,
    Options,
    Wrapping,
)
from argo_mw.testing import FakeClock
from argo_mw_adaptive_ttl.plugin import AdaptiveTtlPlugin
from argo_mw_cache.plugin import CachePlugin


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def numbers() -> Iterator[int]:
    return count(1)


def open_argo(clock: FakeClock | None = None, **operations: Mapping[str, object]) -> Argo:
    return Argo.open(settings(**operations), clock=clock, plugins=plugins(), installed=False)


def settings(**operations: Mapping[str, object]) -> dict[str, object]:
    cache = {"ttl": 600.0, "jitter": 0.0, "early": 0.0, "grace": 0.0}
    return {
        "argo": {"shared": "memory://", "strict": True},
        "operations": operations,
        "plugins": {"cache": cache},
    }


def plugins() -> dict[str, object]:
    return {"cache": CachePlugin}


async def test_an_answer_lives_as_long_as_its_function_says(
    clock: FakeClock, numbers: Iterator[int]
) -> None:
    argo = open_argo(clock)

    @argo.wrap(ttl="2m")
    async def quote(symbol: str) -> int:
        return next(numbers)

    async with argo:
        assert 1 == await quote("A")
        await clock.advance(119)
        assert 1 == await quote("A")
        await clock.advance(2)
        assert 2 == await quote("A")


async def test_the_configuration_decides_above_the_function(
    clock: FakeClock, numbers: Iterator[int]
) -> None:
    argo = open_argo(clock, quote={"ttl": "10s"})

    @argo.wrap(name="quote", ttl="2m")
    async def quote(symbol: str) -> int:
        return next(numbers)

    async with argo:
        assert 1 == await quote("A")
        await clock.advance(11)
        assert 2 == await quote("A")


async def test_an_old_answer_is_served_within_the_grace_of_its_function(clock: FakeClock) -> None:
    argo = open_argo(clock)
    works = True

    @argo.wrap(ttl="1m", grace="1h")
    async def quote(symbol: str) -> int:
        if not works:
            raise ConnectionError
        return 1

    async with argo:
        assert 1 == await quote("A")
        works = False
        await clock.advance(3_000)
        assert 1 == await quote("A")
        await clock.advance(1_000)
        with pytest.raises(ConnectionError):
            await quote("A")


async def test_a_caller_says_how_long_its_answer_lives(
    clock: FakeClock, numbers: Iterator[int]
) -> None:
    argo = open_argo(clock)

    @argo.wrap(name="quote", ttl="1h")
    async def quote(symbol: str) -> int:
        return next(numbers)

    async with argo:
        assert 1 == await argo.options(ttl="5s").call("quote", symbol="A")
        await clock.advance(6)
        assert 2 == await quote("A")


async def test_a_caller_may_ask_anew_and_keep_nothing(numbers: Iterator[int]) -> None:
    argo = open_argo()

    @argo.wrap(name="quote")
    async def quote(symbol: str) -> int:
        return next(numbers)

    async with argo:
        assert 1 == await quote("A")
        assert 2 == await argo.options(read=False, store=False).call("quote", symbol="A")
        assert 1 == await quote("A")
        assert 3 == await argo.options(refresh=True).call("quote", symbol="A")
        assert 3 == await quote("A")
        assert 4 == await argo.options(store=False).call("quote", symbol="B")
        assert 5 == await quote("B")


@pytest.mark.parametrize(
    "options",
    [
        {"refresh": True, "read": True},
        {"refresh": False, "read": False},
        {"refresh": True, "store": False},
        {"ttl": "soon"},
    ],
)
async def test_options_that_contradict_each_other_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(BadParameter):
        open_argo().options(**options)


async def test_ignored_parameters_do_not_decide_the_answer(numbers: Iterator[int]) -> None:
    argo = open_argo()
    clients: list[object] = []

    @argo.wrap(ignore=("client",))
    async def quote(symbol: str, client: object = None) -> int:
        clients.append(client)
        return next(numbers)

    async with argo:
        first = object()
        assert 1 == await quote("A", first)
        assert 1 == await quote("A", object())
        assert 2 == await quote("B")
        assert [first, None] == clients


async def test_a_key_of_ones_own_decides_the_answer(numbers: Iterator[int]) -> None:
    argo = open_argo()

    @argo.wrap(key=lambda symbol, day: (symbol.upper(), day.date()))
    async def close(symbol: str, day: pd.Timestamp) -> int:
        return next(numbers)

    async with argo:
        assert 1 == await close("a", pd.Timestamp("2026-01-05 10:00"))
        assert 1 == await close("A", pd.Timestamp("2026-01-05 11:00"))
        assert 2 == await close("A", pd.Timestamp("2026-01-06 11:00"))


@pytest.mark.parametrize("ignore", [("clinet",), ("symbol",)])
def test_what_cannot_be_ignored_is_refused(ignore: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match=f"cannot ignore {ignore[0]!r}"):
        open_argo().wrap(subject="symbol", ignore=ignore)(_quote)


async def _quote(symbol: str, client: object = None) -> int:
    return 1


async def test_each_instance_has_answers_of_its_own(numbers: Iterator[int]) -> None:
    argo = open_argo()

    class Feed:
        @argo.wrap()
        async def quote(self, symbol: str) -> int:
            return next(numbers)

    async with argo:
        one, other = Feed(), Feed()
        assert 1 == await one.quote("A")
        assert 2 == await other.quote("A")
        assert 1 == await one.quote("A")
        del one
        gc.collect()
        assert 3 == await Feed().quote("A")
        assert 2 == await other.quote(symbol="A")


async def test_instances_that_cannot_be_told_apart_are_refused() -> None:
    argo = open_argo()

    @define(weakref_slot=False)
    class Feed:
        @argo.wrap()
        async def quote(self, symbol: str) -> int:
            return 1

    async with argo:
        with pytest.raises(BadParameter, match="instances cannot be told apart; give the class"):
            await Feed().quote("A")


def _sync(symbol: str) -> int:
    return 1


async def _yields(symbol: str) -> Any:
    yield 1


async def _of_class(cls: type, /, symbol: str) -> int:
    return 1


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (_sync, "it is not async; write `async def`"),
        (_yields, "it yields"),
        (classmethod(_of_class), "_of_class cannot be wrapped: it is a classmethod"),
    ],
)
def test_a_function_that_is_not_async_is_refused(
    function: Callable[..., Awaitable[int]], why: str
) -> None:
    with pytest.raises(ConfigError, match=why):
        open_argo().wrap()(function)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"timeout": "5s"}, "timeout is '5s'; give a number of seconds above zero"),
        ({"timeout": 0}, "timeout is 0; give a number"),
        ({"timeout": float("nan")}, "timeout is nan; give a number"),
        ({"ignore": "client"}, "ignore is the text 'client'; give a list of names"),
        ({"kind": "Fetch"}, "is 'Fetch'; it is one of 'fetch', 'llm', 'compute'$"),
    ],
    ids=str,
)
def test_a_declaration_that_cannot_be_meant_is_refused_where_it_stands(
    wrong: dict[str, Any], why: str
) -> None:
    with pytest.raises((BadParameter, ConfigError, ValueError), match=why):
        open_argo().wrap(**wrong)(_quote)


async def test_what_wraps_an_async_function_is_one() -> None:
    argo = open_argo()

    @functools.wraps(_quote)
    def retried(symbol: str, client: object = None) -> Awaitable[int]:
        return _quote(symbol, client)

    partly = argo.wrap(name="partly", ignore=("client",))(functools.partial(_quote, client=1))
    async with argo:
        assert [1, 1] == [await argo.wrap()(retried)("A"), await partly("A")]


async def test_none_is_an_answer_where_the_function_says_so(numbers: Iterator[int]) -> None:
    argo = open_argo()

    @argo.wrap()
    async def dividend(symbol: str) -> float | None:
        next(numbers)
        return None

    @argo.wrap()
    async def close(symbol: str) -> float:
        return None  # type: ignore[return-value]

    async with argo:
        assert [None, None] == [await dividend("A"), await dividend("A")]
        assert 2 == next(numbers)
        with pytest.raises(ArgoError, match=r"annotate it as `\.\.\. \| None`, or give accept="):
            await close("A")


async def test_scalars_of_numpy_and_pandas_are_the_values_that_they_equal(
    numbers: Iterator[int],
) -> None:
    argo = open_argo()

    @argo.wrap()
    async def bars(symbol: str, days: object) -> int:
        return next(numbers)

    async with argo:
        assert [1] * 3 == [await bars("A", n) for n in (5, np.int64(5), np.int16(5))]
        assert [2] * 3 == [await bars("A", x) for x in (5.0, np.float64(5), np.float32(5))]
        moment = pd.Timestamp("2026-01-05", tz="UTC")
        assert [3] * 2 == [await bars("A", t) for t in (moment, moment.to_pydatetime())]
        finer = moment + pd.Timedelta(1, "ns")
        assert 4 == await bars("A", finer)
        assert [5] * 2 == [await bars("A", d) for d in (pd.Timedelta("1h"), np.timedelta64(1, "h"))]
        assert [6] * 2 == [await bars(s, True) for s in ("A", np.str_("A"))]


def test_the_blocking_facade_has_every_method_of_the_application() -> None:
    def public(cls: type) -> set[str]:
        return {name for name in dir(cls) if not name.startswith("_")}

    shared = public(Argo) - {"aclose"}  # its name is close
    assert set() == shared - public(BlockingArgo)
    # Those two take what a TypedDict lists.
    for name in sorted(shared - {"open", "wrap", "options"}):
        one, other = getattr(Argo, name), getattr(BlockingArgo, name)
        if callable(one):
            assert [*inspect.signature(one).parameters] == [*inspect.signature(other).parameters]
    for typed, method in ((Wrapping, Argo.wrap), (Options, Argo.options)):
        takes = set(inspect.signature(method).parameters) - {"self"}
        assert takes == typed.__required_keys__ | typed.__optional_keys__


def test_a_notebook_needs_no_with_statement(numbers: Iterator[int]) -> None:
    argo = BlockingArgo.open(settings(), plugins=plugins(), installed=False)

    @argo.wrap(name="quote", ttl="1m")
    async def quote(symbol: str) -> int:
        return next(numbers)

    try:
        assert [1, 1] == [quote("A"), quote("A")]
        assert 2 == argo.options(refresh=True).call("quote", symbol="A")
        assert "cache" in [one.name for one in argo.explain("quote", symbol="A")]
        assert argo.expire("op:quote")
        assert 3 == quote("A")
    finally:
        argo.close()
        argo.close()
    with pytest.raises(ArgoError, match="not open"):
        quote("A")


async def test_how_long_answers_live_is_not_decided_by_their_prices(
    clock: FakeClock, numbers: Iterator[int]
) -> None:
    argo = Argo.open(
        {"argo": {"shared": "memory://", "strict": True}},
        clock=clock,
        plugins={"cache": CachePlugin, "adaptive_ttl": AdaptiveTtlPlugin},
        installed=False,
    )

    @argo.wrap(name="quote", ttl="1h")
    async def quote(symbol: str) -> int:
        return next(numbers)

    async with argo:
        outcome = await argo.outcome("quote", symbol="A")
        assert clock.time() + 3_600.0 == outcome.expires_at
        other = await argo.options(ttl=7).outcome("quote", symbol="B")
        assert clock.time() + 7.0 == other.expires_at

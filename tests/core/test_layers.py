"""Layers are checked when they are made: a method of the wrong kind would fail on every call."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import pytest

from argo_mw import ArgoError, ConfigError, Outcome
from argo_mw.plugin import Batching, Call, Layer, Next, Upstream


class Whole:
    """A middleware with every method that there is."""

    async def __call__(self, call: Call, call_next: Next) -> Outcome:
        return await call_next(call)

    def find(self, call: Call) -> Outcome | None:
        return None

    def stand_in(self, call: Call) -> Outcome | None:
        return None

    def explain(self, call: Call) -> str:
        return "would do nothing"

    async def shadow(self, call: Call, outcome: Outcome) -> None: ...

    async def open(self) -> None: ...

    def take_over(self, previous: object) -> None: ...

    async def close(self) -> None: ...


def test_every_method_may_be_there_or_missing() -> None:
    async def plain(call: Call, call_next: Next) -> Outcome:
        return await call_next(call)

    assert "one" == Layer("one", Whole()).flag
    assert "one" == Layer("one.inner", plain).flag
    assert "one" == Layer("one", functools.partial(plain)).flag
    assert "one" == Layer("one", lambda call, call_next: call_next(call)).flag


@pytest.mark.parametrize("name", ["shadow", "open", "close"])
def test_what_is_awaited_must_be_async(name: str) -> None:
    wrong = type("Wrong", (Whole,), {name: lambda *_: None})()
    with pytest.raises(TypeError, match=rf"'one': Wrong\.{name} must be .* write `async def`"):
        Layer("one", wrong)


@pytest.mark.parametrize("name", ["may_find", "stand_in", "explain", "take_over"])
def test_what_is_called_must_be_plain(name: str) -> None:

    async def method(*_: object) -> None: ...

    wrong = type("Wrong", (Whole,), {name: method})()
    with pytest.raises(TypeError, match=rf"'one': Wrong\.{name} must be a plain method: write"):
        Layer("one", wrong)


def test_find_may_be_plain_or_async() -> None:
    class Async(Whole):
        async def find(self, call: Call) -> Outcome | None:
            return None

    assert "one" == Layer("one", Async()).flag


@pytest.mark.parametrize(
    "name", ["find", "stand_in", "explain", "take_over", "shadow", "open", "close"]
)
def test_what_is_no_method_is_refused(name: str) -> None:
    with pytest.raises(TypeError, match=rf"'one': Wrong\.{name} is not a method"):
        Layer("one", type("Wrong", (Whole,), {name: 5})())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (Whole, "its middleware is the class Whole; make an instance of it"),
        (None, "its middleware, a NoneType, cannot be called"),
        (5, "its middleware, a int, cannot be called; write `async def __call__`"),
    ],
    ids=["class", "nothing", "number"],
)
def test_what_is_no_middleware_is_refused(wrong: object, message: str) -> None:
    with pytest.raises(TypeError, match=f"layer 'one': {message}"):
        Layer("one", wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("names", ["before", "after", "requires"])
def test_one_text_is_not_taken_for_a_list_of_places(names: str) -> None:
    async def middleware(call: Call, call_next: Next) -> Outcome:
        return await call_next(call)

    why = rf"{names} of layer 'a' is the text 'cache'; give a list of names, such as \['cache'\]"
    with pytest.raises(ConfigError, match=why):
        Layer("a", middleware, **{names: "cache"})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"operations": "bars"}, r"operations of an upstream is the text 'bars'; give a list"),
        *(({"timeout": one}, "timeout of an upstream is") for one in (-1, 0, math.nan, "5")),
        *(({"retries": one}, "retries") for one in (-1, 1.5)),
        ({"limits": {"per_day": 1}}, "limits"),
    ],
    ids=str,
)
def test_an_upstream_that_cannot_be_meant_is_refused(wrong: dict[str, Any], why: str) -> None:
    async def fetch(call: Call) -> Outcome:
        return Outcome(1)

    given: dict[str, Any] = {"name": "a", "operations": ["bars"], "fetch": fetch}
    with pytest.raises((ArgoError, TypeError, ValueError), match=why):
        Upstream(**{**given, **wrong})


def test_a_request_of_no_calls_cannot_be_meant() -> None:
    async def fetch_many(calls: Sequence[Call]) -> Sequence[Outcome | Exception]:
        return [Outcome(1) for _ in calls]

    with pytest.raises(ValueError, match="max_size"):
        Batching(fetch_many, max_size=0)

"""A call's way through layers to an upstream."""

from __future__ import annotations

import asyncio

import pytest

from argo_mw import (
    Action,
    AllUpstreamsFailed,
    AllUpstreamsRefused,
    InvalidAnswer,
    Outcome,
    PluginError,
    QuotaExceeded,
    Unsupported,
    UpstreamError,
)
from argo_mw.plugin import Call, Layer, LayerBypassed, Next, all_failed, operation
from argo_mw.testing import Scripted, capture_events


class Recorder:
    """A layer that writes down when it is passed."""

    def __init__(self, name: str, log: list[str], **place: object) -> None:
        self.layer = Layer(name, self, **place)
        self._log = log

    async def __call__(self, call: Call, call_next: Next) -> Outcome:
        self._log.append(f"> {self.layer.name}")
        outcome = await call_next(call)
        self._log.append(f"< {self.layer.name}")
        return outcome


async def test_a_call_passes_outside_in_and_back(open_argo) -> None:
    log: list[str] = []
    layers = tuple(Recorder(n, log, slot=n).layer for n in ("persist", "cache", "coalesce"))
    async with open_argo(Scripted("a", ["bars"]), layers=layers) as argo:
        assert await argo.call("bars", symbol="AAPL") == "AAPL"
    assert log == [
        "> coalesce", "> cache", "> persist", "< persist", "< cache", "< coalesce",
    ]  # fmt: skip


async def test_a_layer_sees_only_the_operations_that_it_serves(open_argo) -> None:
    log: list[str] = []
    layer = Recorder("cache", log, slot="cache", serves=lambda op: op.kind == "llm").layer
    async with open_argo(Scripted("a", ["bars"]), layers=(layer,)) as argo:
        await argo.call("bars", symbol="AAPL")
    assert log == []


async def test_inner_layers_see_one_upstream_at_a_time(open_argo) -> None:
    seen: list[str | None] = []

    async def look(call: Call, call_next: Next) -> Outcome:
        seen.append(call.upstream)
        return await call_next(call)

    one, two = (
        Scripted("one", ["bars"], UpstreamError("no", upstream="one")),
        Scripted("two", ["bars"]),
    )
    async with open_argo(one, two, layers=(Layer("similarity", look, slot="similarity"),)) as argo:
        outcome = await argo.outcome("bars", symbol="AAPL")
    assert seen == ["one", "two"]
    assert outcome.upstream == "two"


# -- Select ------------------------------------------------------------------------------------


async def test_the_next_upstream_is_asked_when_one_fails(open_argo) -> None:
    failing = Scripted("one", ["bars"], RuntimeError("broken"))
    refusing = Scripted("two", ["bars"], QuotaExceeded("full"))
    async with open_argo(failing, refusing, Scripted("zhree", ["bars"])) as argo:
        assert (await argo.outcome("bars", symbol="AAPL")).upstream == "zhree"


async def test_an_unacceptable_answer_is_none(open_argo) -> None:
    """An empty result must not stop the search."""
    picky = operation(name="bars", subject="symbol", accept=lambda v: None if v else "it is empty")(
        lambda symbol: None
    )
    empty, full = Scripted("one", ["bars"], []), Scripted("two", ["bars"], [1])
    async with open_argo(empty, full, operations=(picky,)) as argo:
        assert await argo.call("bars", symbol="AAPL") == [1]
    async with open_argo(empty, operations=(picky,)) as argo:
        with pytest.raises(InvalidAnswer, match="'one' gave no answer to bars AAPL: it is empty"):
            await argo.call("bars", symbol="AAPL")


async def test_an_error_about_the_question_ends_the_search(open_argo) -> None:
    one = Scripted("one", ["bars"], UpstreamError("bad symbol", upstream="one", action=Action.STOP))
    two = Scripted("two", ["bars"])
    async with open_argo(one, two) as argo:
        with pytest.raises(UpstreamError, match="bad symbol"):
            await argo.call("bars", symbol="AAPL")
    assert two.asked == []


async def test_when_all_fail_every_cause_is_told(open_argo) -> None:
    one = Scripted("one", ["bars"], UpstreamError("is down", upstream="one"))
    two = Scripted("two", ["bars"], QuotaExceeded("is full", retry_at=5.0))
    async with open_argo(one, two) as argo:
        with pytest.raises(AllUpstreamsFailed, match="bars AAPL: is down; is full") as caught:
            await argo.call("bars", symbol="AAPL")
    assert [type(c) for c in caught.value.causes] == [UpstreamError, QuotaExceeded]


async def test_when_all_refuse_the_earliest_return_is_told(open_argo) -> None:
    one = Scripted("one", ["bars"], QuotaExceeded("full", retry_at=50.0))
    two = Scripted("two", ["bars"], QuotaExceeded("full", retry_at=20.0))
    async with open_argo(one, two) as argo:
        with pytest.raises(AllUpstreamsRefused) as caught:
            await argo.call("bars", symbol="AAPL")
    assert caught.value.retry_at == 20.0


@operation(name="bars", subject="symbol")
def asked(symbol: str) -> object:
    """Price bars."""


def unable_of(name: str) -> Unsupported:
    return Unsupported("has none of these", upstream=name)


def test_those_that_were_unable_are_listed_but_decide_nothing() -> None:
    call = Call(asked, {}, "key")
    down = UpstreamError("is down", upstream="one")
    full = QuotaExceeded("is full", retry_at=5.0)
    unable = unable_of("three")
    failed = all_failed(call, [down, unable, full])
    assert AllUpstreamsFailed is type(failed)
    assert (down, unable, full) == failed.causes
    refused = all_failed(call, [full, unable, QuotaExceeded("is full", retry_at=9.0)])
    assert AllUpstreamsRefused is type(refused)
    assert 5.0 == refused.retry_at
    assert 3 == len(refused.causes)


def test_an_upstream_that_alone_could_answer_speaks_for_itself() -> None:
    call = Call(asked, {}, "key")
    full = QuotaExceeded("is full", retry_at=5.0)
    assert full is all_failed(call, [unable_of("one"), full, unable_of("two")])


def test_where_every_upstream_was_unable_each_says_why() -> None:
    failed = all_failed(Call(asked, {}, "key"), [unable_of("one"), unable_of("two")])
    assert AllUpstreamsFailed is type(failed)
    assert 2 == len(failed.causes)


async def test_an_operation_without_upstreams_says_so(open_argo) -> None:
    async with open_argo() as argo:
        with pytest.raises(AllUpstreamsFailed, match="no upstream for bars AAPL is switched on"):
            await argo.call("bars", symbol="AAPL")


async def test_upstreams_are_asked_in_the_configured_order(open_argo) -> None:
    config = {"operations": {"bars": {"upstreams": ["two", "one"]}}}
    async with open_argo(
        Scripted("one", ["bars"]), Scripted("two", ["bars"]), config=config
    ) as argo:
        assert (await argo.outcome("bars", symbol="A")).upstream == "two"


async def test_an_upstream_s_flag_takes_it_out(open_argo) -> None:
    both = Scripted("one", ["bars"]), Scripted("two", ["bars"])
    async with open_argo(*both, config={"flags": {"upstream.one": "off"}}) as argo:
        assert (await argo.outcome("bars", symbol="A")).upstream == "two"
    rule = {"state": "on", "subjects": {"A": "off"}}
    async with open_argo(*both, config={"flags": {"upstream.one": rule}}) as argo:
        assert (await argo.outcome("bars", symbol="A")).upstream == "two"
        assert (await argo.outcome("bars", symbol="B")).upstream == "one"


# -- Isolation ---------------------------------------------------------------------------------


def buggy(*, before: bool = False, after: bool = False, twice: bool = False, wrong: bool = False):
    async def middleware(call: Call, call_next: Next) -> Outcome:
        if before:
            raise KeyError("before")
        outcome = await call_next(call)
        if after:
            raise KeyError("after")
        if twice:
            await call_next(call)
        return "not an outcome" if wrong else outcome

    return Layer("cache", middleware, slot="cache")


@pytest.mark.parametrize("bug", ["before", "after", "twice", "wrong"])
async def test_a_layer_s_bug_is_passed_by_and_upstream_asked_once(open_argo, bug: str) -> None:
    upstream = Scripted("a", ["bars"])
    async with open_argo(upstream, layers=(buggy(**{bug: True}),)) as argo:
        events = capture_events(argo)
        assert await argo.call("bars", symbol="AAPL") == "AAPL"
    assert len(upstream.asked) == 1
    assert [e.layer for e in events.of(LayerBypassed)] == ["cache"]


async def test_a_bug_while_handling_an_error_leaves_the_error(open_argo) -> None:
    async def middleware(call: Call, call_next: Next) -> Outcome:
        try:
            return await call_next(call)
        except UpstreamError:
            raise KeyError("in the handler") from None

    failing = Scripted("a", ["bars"], UpstreamError("down", upstream="a"))
    async with open_argo(failing, layers=(Layer("cache", middleware, slot="cache"),)) as argo:
        with pytest.raises(UpstreamError, match="down"):
            await argo.call("bars", symbol="AAPL")


async def test_a_bug_while_the_inner_call_runs_never_makes_a_second(open_argo) -> None:
    tasks = []

    async def middleware(call: Call, call_next: Next) -> Outcome:
        tasks.append(asyncio.ensure_future(call_next(call)))
        await asyncio.sleep(0)
        raise KeyError("impatient")

    upstream = Scripted("a", ["bars"])
    upstream.gate.clear()
    async with open_argo(upstream, layers=(Layer("cache", middleware, slot="cache"),)) as argo:
        with pytest.raises(PluginError, match="failed while its inner call was under way"):
            await argo.call("bars", symbol="AAPL")
        upstream.gate.set()
        await asyncio.gather(*tasks)
    assert len(upstream.asked) == 1


async def test_a_layer_that_fans_out_may_call_on_several_times(open_argo) -> None:
    async def both(call: Call, call_next: Next) -> Outcome:
        outcomes = [await call_next(call.bind(name)) for name in ("one", "two")]
        return outcomes[-1]

    layer = Layer("race", both, slot="race", fans_out=True)
    one, two = Scripted("one", ["bars"]), Scripted("two", ["bars"])
    async with open_argo(one, two, layers=(layer,)) as argo:
        assert (await argo.outcome("bars", symbol="A")).upstream == "two"
    assert (len(one.asked), len(two.asked)) == (1, 1)

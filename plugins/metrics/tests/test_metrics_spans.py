"""Which calls have a span, and when it begins and ends."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from argo_mw import Argo, DeadlineExceeded, Outcome, UpstreamError
from argo_mw.plugin import Call, Context, Layer, Next, context_of, hookimpl, operation
from argo_mw.testing import FakeClock, FakePlugin, Scripted, settle
from argo_mw_metrics.plugin import MetricsPlugin


@operation(subject="symbol")
def bars(symbol: str) -> object:
    """Bars of one symbol."""


class Store:
    """A layer that has answers at hand, or finds them by waiting; else it asks on."""

    def __init__(self, events: list[str]) -> None:
        self._events = events
        self.at_hand: dict[str, object] = {}
        self.kept: dict[str, object] = {}
        self.gate = asyncio.Event()
        self.gate.set()

    @hookimpl
    def register_layers(self, context: Context) -> list[Layer]:
        self.context = context
        return [Layer("store", self, slot="cache")]

    def find(self, call: Call) -> Outcome | Coroutine[object, object, Outcome | None]:
        if call.subject in self.at_hand:
            return Outcome(self.at_hand[call.subject]).shaped_by("store")
        return self._look(call)

    async def _look(self, call: Call) -> Outcome | None:
        self._events.append(_current_name())
        await self.gate.wait()
        found = self.kept.get(call.subject)
        if isinstance(found, Exception):
            raise found
        return None if found is None else Outcome(found).shaped_by("store")

    async def __call__(self, call: Call, call_next: Next) -> Outcome:
        return await call_next(call)


def _current_name() -> str:
    return getattr(trace.get_current_span(), "name", "")


class Traced:
    """An application with a store before its upstream, whose spans are kept in memory."""

    def __init__(self, *script: object, flag: object = "on", instruments: bool = False) -> None:
        self.exporter = InMemorySpanExporter()
        tracers = TracerProvider()
        tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.current_in_look: list[str] = []
        self.store = Store(self.current_in_look)
        self.upstream = Scripted("a", {"bars"}, *script, retries=0)
        self.clock = FakeClock()
        self.config = {
            "argo": {"shared": "memory://", "strict": True},
            "flags": {"metrics": flag},
            "plugins": {"metrics": {"instruments": instruments}},
        }
        self.argo = Argo.open(
            self.config,
            clock=self.clock,
            plugins={
                "metrics": MetricsPlugin(None, tracers),
                "store": self.store,
                "asked": FakePlugin(operations=[bars], upstreams=[self.upstream]),
            },
            installed=False,
        )

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self.exporter.get_finished_spans()


async def test_an_answer_found_by_waiting_in_a_store_has_a_span():
    traced = Traced()
    traced.store.kept["AAPL"] = "kept"
    async with traced.argo as argo:
        assert "kept" == await argo.call("bars", symbol="AAPL")
        assert not context_of(argo).events
    (span,) = traced.spans
    assert ("bars", "store") == (span.name, span.attributes["argo_mw.served_by"])
    assert [] == traced.upstream.asked


async def test_an_answer_at_hand_has_no_span():
    traced = Traced()
    traced.store.at_hand["AAPL"] = "known"
    async with traced.argo as argo:
        assert "known" == await argo.call("bars", symbol="AAPL")
        assert not context_of(argo).events
    assert () == traced.spans


async def test_a_call_that_misses_the_store_has_one_span_until_its_upstream_answers():
    traced = Traced()
    async with traced.argo as argo:
        await argo.call("bars", symbol="AAPL")
    (span,) = traced.spans
    assert "a" == span.attributes["argo_mw.upstream"]
    assert "upstream" == span.attributes["argo_mw.served_by"]
    assert ["attempt"] == [event.name for event in span.events]


async def test_the_span_is_current_while_the_store_is_asked_and_not_afterwards():
    traced = Traced()
    with TracerProvider().get_tracer("program").start_as_current_span("program") as outer:
        async with traced.argo as argo:
            await argo.call("bars", symbol="AAPL")
            assert outer is trace.get_current_span()
    (span,) = traced.spans
    assert ["bars"] == traced.current_in_look
    assert outer.get_span_context().span_id == span.parent.span_id


async def test_calls_that_wait_side_by_side_have_a_span_each():
    traced = Traced()
    traced.store.gate.clear()
    traced.store.kept["AAPL"] = "kept"
    async with traced.argo as argo:
        callers = [asyncio.create_task(argo.call("bars", symbol="AAPL")) for _ in range(3)]
        await settle()
        assert () == traced.spans
        traced.store.gate.set()
        await asyncio.gather(*callers)
        assert not context_of(argo).events
    assert 3 == len(traced.spans)


@pytest.mark.parametrize("where", ["store", "upstream"])
async def test_an_error_after_waiting_is_on_the_span(where: str):
    error = UpstreamError("down", upstream="a")
    traced = Traced(error if where == "upstream" else "answer")
    if where == "store":
        traced.store.kept["AAPL"] = error
    async with traced.argo as argo:
        with pytest.raises(UpstreamError):
            await argo.call("bars", symbol="AAPL")
    (span,) = traced.spans
    assert StatusCode.ERROR is span.status.status_code
    assert "UpstreamError" == span.attributes["error.type"]


async def test_a_deadline_that_passes_during_the_wait_ends_the_span_with_its_error():
    traced = Traced()
    traced.store.gate.clear()
    async with traced.argo as argo:
        caller = asyncio.create_task(argo.options(timeout=1.0).call("bars", symbol="AAPL"))
        await settle()
        await traced.clock.advance(2.0)
        with pytest.raises(DeadlineExceeded):
            await caller
    (span,) = traced.spans
    assert "DeadlineExceeded" == span.attributes["error.type"]


async def test_a_caller_that_leaves_during_the_wait_ends_its_span():
    traced = Traced()
    traced.store.gate.clear()
    async with traced.argo as argo:
        caller = asyncio.create_task(argo.call("bars", symbol="AAPL"))
        await settle()
        caller.cancel()
        await asyncio.gather(caller, return_exceptions=True)
        assert not context_of(argo).events
    (span,) = traced.spans
    assert "CancelledError" == span.attributes["error.type"]


async def test_a_refresh_does_not_end_the_span_of_the_waiting_call_that_starts_it():
    traced = Traced()

    async def refresh_first(call: Call) -> Outcome | None:
        refreshing = traced.store.context.refresh(call)
        assert refreshing is not None
        await refreshing.wait()
        return None

    traced.store._look = refresh_first
    async with traced.argo as argo:
        await argo.call("bars", symbol="AAPL")
        assert not context_of(argo).events
    refresh, waiting = traced.spans
    assert waiting.get_span_context().span_id == refresh.parent.span_id
    assert waiting.end_time >= refresh.end_time
    assert {"a"} == {span.attributes["argo_mw.upstream"] for span in (refresh, waiting)}


async def test_spans_that_are_open_while_the_configuration_changes_end_well():
    traced = Traced(instruments=False)
    traced.store.gate.clear()
    async with traced.argo as argo:
        first = asyncio.create_task(argo.call("bars", symbol="AAPL"))
        await settle()
        changed = {**traced.config, "plugins": {"metrics": {"instruments": True}}}
        await argo.reload(changed)
        second = asyncio.create_task(argo.call("bars", symbol="IBM"))
        await settle()
        traced.store.gate.set()
        await asyncio.gather(first, second)
        await argo.call("bars", symbol="MSFT")
    assert ["AAPL", "IBM", "MSFT"] == sorted(s.attributes["argo_mw.subject"] for s in traced.spans)


async def test_a_call_in_the_control_arm_has_no_span():
    traced = Traced(flag={"percent": 0})
    traced.store.kept["AAPL"] = "kept"
    async with traced.argo as argo:
        await argo.call("bars", symbol="AAPL")
    assert () == traced.spans

"""One call is one trace, whatever is shared, batched, raced or refreshed on its way."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import argo_mw_coalesce.plugin as coalesce_plugin
import argo_mw_race.plugin as race_plugin
from argo_mw import Argo, DeadlineExceeded, Outcome
from argo_mw.plugin import Batching, Call, Clock, SystemClock, Upstream, layers_of, operation
from argo_mw.testing import FakeClock, FakePlugin, settle
from argo_mw_adaptive_ttl import AdaptiveTtlPlugin
from argo_mw_cache import CachePlugin
from argo_mw_metrics.plugin import MetricsPlugin
from argo_mw_persist import PersistPlugin
from argo_mw_signals import SignalsPlugin

NOW = 1_750_000_000.0
SLOW = ("adaptive_ttl", "persist")
"""Layers that threads work for, which no turn of the loop waits for."""
LAYERS = ("coalesce", "cache", "adaptive_ttl", "race", "persist")


@operation(data_type="market_data", subject="symbol")
def bars(symbol: str, *, timeframe: str = "1Day", days: int = 90) -> object:
    """Prices."""


@operation(subject="symbol")
def news(symbol: str, *, days: int = 3) -> object:
    """Articles."""


class Traced:
    """Applications with every layer, whose upstreams make spans as an HTTP client would."""

    def __init__(self, *, batching: bool = False, clock: Clock | None = None) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.tracers.get_tracer("program")
        self.fake_clock = FakeClock(wall=NOW)
        self.clock = clock or self.fake_clock
        self.gate = asyncio.Event()
        self.gate.set()
        self.requests: Counter[str] = Counter()
        self.age = 60.0
        vendors = [
            Upstream(
                name,
                {"bars", "news"},
                self.fetch,
                batching=Batching(self.fetch_many, max_size=10) if batching else None,
            )
            for name in ("one", "other")
        ]
        self.market = FakePlugin(
            operations=[bars, news], upstreams=vendors, data_types=["market_data"]
        )

    def open(self, *off: str, **argo: object) -> Argo:
        return Argo.open(
            {
                "argo": {"shared": "memory://", "strict": True, **argo},
                "flags": dict.fromkeys(off, "off"),
                "plugins": {"metrics": {"instruments": False}},
            },
            clock=self.clock,
            plugins={
                "metrics": MetricsPlugin(None, self.tracers),
                "coalesce": coalesce_plugin,
                "cache": CachePlugin,
                "adaptive_ttl": AdaptiveTtlPlugin,
                "race": race_plugin,
                "persist": PersistPlugin,
                "signals": SignalsPlugin(),
                "market": self.market,
            },
            installed=False,
        )

    async def fetch(self, call: Call) -> Outcome:
        return (await self.fetch_many([call]))[0]

    async def fetch_many(self, calls: Sequence[Call]) -> list[Outcome]:
        name = calls[0].operation.name
        self.requests[name] += 1
        with self.tracer.start_as_current_span(f"GET {name}"):
            await self.gate.wait()
            as_of = self.clock.time() - self.age
            value = frame() if name == "bars" else ()
            return [Outcome(value, as_of=as_of, expires_at=as_of + 120) for _ in calls]

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self.exporter.get_finished_spans()

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name == name]

    @contextmanager
    def request(self, name: str = "POST /signals") -> Iterator[trace.Span]:
        with self.tracer.start_as_current_span(name) as span:
            yield span

    async def asked(self, argo: Argo, name: str) -> object:
        """Ask for a signal as the handler of a request of its own."""
        with self.request(name):
            return await argo.call("signal", symbol="AAPL")


def frame() -> pd.DataFrame:
    close = 100.0 * np.exp(np.cumsum(np.random.default_rng(3).normal(0.01, 0.01, 62)))
    index = pd.date_range(end="2025-06-13T20:00", periods=62, freq="D", tz="UTC", name="time")
    columns = {"open": close, "high": close * 1.01, "low": close * 0.98, "close": close}
    return pd.DataFrame({**columns, "volume": 1000.0}, index=index)


@pytest.fixture(autouse=True)
def _private_state(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARGO_MW_STATE_DIR", str(tmp_path))


def check_tree(spans: Sequence[ReadableSpan]) -> None:
    """Check that *spans* are one trace with one root, in which every parent is one of them."""
    assert 1 == len({span.context.trace_id for span in spans})
    ids = {span.context.span_id for span in spans}
    roots = [span for span in spans if span.parent is None]
    assert ["POST /signals"] == [span.name for span in roots]
    assert {span.parent.span_id for span in spans if span.parent is not None} <= ids


def open_spans(argo: Argo) -> dict[str, object]:
    """Return the spans that have not ended, by the keys of their calls."""
    (layer,) = [layer for layer in layers_of(argo) if layer.name == "metrics"]
    return layer.middleware._open  # type: ignore[attr-defined,no-any-return]


def trace_of(spans: Sequence[ReadableSpan], root: ReadableSpan) -> list[ReadableSpan]:
    return [span for span in spans if span.context.trace_id == root.context.trace_id]


@pytest.mark.parametrize("batching", [False, True])
@pytest.mark.parametrize("off", [(), *((name,) for name in LAYERS), LAYERS])
async def test_all_spans_of_one_signal_are_one_tree(off: tuple[str, ...], batching: bool) -> None:
    traced = Traced(batching=batching, clock=SystemClock())
    async with traced.open(*off) as argo:
        with traced.request():
            await argo.call("signal", symbol="AAPL")
        await settle()
        assert {} == open_spans(argo)
    check_tree(traced.spans)
    names = {span.name for span in traced.spans}
    assert {"signal", "bars", "voice_trend", "news", "GET bars", "GET news"} <= names
    assert ("load signal" in names) == ("coalesce" not in off)


async def test_callers_that_join_have_a_span_of_their_own_that_links_to_the_load() -> None:
    traced = Traced()
    traced.gate.clear()
    async with traced.open(*SLOW) as argo:
        asking = [asyncio.create_task(traced.asked(argo, f"POST /{n}")) for n in range(5)]
        await settle()
        asking += [asyncio.create_task(traced.asked(argo, f"POST /{n}")) for n in range(5, 8)]
        await settle()
        traced.gate.set()
        await asyncio.gather(*asking)
        assert {} == open_spans(argo)
    [load] = traced.named("load signal")
    first = traced.named("POST /0")[0]
    assert load in trace_of(traced.spans, first)
    assert traced.named("GET bars")[0] in trace_of(traced.spans, first)
    for number in range(1, 8):
        root, waiting = sorted(
            trace_of(traced.spans, traced.named(f"POST /{number}")[0]), key=lambda s: s.name
        )
        assert "signal" == waiting.name
        assert root.context.span_id == waiting.parent.span_id
        assert [load.context] == [link.context for link in waiting.links]
    assert () == next(s for s in traced.named("signal") if s in trace_of(traced.spans, first)).links


async def test_a_load_whose_first_caller_leaves_stays_whole_and_those_that_stay_link_to_it() -> (
    None
):
    traced = Traced()
    traced.gate.clear()
    async with traced.open(*SLOW) as argo:
        leaving = asyncio.create_task(traced.asked(argo, "POST /signals"))
        await settle()
        staying = asyncio.create_task(traced.asked(argo, "POST /stays"))
        await settle()
        leaving.cancel()
        await asyncio.wait([leaving])
        late = asyncio.create_task(traced.asked(argo, "POST /late"))
        await settle()
        traced.gate.set()
        await asyncio.gather(staying, late)
        assert {} == open_spans(argo)
    check_tree(trace_of(traced.spans, traced.named("POST /signals")[0]))
    [load] = traced.named("load signal")
    for name in ("POST /stays", "POST /late"):
        [waiting] = [s for s in trace_of(traced.spans, traced.named(name)[0]) if s.links]
        assert [load.context] == [link.context for link in waiting.links]


async def test_a_load_that_goes_on_without_callers_ends_its_span_with_its_answer() -> None:
    traced = Traced()
    traced.gate.clear()
    async with traced.open(*SLOW) as argo:
        with traced.request():
            asking = asyncio.create_task(argo.options(timeout=1.0).call("signal", symbol="AAPL"))
            await settle()
            await traced.fake_clock.advance(2.0)
            with pytest.raises(DeadlineExceeded):
                await asking
        assert [] == traced.named("load signal")
        traced.gate.set()
        await settle()
        assert {} == open_spans(argo)
    check_tree(traced.spans)
    assert 1 == len(traced.named("load signal"))


async def test_callers_that_all_leave_at_once_leave_no_span_open() -> None:
    traced = Traced()
    async with traced.open(*SLOW) as argo:
        asking = [asyncio.create_task(argo.call("bars", symbol="AAPL")) for _ in range(3)]
        for turns in range(12):
            for task in asking:
                task.cancel()
            await asyncio.wait(asking)
            await settle()
            assert {} == open_spans(argo), turns
            asking = [asyncio.create_task(argo.call("bars", symbol="AAPL")) for _ in range(3)]
            for _ in range(turns):
                await asyncio.sleep(0)
        await asyncio.gather(*asking)
        await settle()
        assert {} == open_spans(argo)


async def test_a_refresh_is_in_the_trace_of_the_caller_that_starts_it() -> None:
    """And what waits for it beside that caller links to it."""
    traced = Traced()
    async with traced.open(*SLOW) as argo:
        await argo.call("bars", symbol="AAPL")
        traced.exporter.clear()
        await traced.fake_clock.advance(100.0)
        traced.gate.clear()

        async def ask(name: str) -> None:
            with traced.request(name):
                await argo.call("bars", symbol="AAPL")

        first = asyncio.create_task(ask("POST /signals"))
        await settle()
        second = asyncio.create_task(ask("POST /second"))
        await settle()
        await traced.fake_clock.advance(10.0)
        await asyncio.gather(first, second)
        traced.gate.set()
        await settle()
        assert {} == open_spans(argo)
    below = trace_of(traced.spans, traced.named("POST /signals")[0])
    check_tree(below)
    assert traced.named("GET bars")
    assert all(span in below for span in traced.named("GET bars"))
    beside = trace_of(traced.spans, traced.named("POST /second")[0])
    assert [["bars", True], ["POST /second", False]] == [[s.name, bool(s.links)] for s in beside]

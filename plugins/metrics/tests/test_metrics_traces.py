"""Calls become spans, with events, errors and links."""

from __future__ import annotations

import asyncio
import socket
import sys
from types import SimpleNamespace

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from argo_mw import Argo, UpstreamError
from argo_mw.app.application import engine_of
from argo_mw.plugin import context_of, operation
from argo_mw.testing import FakeClock, FakePlugin, Scripted, settle
from argo_mw_coalesce import plugin as coalesce_plugin
from argo_mw_metrics.plugin import MetricsPlugin
from argo_mw_metrics.spans import Spans
from argo_mw_race import plugin as race_plugin


@operation(subject="symbol")
def bars(symbol: str) -> object:
    """Bars of one symbol."""


class Watched:
    """An application whose spans are kept in memory."""

    def __init__(
        self,
        *upstreams: Scripted,
        config: dict[str, object] | None = None,
        flag: str = "on",
        strict: bool = True,
    ) -> None:
        self.exporter = InMemorySpanExporter()
        tracers = TracerProvider()
        tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.plugin = MetricsPlugin(tracers=tracers)
        self.clock = FakeClock()
        self.argo = Argo.open(
            {
                "argo": {"shared": "memory://", "strict": strict},
                "flags": {"metrics": flag},
                "plugins": {
                    "race": {"strategy": "race"},
                    **({"metrics": config} if config else {}),
                },
            },
            clock=self.clock,
            plugins={
                "metrics": self.plugin,
                "coalesce": coalesce_plugin,
                "race": race_plugin,
                "asked": FakePlugin(operations=[bars], upstreams=upstreams),
            },
            installed=False,
        )

    @property
    def spans(self):
        return self.exporter.get_finished_spans()


def spans_of(argo: Argo) -> Spans:
    """Return the layer that makes spans."""
    (layer,) = engine_of(argo).pipeline.contributions["metrics"].layers
    assert isinstance(layer.middleware, Spans)
    return layer.middleware


async def raced_and_joined(watched: Watched, slow: Scripted, fast: Scripted) -> None:
    """Two callers share one flight, which two upstreams race for; *fast* wins."""
    slow.gate.clear()
    fast.gate.clear()
    async with watched.argo as argo:
        callers = [asyncio.create_task(argo.outcome("bars", symbol="AAPL")) for _ in range(2)]
        await settle()
        fast.gate.set()
        await asyncio.gather(*callers)
        await settle()


async def test_the_spans_of_a_raced_and_coalesced_call_have_the_documented_shape():
    slow, fast = Scripted("slow", {"bars"}), Scripted("fast", {"bars"})
    watched = Watched(slow, fast)
    await raced_and_joined(watched, slow, fast)
    first, second, load = sorted(watched.spans, key=lambda span: (span.name, span.start_time))
    assert (first.name, second.name, load.name) == ("bars", "bars", "load bars")
    for span in (first, second):
        assert span.attributes["argo_mw.operation"] == "bars"
        assert span.attributes["argo_mw.subject"] == "AAPL"
        assert span.attributes["argo_mw.upstream"] == "fast"
        assert span.attributes["argo_mw.served_by"] == "upstream"
        assert "race" in span.attributes["argo_mw.via"]
        assert span.status.status_code is StatusCode.UNSET
    assert [event.name for event in load.events] == ["attempt", "race won", "race cancelled"]
    # The loser's attempt ends when the load has its answer.
    assert "attempt" in [event.name for event in first.events]
    events = (*load.events, *first.events)
    attempts = [event.attributes for event in events if event.name == "attempt"]
    ended = [(one["argo_mw.upstream"], one["argo_mw.status"]) for one in attempts]
    assert ended == [("fast", "ok"), ("slow", "cancelled")]
    told = {event.name: dict(event.attributes) for event in load.events}
    assert told["race cancelled"]["argo_mw.detail"].startswith("slow after")
    assert first.get_span_context().span_id == load.parent.span_id
    assert load.status.status_code is StatusCode.UNSET
    assert first.links == load.links == ()
    assert [link.context for link in second.links] == [load.get_span_context()]
    assert "coalesce joined" in [event.name for event in second.events]


class Compared(trace.NonRecordingSpan):
    """A span that counts how often it is compared with others."""

    times = 0

    def is_recording(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        Compared.times += 1
        return self is other

    __hash__ = object.__hash__


async def test_finding_a_callers_span_does_not_compare_it_with_all_that_share_its_flight():
    slow = Scripted("slow", {"bars"})
    slow.gate.clear()
    watched = Watched(slow, config={"instruments": False})
    async with watched.argo as argo:
        spans_of(argo)._tracer = SimpleNamespace(
            start_span=lambda *_, **__: Compared(trace.INVALID_SPAN_CONTEXT)
        )
        callers = [asyncio.create_task(argo.call("bars", symbol="AAPL")) for _ in range(100)]
        await settle()
        slow.gate.set()
        await asyncio.gather(*callers)
    assert 1 == slow.requests
    assert Compared.times <= len(callers)


async def test_an_error_is_on_the_span():
    watched = Watched(Scripted("a", {"bars"}, UpstreamError("down", upstream="a"), retries=0))
    async with watched.argo as argo:
        with pytest.raises(UpstreamError):
            await argo.call("bars", symbol="AAPL")
    load, span = watched.spans
    assert load.status.status_code is span.status.status_code is StatusCode.ERROR
    assert "down" == load.status.description
    assert span.attributes["error.type"] == "UpstreamError"


async def test_nothing_is_watched_while_no_span_is_open():
    watched = Watched(Scripted("a", {"bars"}), config={"instruments": False})
    async with watched.argo as argo:
        assert not context_of(argo).events
        await argo.call("bars", symbol="AAPL")
        assert not context_of(argo).events
    assert ["load bars", "bars"] == [span.name for span in watched.spans]


async def test_no_span_is_made_when_the_flag_is_off():
    watched = Watched(Scripted("a", {"bars"}), flag="off")
    async with watched.argo as argo:
        await argo.call("bars", symbol="AAPL")
    assert watched.spans == ()


@pytest.mark.parametrize("trouble", ["a port that is taken", "libraries that are missing"])
async def test_spans_are_made_where_prometheus_cannot_be_answered(monkeypatch, trouble: str):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        if trouble == "libraries that are missing":
            monkeypatch.setitem(sys.modules, "prometheus_client", None)
        config = {"port": taken.getsockname()[1]}
        watched = Watched(Scripted("a", {"bars"}), config=config, strict=False)
        async with watched.argo as argo:
            [broken] = argo.broken
            assert ("metrics", False) == (broken.plugin, broken.left_out)
            assert "[plugins.metrics] port" in broken.error
            await argo.call("bars", symbol="AAPL")
            await settle()
    assert "bars" in {span.name.split()[-1] for span in watched.spans}


async def test_no_span_is_begun_while_the_program_has_no_provider(monkeypatch):
    """It may set one up at any time, and has spans from then on."""
    begun: list[str] = []
    plugin = MetricsPlugin()
    asked = FakePlugin(operations=[bars], upstreams=[Scripted("a", {"bars"})])
    config = {"argo": {"shared": "memory://", "strict": True}}
    plugins = {"metrics": plugin, "asked": asked}
    async with Argo.open(config, plugins=plugins, installed=False) as argo:
        spans = spans_of(argo)
        begin = spans._tracer.start_span
        spans._tracer = SimpleNamespace(
            start_span=lambda name, **how: begun.append(name) or begin(name, **how)
        )
        await argo.call("bars", symbol="AAPL")
        assert [] == begun
        monkeypatch.setattr(trace, "get_tracer_provider", TracerProvider)
        await argo.call("bars", symbol="AAPL")
        assert ["bars"] == begun

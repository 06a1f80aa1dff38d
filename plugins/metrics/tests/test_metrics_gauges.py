"""The gauges of plugins are read on demand."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from attrs import define
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from argo_mw import Argo, Cost, Outcome
from argo_mw.plugin import (
    Call,
    CallEnded,
    Event,
    Gauge,
    LayerBypassed,
    context_of,
    hookimpl,
    observe,
    operation,
)
from argo_mw.testing import FakePlugin, Scripted
from argo_mw_cache.plugin import CachePlugin
from argo_mw_metrics.plugin import MetricsPlugin
from argo_mw_persist import PersistPlugin, store_of
from argo_mw_persist.testing import Postgres, postgres
from argo_mw_redis import plugin as redis_plugin
from argo_mw_redis.testing import RealServer, servers

HOW_TO = Path(__file__).parents[3] / "docs/how-to/metrics.md"
README = Path(__file__).parents[1] / "README.md"
OURS = ("argo_", "db_client_")
MEMORY = {"argo": {"shared": "memory://", "strict": True}}


@operation(subject="symbol")
def bars(symbol: str) -> object:
    """Bars of one symbol."""


class Held:
    """A plugin with gauges of its own."""

    def __init__(self, *gauges: Gauge) -> None:
        self._gauges = gauges

    @hookimpl
    def register_gauges(self) -> Iterable[Gauge]:
        return self._gauges


class Watch:
    """A program with a meter provider of its own, which may open several applications."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider(metric_readers=[self.reader])

    def opened(self, *gauges: Gauge) -> Argo:
        plugins = {"metrics": MetricsPlugin(self.meters), "held": Held(*gauges)}
        return Argo.open(MEMORY, plugins=plugins, installed=False)

    def seen(self, name: str) -> dict[tuple[str, ...], float]:
        data = self.reader.get_metrics_data()
        if data is None:
            return {}
        return {
            tuple(point.attributes.values()): point.value
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        }


async def test_a_gauge_is_read_at_each_collection():
    watch, depth = Watch(), [1]
    async with watch.opened(Gauge("queue.size", lambda: depth[0], "{record}")):
        assert {(): 1} == watch.seen("queue.size")
        depth[0] = 5
        assert {(): 5} == watch.seen("queue.size")


async def test_gauges_of_one_name_are_told_apart_by_their_attributes():
    watch = Watch()
    used = Gauge("pool", lambda: 3, attributes={"state": "used"})
    idle = Gauge("pool", lambda: 1, attributes={"state": "idle"})
    async with watch.opened(used, idle):
        assert {("used",): 3, ("idle",): 1} == watch.seen("pool")


async def test_a_gauge_without_a_value_is_left_out():
    watch = Watch()
    async with watch.opened(Gauge("pool", lambda: None)):
        assert {} == watch.seen("pool")


async def test_a_gauge_that_cannot_be_read_is_logged_once_and_does_not_hide_the_others(caplog):
    watch = Watch()
    fine = Gauge("pool", lambda: 1, attributes={"state": "fine"})
    broken = Gauge("pool", lambda: 1 // 0, attributes={"state": "broken"})
    with caplog.at_level(logging.ERROR):
        async with watch.opened(broken, fine):
            for _ in range(3):
                assert {("fine",): 1} == watch.seen("pool")
    assert 1 == sum("a gauge cannot be read" in record.getMessage() for record in caplog.records)


async def test_the_next_application_of_a_program_replaces_the_gauges_of_the_last():
    """OpenTelemetry's SDK would go on reading the first."""
    watch = Watch()
    for number in (1, 2):
        async with watch.opened(Gauge("pool", lambda number=number: number)) as argo:
            assert {(): number} == watch.seen("pool")
            assert {(): len(context_of(argo).tasks)} == watch.seen("argo.tasks")
        assert {} == watch.seen("pool")
        assert {} == watch.seen("argo.tasks")


# -- the plugins' own, on real servers ---------------------------------------------------------


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RealServer]:
    with servers(tmp_path) as start:
        yield start("--maxmemory", "64mb")


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


@define
class Whole:
    """An application on real servers, to which everything has happened once."""

    argo: Argo
    metrics: MetricsPlugin

    async def families(self) -> list[Metric]:
        """What Prometheus reads, by the official parser."""
        url = f"http://127.0.0.1:{self.metrics.port}/metrics"
        text = (await asyncio.to_thread(lambda: urlopen(url).read())).decode()
        return list(text_string_to_metric_families(text))

    async def gauges(self) -> dict[str, dict[tuple[str, ...], float]]:
        """The gauges' values, by their labels, by name."""
        return {
            family.name: {
                tuple(value for _, value in sorted(sample.labels.items())): sample.value
                for sample in family.samples
            }
            for family in await self.families()
            if family.type == "gauge"
        }


@pytest.fixture
async def whole(redis: RealServer, server: Postgres, tmp_path: Path) -> AsyncIterator[Whole]:
    answer = Outcome("bars", cost=Cost(0.5, tokens_in=10, tokens_out=3))
    metrics = MetricsPlugin()
    argo = Argo.open(
        {
            "argo": {"shared": redis.url, "strict": True, "state_dir": str(tmp_path / "state")},
            "plugins": {
                "metrics": {"port": 0},
                "cache": {"max_entries": 7, "max_bytes": 5_000},
                "persist": {"url": server.database("gauges"), "answers": ["bars"]},
            },
        },
        plugins={
            "metrics": metrics,
            "cache": CachePlugin,
            "redis": redis_plugin,
            "persist": PersistPlugin,
            "asked": FakePlugin(operations=[bars], upstreams=[Scripted("a", {"bars"}, answer)]),
        },
        installed=False,
    )
    async with argo:
        seen: list[Call] = []
        ended = observe(argo, lambda event: seen.extend(_call_of(event)))
        for symbol in ("AAPL", "IBM"):
            await argo.call("bars", symbol=symbol)
        ended()
        await store_of(argo).flush()
        context_of(argo).events.emit(LayerBypassed("cache", seen[0], ValueError("a bug")))
        context_of(argo).warn_once("cache", "something that people should know of")
        await argo.reload()
        yield Whole(argo, metrics)


def _call_of(event: Event) -> list[Call]:
    return [event.call] if isinstance(event, CallEnded) else []


async def test_prometheus_reads_how_full_caches_queues_and_pools_are(
    whole: Whole, redis: RealServer
):
    seen = await whole.gauges()
    assert {(): 2} == seen["argo_cache_entries"]
    assert {(): 7} == seen["argo_cache_entries_limit"]
    assert 0 < seen["argo_cache_size_bytes"][()] <= seen["argo_cache_size_limit_bytes"][()]
    assert {(): 5_000} == seen["argo_cache_size_limit_bytes"]
    assert {(): 1} == seen["argo_shared_available"]
    assert {(): 0} == seen["argo_persist_queue_size"]
    assert {(): 10_000} == seen["argo_persist_queue_limit"]
    assert {(): 0} == seen["argo_persist_spool_size"]
    assert {("persist",): 4, ("redis",): 1} == seen["db_client_connection_max"]
    count = seen["db_client_connection_count"]
    assert 1 == count["redis", "idle"] + count["redis", "used"]
    assert 1 <= count["persist", "idle"] + count["persist", "used"] <= 4
    assert {("redis",): 0} == seen["db_client_connection_pending_requests"]

    redis.kill()
    await whole.argo.call("bars", symbol="MSFT")
    while context_of(whole.argo).shared.unreachable is None:  # type: ignore[attr-defined]
        await asyncio.sleep(0)
    assert {(): 0} == (await whole.gauges())["argo_shared_available"]


async def test_the_pages_name_the_metrics_that_exist(whole: Whole):
    """The plugin's page lists all of them; the how-to page uses no others."""
    families = await whole.families()
    table = README.read_text("utf-8").partition("## Metrics")[2].partition("## Spans")[0]
    rows = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([\w.]+)`", row)}
    there = {_as_named(family) for family in families if family.name.startswith(OURS)}
    assert named == there

    asked = set(re.findall(r"\b(?:argo|db_client)_\w+", _queries(HOW_TO.read_text("utf-8"))))
    samples = {sample.name for family in families for sample in family.samples}
    labels = {label for family in families for s in family.samples for label in s.labels}
    assert asked
    assert set() == asked - samples - labels - {"argo_mw"}


def _as_named(family: Metric) -> str:
    units = "_seconds|_bytes|_USD"
    return (
        re.sub(rf"({units})$", "", family.name).replace("_", ".").replace("pending.r", "pending_r")
    )


def _queries(page: str) -> str:
    return page.partition("## Without a metrics system")[0]

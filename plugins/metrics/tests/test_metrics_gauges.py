"""The gauges of plugins are read on demand."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from argo_mw import Argo
from argo_mw.plugin import Gauge, context_of, hookimpl
from argo_mw_metrics.plugin import MetricsPlugin
from argo_mw_redis.testing import RealServer

from .conftest import Lively

MEMORY = {"argo": {"shared": "memory://", "strict": True}}


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
            assert {(): len(context_of(argo).tasks)} == watch.seen("argo_mw.tasks")
        assert {} == watch.seen("pool")
        assert {} == watch.seen("argo_mw.tasks")


# -- the plugins' own, on real servers ---------------------------------------------------------


async def gauges(lively: Lively) -> dict[str, dict[tuple[str, ...], float]]:
    """The gauges' values, by their labels, by name."""
    return {
        family.name: {
            tuple(value for _, value in sorted(sample.labels.items())): sample.value
            for sample in family.samples
        }
        for family in await lively.families()
        if family.type == "gauge"
    }


async def test_prometheus_reads_how_full_caches_queues_and_pools_are(
    lively: Lively, redis: RealServer
):
    seen = await gauges(lively)
    assert 2 <= seen["argo_mw_cache_entries"][()] <= 7
    assert {(): 7} == seen["argo_mw_cache_entries_limit"]
    assert 0 < seen["argo_mw_cache_size_bytes"][()] <= seen["argo_mw_cache_size_limit_bytes"][()]
    assert {(): 5_000} == seen["argo_mw_cache_size_limit_bytes"]
    assert {(): 1} == seen["argo_mw_shared_available"]
    assert {(): 0} == seen["argo_mw_persist_queue_size"]
    assert {(): 10_000} == seen["argo_mw_persist_queue_limit"]
    assert {(): 0} == seen["argo_mw_persist_spool_size"]
    assert {("persist",): 4, ("redis",): 1} == seen["db_client_connection_max"]
    count = seen["db_client_connection_count"]
    assert 1 == count["redis", "idle"] + count["redis", "used"]
    assert 1 <= count["persist", "idle"] + count["persist", "used"] <= 4
    assert {("redis",): 0} == seen["db_client_connection_pending_requests"]

    redis.kill()
    await lively.argo.call("bars", symbol="NEW")
    while lively.context.shared.unreachable is None:  # type: ignore[attr-defined]
        await asyncio.sleep(0)
    assert {(): 0} == (await gauges(lively))["argo_mw_shared_available"]

"""OTLP: metrics with exponential histograms, sent to a collector every so often."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from argo_mw.plugin import Clock, ConfigError, Histogram, InstanceCounts, Log, Tasks
from argo_mw_metrics.metric import Kind, Labels, Reading
from argo_mw_metrics.moment import Moment
from argo_mw_metrics.sampler import Sampler

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import (
        ExponentialHistogramDataPoint,
        Metric,
        MetricExporter,
        MetricsData,
        NumberDataPoint,
    )
    from opentelemetry.sdk.resources import Resource

log = Log("argo_mw")

SCALE: Final = 5
"""The scale of the histograms that the chain counts in: 2**5 buckets for each doubling."""

_PER_DOUBLING: Final = 2**SCALE
_NANO: Final = 1_000_000_000


class Otlp:
    """Sends the metrics of one application to an exporter, every *every* seconds.

    Args:
        sampler: Reads the metrics.
        exporter: Where they go, such as an ``OTLPMetricExporter``.
        clock: The time.
        tasks: The owner of the task that sends.
        every: Seconds between two exports.
    """

    def __init__(
        self,
        sampler: Sampler,
        exporter: MetricExporter,
        clock: Clock,
        tasks: Tasks,
        *,
        every: float,
    ) -> None:
        from opentelemetry.sdk.resources import Resource

        self._sampler = sampler
        self._exporter = exporter
        self._clock = clock
        self._every = every
        self._failing = False
        here = sampler.moment().here
        self._resource = Resource.create(
            {"service.instance.id": here.instance, "argo_mw.version": here.build}
        )
        self._task = tasks.spawn("metrics:otlp", self._run())

    async def aclose(self) -> None:
        """Send once more, and then no more."""
        self._task.cancel()
        await asyncio.wait([self._task])
        await self._send()
        await asyncio.to_thread(self._exporter.shutdown)

    async def _run(self) -> None:
        while True:
            await self._clock.sleep(self._every)
            await self._send()

    async def _send(self) -> None:
        try:
            moment = self._sampler.moment()
            # In a thread: it sends over the network, with time limits of its own.
            taken = await asyncio.to_thread(self._export, moment)
        except Exception as error:
            self._report(repr(error))
        else:
            self._report("" if taken else "the collector did not take them")

    def _export(self, moment: Moment) -> bool:
        from opentelemetry.sdk.metrics.export import MetricExportResult

        data = metrics_data(self._sampler.readings(moment), moment.here, self._resource)
        return self._exporter.export(data) is MetricExportResult.SUCCESS

    def _report(self, problem: str) -> None:
        if problem and not self._failing:
            log.warning("metrics cannot be exported; that is tried again", error=problem)
        elif self._failing and not problem:
            log.info("metrics are exported again")
        self._failing = bool(problem)


def otlp_exporter() -> MetricExporter:
    """Return an exporter to where OpenTelemetry's variables of the environment say.

    Raises:
        ConfigError: The libraries are not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    except ImportError as error:
        msg = (
            f"[plugins.metrics] otlp needs the OTLP exporter ({error}); install "
            "argo-mw-metrics[otlp], or remove otlp"
        )
        raise ConfigError(msg) from error
    return OTLPMetricExporter()


def metrics_data(
    readings: Iterable[Reading], here: InstanceCounts, resource: Resource
) -> MetricsData:
    """Return *readings*, of the counters *here*, as OpenTelemetry's exporters take them."""
    from opentelemetry.sdk.metrics.export import MetricsData, ResourceMetrics, ScopeMetrics
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    times = (int(here.started * _NANO), int(here.at * _NANO))
    metrics = [_metric(reading, times) for reading in readings if reading.points]
    scope = ScopeMetrics(InstrumentationScope("argo_mw", here.build), metrics, "")
    return MetricsData([ResourceMetrics(resource, [scope], "")])


def _metric(reading: Reading, times: tuple[int, int]) -> Metric:
    from opentelemetry.sdk.metrics.export import (
        AggregationTemporality,
        ExponentialHistogram,
        Gauge,
        Metric,
        Sum,
    )

    cumulative = AggregationTemporality.CUMULATIVE
    data: Sum | Gauge | ExponentialHistogram
    if reading.kind == "histogram":
        points = [
            exponential(labels, value, times)
            for labels, value in reading.points.items()
            if isinstance(value, Histogram)
        ]
        data = ExponentialHistogram(points, cumulative)
    else:
        numbers = [
            _number(labels, value, times, reading.kind)
            for labels, value in reading.points.items()
            if not isinstance(value, Histogram)
        ]
        data = Gauge(numbers)
        if reading.kind == "counter":
            data = Sum(numbers, cumulative, is_monotonic=True)
    return Metric(reading.name, reading.description, reading.unit, data)


def _number(labels: Labels, value: float, times: tuple[int, int], kind: Kind) -> NumberDataPoint:
    from opentelemetry.sdk.metrics.export import NumberDataPoint

    start, now = times
    return NumberDataPoint(dict(labels), start if kind == "counter" else now, now, value)


def exponential(
    labels: Labels, histogram: Histogram, times: tuple[int, int]
) -> ExponentialHistogramDataPoint:
    """Return *histogram* bucket by bucket: OpenTelemetry's exponential histograms are the same."""
    from opentelemetry.sdk.metrics.export import Buckets, ExponentialHistogramDataPoint

    filled = histogram.buckets
    first, last = (min(filled), max(filled)) if filled else (0, -1)
    counts = [filled.get(index, 0) for index in range(first, last + 1)]
    return ExponentialHistogramDataPoint(
        dict(labels),
        *times,
        histogram.count,
        histogram.sum,
        SCALE,
        histogram.zeros,
        positive=Buckets(first, counts),
        negative=Buckets(0, []),
        flags=0,
        min=0.0 if histogram.zeros or not filled else 2.0 ** (first / _PER_DOUBLING),
        max=2.0 ** ((last + 1) / _PER_DOUBLING) if filled else 0.0,
    )

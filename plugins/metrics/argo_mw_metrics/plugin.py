"""What the plugin registers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from opentelemetry import metrics, trace

from argo_mw.plugin import Call, Context, Gauge, Layer, Log, Observer, hookimpl
from argo_mw_metrics.config import MetricsConfig
from argo_mw_metrics.gauges import Gauges, gauges_in
from argo_mw_metrics.instruments import Instruments
from argo_mw_metrics.prometheus import Prometheus
from argo_mw_metrics.spans import NAME, Spans

SCOPE = "argo_mw"
log = Log("argo_mw")


class MetricsPlugin:
    """One for each application: it owns the endpoint for Prometheus.

    Args:
        meters: Makes meters; the program's own provider unless told.
        tracers: Makes tracers; the program's own provider unless told.
    """

    def __init__(
        self,
        meters: metrics.MeterProvider | None = None,
        tracers: trace.TracerProvider | None = None,
    ) -> None:
        self._meters = meters
        self._tracers = tracers
        self._prometheus: Prometheus | None = None
        self._gauges: Gauges | None = None
        self.port: int | None = None
        """The port at which Prometheus is answered, once that has begun."""

    @hookimpl
    def register_config(self) -> type:
        """The class of the table ``[plugins.metrics]``."""
        return MetricsConfig

    @hookimpl
    def register_layers(self, context: Context) -> Iterable[Layer]:
        """Spans, outside of everything; answers at hand pass by and get none."""
        tracers = self._tracers or trace.get_tracer_provider()
        wanted = _traces_are_taken if self._tracers is None else _always
        spans = Spans(tracers.get_tracer(SCOPE), context.events, wanted)
        return [Layer(NAME, spans, before=("coalesce",), transparent=True)]

    @hookimpl
    def register_observers(self, config: MetricsConfig, context: Context) -> Iterable[Observer]:
        """What records events."""
        if not config.instruments:
            return []
        if config.port is not None:
            self._prometheus = Prometheus()
        own = self._meters is not None or self._prometheus is not None
        wanted = _always if own else _figures_are_taken
        return [Instruments(self._meter(), context.clock, wanted)]

    @hookimpl
    def register_gauges(self, context: Context) -> Iterable[Gauge]:
        """The core's own."""
        tasks = context.tasks
        return [Gauge("argo.tasks", lambda: len(tasks), "{task}", "Background tasks that run")]

    @hookimpl
    async def startup(self, config: MetricsConfig, context: Context) -> None:
        """Show what plugins' gauges stand at, and answer Prometheus, if that is wanted."""
        if config.instruments:
            asked = context.collect("register_gauges", context=context)
            self._gauges = Gauges(self._meter(), gauges_in(asked))
        if self._prometheus is not None and config.port is not None:
            self.port = await asyncio.to_thread(self._prometheus.serve, config.port)
            log.info("Prometheus can read the figures", url=f"http://127.0.0.1:{self.port}/metrics")

    @hookimpl
    async def shutdown(self) -> None:
        """Stop answering Prometheus, and let go of what gauges read."""
        if self._gauges is not None:
            self._gauges.close()
        if self._prometheus is not None:
            prometheus, self._prometheus = self._prometheus, None
            await asyncio.to_thread(prometheus.close)

    def _meter(self) -> metrics.Meter:
        if self._prometheus is not None:
            return self._prometheus.provider.get_meter(SCOPE)
        return (self._meters or metrics.get_meter_provider()).get_meter(SCOPE)


def _nothing_at_hand(call: Call) -> None:
    return None


# A program may set up its providers at any time; until then the API's own stand in for them.


def _figures_are_taken() -> bool:
    return not type(metrics.get_meter_provider()).__module__.startswith("opentelemetry.metrics")


def _traces_are_taken() -> bool:
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def _always() -> bool:
    return True

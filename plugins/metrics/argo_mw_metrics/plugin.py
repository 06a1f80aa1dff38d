"""What the plugin registers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from opentelemetry import metrics, trace

from argo_mw.plugin import (
    ConfigError,
    Context,
    Gauge,
    Layer,
    Log,
    Observer,
    PartlyFailed,
    hookimpl,
)
from argo_mw_metrics.config import MetricsConfig
from argo_mw_metrics.gauges import Gauges, flatten
from argo_mw_metrics.instruments import Instruments
from argo_mw_metrics.prometheus import Prometheus
from argo_mw_metrics.spans import NAME, Spans

_SCOPE = "argo_mw"
log = Log("argo_mw")


class MetricsPlugin:
    """The plugin; it owns the endpoint for Prometheus.

    Args:
        meters: Makes meters; by default the program's own provider.
        tracers: Makes tracers; by default the program's own provider.

    Attributes:
        port: The port at which Prometheus is answered, or ``None`` before that begins.
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
        self._unreadable = ""
        self.port: int | None = None

    @hookimpl
    def register_config(self) -> type:
        """Return the class of the table ``[plugins.metrics]``."""
        return MetricsConfig

    @hookimpl
    def register_layers(self, context: Context) -> Iterable[Layer]:
        """Return the layer that makes spans, outside of all others."""
        tracers = self._tracers or trace.get_tracer_provider()
        enabled = _traces_are_taken if self._tracers is None else _always
        spans = Spans(tracers.get_tracer(_SCOPE), context.events, enabled)
        return [Layer(NAME, spans, before=("coalesce",))]

    @hookimpl
    def register_observers(self, config: MetricsConfig, context: Context) -> Iterable[Observer]:
        """Return the observer that records events, if metrics are configured."""
        if not config.instruments:
            return []
        if config.port is not None:
            self._make_prometheus()
        own = self._meters is not None or self._prometheus is not None
        enabled = _always if own else _metrics_are_taken
        return [Instruments(self._meter(), context.clock, enabled)]

    @hookimpl
    def register_gauges(self, context: Context) -> Iterable[Gauge]:
        """Return the core's own gauge."""
        tasks = context.tasks
        return [Gauge("argo.tasks", lambda: len(tasks), "{task}", "Background tasks that run")]

    @hookimpl
    async def startup(self, config: MetricsConfig, context: Context) -> None:
        """Show the gauges of all plugins, and answer Prometheus if a port is configured.

        Raises:
            PartlyFailed: Prometheus cannot be answered; spans are made all the same.
        """
        if config.instruments:
            answers = context.collect("register_gauges", context=context)
            self._gauges = Gauges(self._meter(), flatten(answers))
        if self._prometheus is not None and config.port is not None:
            await self._serve(self._prometheus, config.port)
        if self._unreadable:
            msg = f"{self._unreadable}; until then nobody reads the metrics"
            raise PartlyFailed(msg)

    @hookimpl
    async def shutdown(self) -> None:
        """Stop answering Prometheus and release the gauges."""
        if self._gauges is not None:
            self._gauges.close()
        if self._prometheus is not None:
            prometheus, self._prometheus = self._prometheus, None
            await asyncio.to_thread(prometheus.close)

    def _make_prometheus(self) -> None:
        try:
            self._prometheus = Prometheus()
        except ConfigError as error:
            self._unreadable = str(error)

    async def _serve(self, prometheus: Prometheus, port: int) -> None:
        try:
            self.port = await asyncio.to_thread(prometheus.serve, port)
        except ConfigError as error:
            self._unreadable = str(error)
        else:
            log.info("Prometheus can read the metrics", url=f"http://127.0.0.1:{self.port}/metrics")

    def _meter(self) -> metrics.Meter:
        if self._prometheus is not None:
            return self._prometheus.provider.get_meter(_SCOPE)
        return (self._meters or metrics.get_meter_provider()).get_meter(_SCOPE)


# A program may set up its providers at any time; until then the API's own take their place.


def _metrics_are_taken() -> bool:
    return not type(metrics.get_meter_provider()).__module__.startswith("opentelemetry.metrics")


def _traces_are_taken() -> bool:
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def _always() -> bool:
    return True

"""What the plugin registers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from opentelemetry import metrics, trace

from argo_mw import Call, Context, Layer, Log, Observer, hookimpl
from argo_mw_metrics.config import MetricsConfig
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
        self.port: int | None = None
        """The port at which Prometheus is answered, once that has begun."""

    @hookimpl
    def register_config(self) -> type:
        """The class of the table ``[plugins.metrics]``."""
        return MetricsConfig

    @hookimpl
    def register_layer(self, context: Context) -> Layer:
        """Spans, outside of everything; answers at hand pass by and get none."""
        tracers = self._tracers or trace.get_tracer_provider()
        spans = Spans(tracers.get_tracer(SCOPE), context.events)
        # Peeks go on past it, lookups do not: whoever waits for an answer gets a span.
        return Layer(NAME, spans, before=("coalesce",), peek=_nothing_at_hand)

    @hookimpl
    def register_observers(self, config: MetricsConfig, context: Context) -> Iterable[Observer]:
        """What records events."""
        if not config.instruments:
            return []
        if config.port is not None:
            self._prometheus = Prometheus()
        meter = self._provider().get_meter(SCOPE)
        return [Instruments(meter, context.clock, context.tasks)]

    @hookimpl
    async def startup(self, config: MetricsConfig) -> None:
        """Answer Prometheus, if that is wanted."""
        if self._prometheus is not None and config.port is not None:
            self.port = await asyncio.to_thread(self._prometheus.serve, config.port)
            log.info("Prometheus can read the figures", url=f"http://127.0.0.1:{self.port}/metrics")

    @hookimpl
    async def shutdown(self) -> None:
        """Stop answering Prometheus."""
        if self._prometheus is not None:
            prometheus, self._prometheus = self._prometheus, None
            await asyncio.to_thread(prometheus.close)

    def _provider(self) -> metrics.MeterProvider:
        if self._prometheus is not None:
            return self._prometheus.provider
        return self._meters or metrics.get_meter_provider()


def _nothing_at_hand(call: Call) -> None:
    return None

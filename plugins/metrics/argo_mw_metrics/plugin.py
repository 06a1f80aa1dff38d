"""What the plugin registers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from secrets import token_urlsafe
from typing import TYPE_CHECKING, cast

from opentelemetry import metrics, trace

from argo_mw.plugin import (
    ConfigError,
    Context,
    Gauge,
    HostNames,
    Layer,
    Log,
    PartlyFailed,
    Secret,
    WebGuard,
    hookimpl,
    is_loopback,
    load_or_create_token,
)
from argo_mw_metrics import hookspecs
from argo_mw_metrics.config import MetricsConfig
from argo_mw_metrics.gauges import own_gauges
from argo_mw_metrics.gen_ai import is_opted_in
from argo_mw_metrics.moment import Moments
from argo_mw_metrics.observables import Observables
from argo_mw_metrics.otlp import Otlp, otlp_exporter
from argo_mw_metrics.prometheus import Prometheus
from argo_mw_metrics.sampler import Sampler, flatten
from argo_mw_metrics.spans import NAME, Spans

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricExporter

TOKEN_FILE = "metrics.token"  # noqa: S105 - the name of a file
"""The file in the state directory with the token that another machine has to present."""

_SCOPE = "argo_mw"
log = Log("argo_mw")


class MetricsPlugin:
    """The plugin; it owns the endpoint for Prometheus and the export over OTLP.

    Args:
        meters: Makes meters; by default the program's own provider.
        tracers: Makes tracers; by default the program's own provider.
        exporter: Where metrics are sent, with exponential histograms, in place of what ``otlp``
            says.

    Attributes:
        port: The port at which Prometheus is answered, or ``None`` before that begins.
        sampler: Reads the metrics, or ``None`` before the application is open.
    """

    def __init__(
        self,
        meters: metrics.MeterProvider | None = None,
        tracers: trace.TracerProvider | None = None,
        exporter: MetricExporter | None = None,
    ) -> None:
        self._meters = meters
        self._tracers = tracers
        self._exporter = exporter
        self._prometheus: Prometheus | None = None
        self._observables: Observables | None = None
        self._otlp: Otlp | None = None
        self.sampler: Sampler | None = None
        self.port: int | None = None

    @hookimpl
    def register_hookspecs(self) -> object:
        """Return the hook by which other plugins name providers of language models."""
        return hookspecs

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
    def register_gauges(self, context: Context) -> Iterable[Gauge]:
        """Return the core's own gauge."""
        return own_gauges(context.tasks)

    @hookimpl
    async def startup(self, config: MetricsConfig, context: Context) -> None:
        """Let the metrics be read: by Prometheus, over OTLP, or by the program's own provider.

        Raises:
            PartlyFailed: Some reader cannot be served; spans are made all the same.
        """
        if not config.instruments:
            return
        gauges = flatten(context.collect("register_gauges", context=context))
        moments = Moments(context, _providers(context.collect("register_gen_ai_providers")))
        self.sampler = Sampler(moments, gauges, gen_ai=is_opted_in(config.gen_ai))
        problems = [
            await self._answer_prometheus(self.sampler, config, context),
            self._export(self.sampler, config, context),
        ]
        if self._meters is not None or (config.port is None and not self._sends(config)):
            meters = self._meters or metrics.get_meter_provider()
            self._observables = Observables(meters.get_meter(_SCOPE), self.sampler)
        if any(problems):
            what = "; ".join(filter(None, problems))
            msg = f"{what}; until then the metrics are not read there"
            raise PartlyFailed(msg)

    @hookimpl
    async def shutdown(self) -> None:
        """Send the last metrics, and let none be read any more."""
        if self._otlp is not None:
            await self._otlp.aclose()
        if self._observables is not None:
            self._observables.close()
        if self._prometheus is not None:
            prometheus, self._prometheus = self._prometheus, None
            await asyncio.to_thread(prometheus.close)

    async def _answer_prometheus(
        self, sampler: Sampler, config: MetricsConfig, context: Context
    ) -> str:
        """Answer Prometheus, if a port is configured; return why that fails, or ""."""
        if config.port is None or not context.serves:
            return ""
        try:
            guard = await asyncio.to_thread(_guard, config, context)
            prometheus = Prometheus(sampler, guard)
            self.port = await asyncio.to_thread(prometheus.serve, config.host, config.port)
        except (ConfigError, OSError) as error:
            return str(error)
        self._prometheus = prometheus
        host = f"[{config.host}]" if ":" in config.host else config.host
        log.info("Prometheus can read the metrics", url=f"http://{host}:{self.port}/metrics")
        return ""

    def _sends(self, config: MetricsConfig) -> bool:
        return config.otlp or self._exporter is not None

    def _export(self, sampler: Sampler, config: MetricsConfig, context: Context) -> str:
        """Send metrics over OTLP, if that is configured; return why that fails, or ""."""
        if not self._sends(config) or not context.serves:
            return ""
        try:
            exporter = self._exporter or otlp_exporter()
            self._otlp = Otlp(
                sampler, exporter, context.clock, context.tasks, every=config.otlp_every
            )
        except ConfigError as error:
            return str(error)
        return ""


def _guard(config: MetricsConfig, context: Context) -> WebGuard:
    """Return the guard of the metrics: everyone may read on loopback, elsewhere with the token.

    Raises:
        ConfigError: The file of the token cannot be used.
        OSError: It cannot be read or written.
    """
    # On loopback no token is required; this one is random, so that none can be guessed.
    free = is_loopback(config.host)
    token = Secret(token_urlsafe())
    if not free:
        token = load_or_create_token(context.state_dir / TOKEN_FILE)
    bound = config.host.partition("%")[0]  # the zone of an address is in no request
    return WebGuard(token, HostNames((bound, *config.hosts)), reads_freely=free)


def _providers(answers: Mapping[str, object]) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in answers.values():
        found |= cast("Mapping[str, str]", one)
    return found


def _traces_are_taken() -> bool:
    # A program may set up its provider at any time; until then the API's own takes its place.
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def _always() -> bool:
    return True

"""The plugin's configuration."""

from __future__ import annotations

from attrs import field, frozen, validators

from argo_mw.plugin import Duration


@frozen
class MetricsConfig:
    """The table ``[plugins.metrics]``.

    Attributes:
        instruments: Whether metrics are exported; the flag ``metrics`` decides about spans.
        port: The port at which Prometheus reads the metrics; 0 takes a free one.
        host: The address at which it does. If other machines can reach it, they need the token in
            ``metrics.token`` in the state directory.
        hosts: Further names under which it answers, as in the ``Host`` header.
        otlp: Whether metrics are sent over OTLP, to where OpenTelemetry's environment variables
            say (``OTEL_EXPORTER_OTLP_ENDPOINT``, by default port 4318 of this machine).
        otlp_every: The time between two exports, in seconds.
        gen_ai: Whether OpenTelemetry's conventions for generative AI are followed as well; by
            default as ``OTEL_SEMCONV_STABILITY_OPT_IN`` says.
    """

    instruments: bool = True
    port: int | None = field(
        default=None,
        validator=validators.optional([validators.ge(0), validators.le(65_535)]),
    )
    host: str = "127.0.0.1"
    hosts: tuple[str, ...] = ()
    otlp: bool = False
    otlp_every: Duration = field(default=30.0, validator=validators.ge(1.0))
    gen_ai: bool | None = None

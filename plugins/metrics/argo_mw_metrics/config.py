"""The plugin's configuration."""

from __future__ import annotations

from attrs import field, frozen, validators


@frozen
class MetricsConfig:
    """The table ``[plugins.metrics]``.

    Attributes:
        instruments: Whether metrics are recorded; the flag ``metrics`` decides about spans.
        port: The port at which Prometheus on this machine reads the metrics; 0 takes a free
            one. Without it they go to the meter provider that the program has set up.
    """

    instruments: bool = True
    port: int | None = field(
        default=None,
        validator=validators.optional([validators.ge(0), validators.le(65_535)]),
    )

"""The table ``[plugins.signals]``."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen, validators


@frozen
class SignalsConfig:
    """The table ``[plugins.signals]``.

    Attributes:
        threshold: The lean of the consensus, from 0 to 1, from which it is BUY or SELL.
        quorum: The share of the voices' weight, from 0 to 1, that must be heard, each by its own
            confidence, for a signal to act at all.
        timeout: Seconds that a signal waits for its voices; a voice that is late is missing.
        weights: Weights of voices by name, in place of their own; 0 silences one.
        news_days: Days of news that the news voice reads.
    """

    threshold: float = field(default=0.15, validator=[validators.gt(0), validators.lt(1)])
    quorum: float = field(default=0.25, validator=[validators.ge(0), validators.le(1)])
    timeout: float = field(default=15.0, validator=validators.gt(0))
    weights: Mapping[str, float] = field(
        factory=dict,
        validator=validators.deep_mapping(validators.instance_of(str), validators.ge(0)),
    )
    news_days: int = field(default=3, validator=[validators.ge(1), validators.le(30)])

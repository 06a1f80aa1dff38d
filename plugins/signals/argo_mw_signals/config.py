"""The table ``[plugins.signals]``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import Attribute, field, frozen, validators

MAX_WEIGHT: Final = 1e6
"""A weight without end would make every confidence no number, and that a signal to sell."""


def _weighs(_: object, attribute: Attribute[float], weight: float) -> None:
    if not 0 <= weight <= MAX_WEIGHT:
        msg = f"'{attribute.name}' must be from 0 to {MAX_WEIGHT:.0f}, not {weight!r}"
        raise ValueError(msg)


@frozen
class SignalsConfig:
    """The table ``[plugins.signals]``.

    Attributes:
        threshold: The strength of the consensus, from 0 to 1, from which it is BUY or SELL.
        quorum: The share of the voices' weight, each times its confidence, that must be heard for a
            BUY or SELL, from 0 to 1.
        timeout: Seconds that a signal waits for its voices; a late voice is missing.
        weights: Weights of voices by name, in place of their own; 0 silences a voice, and a million
            is the largest.
        news_days: Days of news that the news voice reads.
    """

    threshold: float = field(default=0.15, validator=[validators.gt(0), validators.lt(1)])
    quorum: float = field(default=0.25, validator=[validators.ge(0), validators.le(1)])
    timeout: float = field(default=15.0, validator=validators.gt(0))
    weights: Mapping[str, float] = field(
        factory=dict,
        validator=validators.deep_mapping(
            validators.instance_of(str),
            _weighs,
        ),
    )
    news_days: int = field(default=3, validator=[validators.ge(1), validators.le(30)])

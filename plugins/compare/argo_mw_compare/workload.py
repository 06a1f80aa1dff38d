"""The workload: what is asked for and when, the same for every variant."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Literal

from attrs import field, frozen, validators

REAL = ("AAPL", "FB", "GOOG", "IBM", "MSFT")
START = datetime(2013, 2, 25, 14, 40, tzinfo=UTC)
"""Ten minutes after the open of a day that began calmly and ended in a sell-off."""

LATENCIES = {
    "alpaca": (0.060, 0.35, 0.01, 1.0),
    "massive": (0.080, 0.40, 0.01, 1.0),
    "alphavantage": (0.350, 0.50, 0.02, 3.0),
    "claude": (0.900, 0.45, 0.01, 5.0),
    "deepseek": (1.100, 0.60, 0.03, 8.0),
    "qwen": (0.800, 0.55, 0.02, 6.0),
    "glm": (0.900, 0.60, 0.02, 6.0),
}
"""Assumed, not measured: median, sigma, share of stalls and their length, in seconds."""

PRICES = {
    "claude": (2.0, 10.0, 0.20),
    "deepseek": (1.32, 3.96, 0.044),
    "qwen": (2.0, 6.0, 0.25),
    "glm": (1.4, 4.4, 0.26),
}
"""USD per million tokens in, out, and read from the provider's own cache, of each provider's
default model, at its dearest time."""

MODELS = ("claude", "deepseek", "qwen", "glm")

INSTANCES = 2
_CALM = 60.0
_STORM = 15.0

Kind = Literal["round", "restart", "outage", "recovery"]


@frozen(order=True)
class Step:
    """Something that happens in the workload.

    Attributes:
        at: Replayed seconds from the start.
        kind: A round of signals, a restart of an instance, the outage of a vendor or its end.
        instance: The instance that it happens to; -1 for all.
    """

    at: float
    kind: Kind
    instance: int = -1


@frozen
class Workload:
    """Signals that two instances ask for, over a part of a replayed trading day.

    In the calm, an instance asks for every symbol once a minute; in the storm, the third quarter,
    four times a minute. Instance 0 is restarted after a third, instance 1 after two; the first
    vendor is out from 40 to 45 % of the time.

    Attributes:
        symbols: How many symbols: five real ones, then synthetic ones.
        hours: Replayed hours.
        speed: Replayed seconds per real second; time and latencies are scaled alike.
        history: Signals of earlier days that are in the files when it starts.
        seed: The seed of latencies and faults.
        callers: How many callers of an instance ask for each symbol at once.
        begins: When the replay starts, in seconds since the epoch.
        own: Symbols in place of the real and synthetic ones.
        data: A folder with prices of one's own for them, or "".
    """

    symbols: int = field(default=6, validator=[validators.ge(1), validators.le(200)])
    hours: float = field(default=0.25, validator=[validators.gt(0), validators.le(6.0)])
    speed: float = field(default=2.0, validator=validators.gt(0))
    seed: int = 0
    history: int = field(default=100_000, validator=validators.ge(0))
    callers: int = field(default=1, validator=validators.ge(1))
    begins: float = START.timestamp()
    own: tuple[str, ...] = ()
    data: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The symbols."""
        if self.own:
            return self.own
        drawn = (f"SYN{number:03d}" for number in range(1, self.symbols + 1))
        return (*REAL, *drawn)[: self.symbols]

    def steps(self) -> list[Step]:
        """Return what happens, in order."""
        length = self.hours * 3600
        steps = [Step(at, "round", i) for i in range(INSTANCES) for at in self._rounds(i, length)]
        steps += [Step(length * (i + 1) / 3, "restart", i) for i in range(INSTANCES)]
        steps += [Step(0.40 * length, "outage"), Step(0.45 * length, "recovery")]
        return sorted(steps)

    def sandbox(self, *, instant: bool = False) -> dict[str, object]:
        """Return the configuration of the sandbox; *instant* is without latency."""
        latency = {
            vendor: {
                "median": median / self.speed,
                "sigma": sigma,
                "stall_share": share,
                "stall": stall / self.speed,
            }
            for vendor, (median, sigma, share, stall) in LATENCIES.items()
        }
        return {
            "now": datetime.fromtimestamp(self.begins, UTC).isoformat(),
            **({"data": self.data, "align": True} if self.data else {}),
            "speed": 0.0 if instant else self.speed,
            "seed": self.seed,
            "latency": {} if instant else latency,
        }

    def _rounds(self, instance: int, length: float) -> Iterator[float]:
        at = instance * 7.0
        while at < length:
            yield at
            at += _STORM if 0.5 <= at / length < 0.75 else _CALM

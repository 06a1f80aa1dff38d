"""The replay: every symbol is read once a minute, through the real chain, on a fake clock."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Mapping, Sequence

from attrs import define, field

from argo_mw import Argo, Outcome
from argo_mw.plugin import Call, Operation, Upstream, hookimpl, operation
from argo_mw_adaptive_ttl import AdaptiveTtlPlugin, Bars
from argo_mw_cache import CachePlugin
from tests.bench.adaptive_ttl_replay.clock import ReplayClock
from tests.bench.adaptive_ttl_replay.series import MINUTE, Era, Segment, Series

TURNS = 8


@operation(data_type="market_data", subject="symbol")
def closes(symbol: str) -> object:
    """The last minute bars of one symbol."""


@define
class Tally:
    """What came of one segment in one run.

    Attributes:
        squares: The squared error of each read, in bp².
        fetched_at: When each fetch was made, in epoch seconds.
    """

    squares: list[float] = field(factory=list)
    fetched_at: list[float] = field(factory=list)

    @property
    def fetches(self) -> int:
        """How many fetches were made."""
        return len(self.fetched_at)


class Feed:
    """The plugin that answers from the harness's bars, and counts what it answers."""

    def __init__(self, clock: ReplayClock, ttls: Mapping[str, float] | None = None) -> None:
        self._clock = clock
        self._ttls = ttls
        self.series: dict[str, Series] = {}
        self.tallies: dict[str, Tally] = {}

    @hookimpl
    def register_data_types(self) -> Sequence[str]:
        """One data type, which ``adaptive_ttl`` registers too."""
        return ["market_data"]

    @hookimpl
    def register_operations(self) -> Sequence[Operation]:
        """One operation."""
        return [closes]

    @hookimpl
    def register_upstreams(self) -> Sequence[Upstream]:
        """One upstream."""
        return [Upstream("bars", ["closes"], self.fetch)]

    async def fetch(self, call: Call) -> Outcome:
        """The last bars of the call's symbol; with a fixed time to live, if there is one."""
        now = self._clock.time()
        self.tallies[call.subject].fetched_at.append(now)
        bars = self.series[call.subject].fetch(now)
        if self._ttls is None:
            return Outcome(bars)
        return Outcome(bars, expires_at=now + self._ttls[call.subject])


def reads_of(segment: Segment, seed: int) -> list[float]:
    """When *segment* is read in the run *seed*: once in each minute, beginning at random."""
    chance = random.Random(f"{seed}:{segment.series.name}:{segment.minutes[0]}")
    late = chance.randrange(10)
    return [minute + MINUTE * chance.random() for minute in segment.minutes[late:]]


async def replay(
    eras: Sequence[Era],
    seed: int,
    *,
    policy: Mapping[str, object] | None,
    ttls: Mapping[str, float] | None = None,
) -> list[Tally]:
    """One run over *eras* with one application: a tally for each segment, in order.

    *policy* is the table ``[plugins.adaptive_ttl]``, or ``None`` for a fixed time to live, which
    *ttls* gives by symbol.
    """
    clock = ReplayClock(eras[0].segments[0].minutes[0] - 1.0)
    feed = Feed(clock, ttls)
    with tempfile.TemporaryDirectory(prefix="argo-mw-replay-") as state:
        config: dict[str, dict[str, object]] = {
            "argo": {"state_dir": state, "shared": "memory://", "strict": True},
            "plugins": {"cache": {"early": 0, "jitter": 0, "shared": False}},
        }
        plugins: dict[str, object] = {"cache": CachePlugin, "feed": feed}
        if policy is not None:
            config["plugins"]["adaptive_ttl"] = {**policy, "save_interval": 0}
            plugins["adaptive_ttl"] = AdaptiveTtlPlugin
        app = Argo.open(config, clock=clock, plugins=plugins, installed=False)
        async with app as argo:
            return [tally for era in eras for tally in await _run_era(argo, clock, feed, era, seed)]


async def _run_era(argo: Argo, clock: ReplayClock, feed: Feed, era: Era, seed: int) -> list[Tally]:
    tallies = [Tally() for _ in era.segments]
    feed.series = {s.series.symbol: s.series for s in era.segments}
    feed.tallies = {s.series.symbol: t for s, t in zip(era.segments, tallies, strict=True)}
    schedule = sorted(
        (at, index) for index, s in enumerate(era.segments) for at in reads_of(s, seed)
    )
    readers = [
        (s.series, s.series.symbol, t.squares) for s, t in zip(era.segments, tallies, strict=True)
    ]
    served: list[Bars | None] = [None] * len(readers)
    errors = [0.0] * len(readers)
    for at, index in schedule:
        if clock.move_to(at):
            await _settle()
        series, symbol, squares = readers[index]
        answer = await argo.call("closes", symbol=symbol)
        if answer is not served[index]:
            assert isinstance(answer, Bars)
            await _settle()
            served[index] = answer
            errors[index] = series.logs[series.last(answer.starts[-1] + MINUTE)]
        error = series.logs[series.last(at)] - errors[index]
        squares.append(error * error)
    return tallies


async def _settle() -> None:
    """Let what a timer or a fetch has set off come to its end, as time between reads would."""
    for _ in range(TURNS):
        await asyncio.sleep(0)

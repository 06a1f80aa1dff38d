"""The replay: every symbol is read once a minute, through the real chain, on a fake clock."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Mapping, Sequence
from itertools import chain

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


@define
class Reader:
    """Who reads one segment.

    Attributes:
        series: The bars.
        ttl: The fixed time to live in seconds, or ``None`` where the policy decides.
        tally: What came of it.
        served: What was read last.
        known: The logarithm of the last price in it.
    """

    series: Series
    ttl: float | None
    tally: Tally = field(factory=Tally)
    served: Bars | None = None
    known: float = 0.0


class Feed:
    """The plugin that answers from the harness's bars, and counts what it answers.

    Attributes:
        read: Who reads a symbol now: a series with long gaps has several segments in an era.
    """

    def __init__(self, clock: ReplayClock) -> None:
        self._clock = clock
        self.read: dict[str, Reader] = {}

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
        reader = self.read[call.subject]
        reader.tally.fetched_at.append(now)
        bars = reader.series.fetch(now)
        if reader.ttl is None:
            return Outcome(bars)
        return Outcome(bars, expires_at=now + reader.ttl)


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
    ttls: Sequence[float] | None = None,
) -> list[Tally]:
    """One run over *eras* with one application: a tally for each segment, in order.

    *policy* is the table ``[plugins.adaptive_ttl]``, or ``None`` for a fixed time to live, which
    *ttls* gives for each segment, in order.
    """
    readers = [[Reader(segment.series, None) for segment in era.segments] for era in eras]
    if ttls is not None:
        for reader, ttl in zip(chain.from_iterable(readers), ttls, strict=True):
            reader.ttl = ttl
    clock = ReplayClock(eras[0].segments[0].minutes[0] - 1.0)
    feed = Feed(clock)
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
            for era, those in zip(eras, readers, strict=True):
                await _run_era(argo, clock, feed, era, those, seed)
    return [reader.tally for those in readers for reader in those]


async def _run_era(
    argo: Argo, clock: ReplayClock, feed: Feed, era: Era, readers: Sequence[Reader], seed: int
) -> None:
    schedule = sorted(
        (at, index) for index, s in enumerate(era.segments) for at in reads_of(s, seed)
    )
    for at, index in schedule:
        reader = readers[index]
        series = reader.series
        if clock.move_to(at):
            await _settle()
        feed.read[series.symbol] = reader
        answer = await argo.call("closes", symbol=series.symbol)
        if answer is not reader.served:
            assert isinstance(answer, Bars)
            await _settle()
            reader.served = answer
            reader.known = series.logs[series.last(answer.starts[-1] + MINUTE)]
        error = series.logs[series.last(at)] - reader.known
        reader.tally.squares.append(error * error)


async def _settle() -> None:
    """Let what a timer or a fetch has set off come to its end, as time between reads would."""
    for _ in range(TURNS):
        await asyncio.sleep(0)

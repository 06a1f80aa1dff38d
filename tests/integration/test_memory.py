"""What the parts of an application keep in memory: bytes of one item, and their shares of a total.

The table in ``docs/explanation/performance.md`` names the bounds that are tested here.
"""

from __future__ import annotations

import contextlib
import gc
import random
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from argo_mw import Argo, ConfigError, Outcome
from argo_mw.app.opening import TAG_BYTES
from argo_mw.base.memory_shares import MemoryShares
from argo_mw.config import parse
from argo_mw.plugin import Context
from argo_mw.registry import Plugins
from argo_mw.store import TagSnapshot, snapshot
from argo_mw_adaptive_ttl.bars import Bars
from argo_mw_adaptive_ttl.calendars import Calendars
from argo_mw_adaptive_ttl.plugin import SYMBOL_BYTES
from argo_mw_adaptive_ttl.symbol_stats import SymbolStats
from argo_mw_cache.layer import ENTRY_BYTES, Cache
from argo_mw_persist import SqliteSink
from argo_mw_persist.application import NEWEST_BYTES, schema_of
from argo_mw_signals import RecordedSignal, RecordedVote
from argo_mw_signals.recording import DECLARATION
from argo_mw_similarity.answers.known_answer import KnownAnswer
from argo_mw_similarity.layer import PROMPT_BYTES
from argo_mw_similarity.search.scope_index import ScopeIndex

# exchange_calendars still reads frames in a way that pandas 3.1 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:Series.values returning")

NOON = 1_718_726_400.0  # Tuesday 2024-06-18, 12:00 in New York
LAYERS = ("cache", "coalesce", "adaptive_ttl")


@pytest.fixture(autouse=True)
def private_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARGO_MW_STATE_DIR", str(tmp_path / "state"))


async def test_a_cached_answer_takes_no_more_than_its_bound_beside_its_value() -> None:
    answered = await grown_by_questions()
    passed_on = await grown_by_questions(cache="off")
    assert 0 < answered - passed_on <= ENTRY_BYTES


async def test_a_mirrored_tag_takes_no_more_than_its_bound() -> None:
    async with Argo.open(settings()) as argo:
        versions = context_of(argo).tag_versions
        taken = await grown(lambda n: versions.load([f"subject:SYMBOL-{n}"]), 1_000)
    assert 0 < taken <= TAG_BYTES


async def test_a_symbol_takes_no_more_than_its_bound() -> None:
    stats, calendar, chance = SymbolStats(), Calendars().of("AAPL", NOON), random.Random(1)

    async def learn(number: int) -> None:
        day = calendar.day(NOON)
        for _ in range(5):
            starts = [day.when(minute) for minute in range(day.minutes)]
            closes = [100.0 + chance.random() for _ in starts]
            stats.learn(f"S{number}", Bars(starts, closes, 60), calendar, starts[-1] + 65.0)
            day = calendar.day(starts[-1] + 86_400.0)

    assert 0 < await grown(learn, 10) <= SYMBOL_BYTES


async def test_a_similar_prompt_takes_no_more_than_its_bound() -> None:
    index, chance = ScopeIndex(max_entries=100_000, model="model"), np.random.default_rng(1)

    async def add(number: int) -> None:
        vector = chance.normal(size=384)
        index.add(
            KnownAnswer(
                number=number,
                text=f"{number}: ".ljust(2_000, "a"),
                slots=None,
                vector=(vector / np.linalg.norm(vector)).astype(np.float16),
                model="model",
                outcome=Outcome(None),
                value=snapshot(f"{number}: ".ljust(2_000, "b")),
                tag_snapshot=TagSnapshot((), 0, 0),
                expires_at=1e12,
            )
        )

    assert 0 < await grown(add, 400) <= PROMPT_BYTES


async def test_a_newest_signal_takes_no_more_than_its_bound(tmp_path: Path) -> None:
    votes = tuple(RecordedVote(name, "BUY", 0.5, 0.25, "above") for name in "abcd")
    sink = SqliteSink(tmp_path / "signals.db")
    schema = schema_of({"signals": [DECLARATION]})
    await sink.open(schema)
    for number in range(-250, 1_000):
        signal = RecordedSignal(f"S{number}", "BUY", 75.5, number, 101.5, votes, "signals")
        await sink.write([signal.row()])

    async def read(number: int) -> None:
        await sink.newest(schema["signals"], [f"S{number}"], "")

    taken = await grown(read, 1_000)
    await sink.aclose()
    assert 0 < taken <= NEWEST_BYTES


async def test_the_shares_of_all_plugins_are_no_more_than_the_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shares: list[float] = []
    within = MemoryShares.bytes_within, MemoryShares.items_within

    def bytes_within(self: MemoryShares, share: float, at_most: int) -> int:
        shares.append(share)
        return within[0](self, share, at_most)

    def items_within(self: MemoryShares, share: float, item_bytes: int, at_most: int) -> int:
        shares.append(share)
        return within[1](self, share, item_bytes, at_most)

    monkeypatch.setattr(MemoryShares, "bytes_within", bytes_within)
    monkeypatch.setattr(MemoryShares, "items_within", items_within)
    argo = Argo.open({"argo": {"memory": "512MB", "strict": True}})
    async with argo:
        pass
    assert len(shares) >= 7
    assert sum(shares) <= 0.95  # the rest is for what has a small bound of its own


async def test_what_is_kept_stays_within_the_memory_however_much_is_asked() -> None:
    total = 100 * 10**6

    async def fresh(symbol: str) -> str:
        return symbol.ljust(100_000)

    async with Argo.open(settings(memory="100MB")) as argo:
        quote = argo.wrap(name="quote", subject="symbol")(fresh)
        await quote("FIRST")
        with traced() as held:
            for number in range(700):  # twice as many as fit
                await quote(f"SYMBOL-{number}")
            assert held() <= 0.4 * total
        assert 0.3 * total < cache_of(argo).memory.bytes <= 0.35 * total


async def test_without_a_total_and_below_it_each_part_has_its_own_bound() -> None:
    own = {"max_entries": 7, "max_bytes": 1_000}
    for argo_table in ({}, {"memory": "1TB"}):
        table = settings() | {"plugins": {"cache": own}}
        table["argo"] |= argo_table
        async with Argo.open(table) as argo:
            memory = cache_of(argo).memory
            assert (7, 1_000) == (memory.max_entries, memory.max_bytes)


@pytest.mark.parametrize(
    ("written", "expected"),
    [("512MB", 512_000_000), ("1.5 GiB", 1_610_612_736), ("128mb", 128_000_000), (10**8, 10**8)],
)
def test_sizes_are_written_with_units_or_in_bytes(written: object, expected: int) -> None:
    assert expected == parse({"argo": {"memory": written}}).argo.memory


@pytest.mark.parametrize("written", ["much", "512", "-1MB", "1MBs", True, 1.5, "1 MB MB", "99MB"])
def test_what_is_no_size_or_too_little_is_a_mistake_in_the_configuration(written: object) -> None:
    with pytest.raises(ConfigError, match="memory"):
        parse({"argo": {"memory": written}})


async def grown_by_questions(**flags: str) -> float:
    """Return the bytes that one more question with a short answer takes."""
    async with Argo.open(settings() | {"flags": flags}) as argo:
        quote = argo.wrap(name="quote", subject="symbol")(answers(1.5))
        return await grown(lambda n: quote(f"SYMBOL-{n}"), 500)


def answers(value: object) -> Callable[[str], Awaitable[object]]:
    async def quote(symbol: str) -> object:
        return value

    return quote


def settings(**argo: object) -> dict[str, dict[str, object]]:
    """Return the configuration of an application with the layers that keep answers alone."""
    others = [name for name in Plugins.load().names if name not in LAYERS]
    return {"argo": {"shared": "memory://", "block": others, **argo}}


def context_of(argo: Argo) -> Context:
    assert argo._context is not None
    return argo._context


def cache_of(argo: Argo) -> Cache:
    [cache] = [one.middleware for one in context_of(argo).layers if one.name == "cache"]
    assert isinstance(cache, Cache)
    return cache


async def grown(ask: Callable[[int], Awaitable[object]], items: int) -> float:
    """Return the bytes that each of *items* takes that *ask* brings in, after some others."""
    for number in range(-items // 4, 0):
        await ask(number)
    with traced() as held:
        for number in range(items):
            await ask(number)
        return held() / items


@contextlib.contextmanager
def traced() -> Iterator[Callable[[], int]]:
    """Yield what returns the bytes that were taken since, and are in use."""

    def held() -> int:
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        yield held
    finally:
        tracemalloc.stop()

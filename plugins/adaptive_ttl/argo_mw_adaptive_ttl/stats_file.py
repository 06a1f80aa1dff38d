"""The file in which the statistics of symbols survive a restart."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import cattrs
from attrs import field, frozen

from argo_mw.plugin import ConfigError, Log
from argo_mw_adaptive_ttl.activity import Activity
from argo_mw_adaptive_ttl.calendars import Calendars
from argo_mw_adaptive_ttl.daytime import BUCKETS
from argo_mw_adaptive_ttl.fetch_rate import FetchRate
from argo_mw_adaptive_ttl.night import Night
from argo_mw_adaptive_ttl.regime import Detector, PersistentDetector
from argo_mw_adaptive_ttl.spacing import FixedSpacing
from argo_mw_adaptive_ttl.symbol import Symbol
from argo_mw_adaptive_ttl.symbol_stats import SymbolStats
from argo_mw_adaptive_ttl.volatility import Volatility

VERSION: Final = 3
_MOST: Final = 1e18
"""A number larger than any time, variance or sum that is learned."""

log = Log("argo_mw")
_converter: Final = cattrs.Converter(forbid_extra_keys=True)


def _number(value: object, _: object) -> float:
    # Python's JSON allows NaN and infinities; one of them would spoil all that is learned later.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < _MOST:
        msg = f"a {type(value).__name__} where a number is learned, or one that cannot be"
        raise ValueError(msg)
    return float(value)


def _scalar(value: object, kind: object) -> float | str:
    return value if isinstance(value, str) else _number(value, kind)


_converter.register_structure_hook(float, _number)
_converter.register_structure_hook(float | str, _scalar)


@frozen
class SavedSymbol:
    """One symbol on disk; times in epoch seconds."""

    name: str
    seen_at: float
    known_until: float
    price: float
    traded: float
    gapped: bool
    peer_coverage: float
    forecast_product: float
    forecast_square: float
    volatility: Volatility
    activity: Activity
    night: Night
    spacing: FixedSpacing
    fetch_rate: FetchRate
    silent_minutes: int = 0
    detector: Mapping[str, float | str] = field(factory=dict)


@frozen
class SavedStats:
    """The content of the file."""

    version: int
    pools: Mapping[str, FetchRate] = field(factory=dict)
    symbols: Sequence[SavedSymbol] = field(factory=list)


class StatsFile:
    """Saves and restores the statistics of symbols.

    Args:
        path: The file.

    Attributes:
        writing: Held while the file is written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.writing = asyncio.Lock()

    async def save(self, stats: SymbolStats) -> None:
        """Write *stats*; a failure is logged, since its only cost is learning again."""
        symbols = list(stats.symbols.values())
        async with self.writing:
            try:
                await asyncio.to_thread(self._write, symbols, stats.pools)
            except OSError as error:
                log.warning("adaptive_ttl: symbol statistics are not saved", error=str(error))

    async def restore(self, stats: SymbolStats, calendars: Calendars, now: float) -> None:
        """Fill *stats* with what was saved and is not too old; a damaged file is ignored."""
        try:
            saved = await asyncio.to_thread(self._read)
        except FileNotFoundError:
            return
        except (
            OSError,
            ValueError,
            TypeError,
            RecursionError,
            cattrs.BaseValidationError,
        ) as error:
            log.warning(
                "adaptive_ttl: symbol statistics cannot be read and are learned anew",
                file=str(self._path),
                error=str(error),
            )
            return
        for one in saved.symbols:
            if now - one.seen_at <= stats.forget_after and len(stats) < stats.max_symbols:
                try:
                    await asyncio.to_thread(calendars.of, one.name, now)
                except ConfigError:
                    continue
                stats.add(_revive(one, stats, calendars, now))
        stats.pools = {n: pool for n, pool in saved.pools.items() if stats.members[n] > 0}

    def _write(self, symbols: Sequence[Symbol], pools: Mapping[str, FetchRate]) -> None:
        saved = SavedStats(VERSION, pools, [_saved(symbol) for symbol in symbols])
        text = json.dumps(_converter.unstructure(saved), separators=(",", ":"))
        draft = self._path.with_suffix(".new")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        draft.replace(self._path)

    def _read(self) -> SavedStats:
        content = json.loads(self._path.read_text())
        if not isinstance(content, dict):
            msg = "the file holds no table"
            raise TypeError(msg)
        saved = _converter.structure(content, SavedStats)
        if saved.version != VERSION:
            msg = f"the file is of version {saved.version}, not {VERSION}"
            raise ValueError(msg)
        for one in saved.symbols:
            if not (one.volatility.fits(BUCKETS) and one.activity.fits(BUCKETS)):
                msg = f"what was learned of {one.name!r} has the wrong size"
                raise ValueError(msg)
        return saved


def _saved(symbol: Symbol) -> SavedSymbol:
    return SavedSymbol(
        name=symbol.name,
        seen_at=symbol.seen_at,
        known_until=float(symbol.day.when(symbol.over)),
        price=symbol.price,
        traded=symbol.traded,
        gapped=symbol.gapped,
        peer_coverage=symbol.peer_coverage,
        forecast_product=symbol.forecast_product,
        forecast_square=symbol.forecast_square,
        volatility=symbol.volatility,
        activity=symbol.activity,
        night=symbol.night,
        spacing=symbol.spacing,
        silent_minutes=symbol.silent_minutes,
        fetch_rate=symbol.fetch_rate,
        detector=symbol.detector.dump() if isinstance(symbol.detector, PersistentDetector) else {},
    )


def _revive(one: SavedSymbol, stats: SymbolStats, calendars: Calendars, now: float) -> Symbol:
    calendar = calendars.of(one.name, now)
    day = calendar.day(one.known_until - 1.0)
    symbol = Symbol(
        one.name,
        calendar,
        day,
        _detector(one, stats),
        volatility=one.volatility,
        activity=one.activity,
        night=one.night,
        spacing=one.spacing,
        silent_minutes=one.silent_minutes,
        fetch_rate=one.fetch_rate,
        over=day.over(one.known_until),
        price=one.price,
        traded=one.traded,
        gapped=one.gapped,
        seen_at=one.seen_at,
        peer_coverage=one.peer_coverage,
        forecast_product=one.forecast_product,
        forecast_square=one.forecast_square,
    )
    symbol.shared_variance = symbol.loading(stats.prior_loading) ** 2
    return symbol


def _detector(one: SavedSymbol, stats: SymbolStats) -> Detector:
    """Return a detector with its saved state, unless that is of another kind of detector."""
    detector = stats.detector()
    if one.detector and isinstance(detector, PersistentDetector):
        try:
            detector.restore(one.detector)
        except (KeyError, TypeError, ValueError):
            return stats.detector()
    return detector

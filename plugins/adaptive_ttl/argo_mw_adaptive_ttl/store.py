"""Store: what was learned survives a restart, in one private file."""

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
from argo_mw_adaptive_ttl.calendars import Calendars
from argo_mw_adaptive_ttl.daytime import BUCKETS
from argo_mw_adaptive_ttl.memory import Memory
from argo_mw_adaptive_ttl.pace import Pace
from argo_mw_adaptive_ttl.regime import Detector, Lasting
from argo_mw_adaptive_ttl.symbol import Symbol
from argo_mw_adaptive_ttl.volatility import Volatility

VERSION: Final = 1

log = Log("argo_mw")
_converter: Final = cattrs.Converter(forbid_extra_keys=True)


def _scalar(value: object, _: object) -> float | str:
    if not isinstance(value, (int, float, str)):
        msg = f"what a detector has learned is numbers and text, not {value!r}"
        raise TypeError(msg)
    return value


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
    company: float
    pull: float
    evidence: float
    volatility: Volatility
    pace: Pace
    detector: Mapping[str, float | str] = field(factory=dict)


@frozen
class Saved:
    """The file."""

    version: int
    pot: Pace
    symbols: Sequence[SavedSymbol] = field(factory=list)


class Store:
    """Writes and reads what was learned.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.writing = asyncio.Lock()

    async def save(self, memory: Memory) -> None:
        """Write *memory*; a failure is logged, since it only costs learning again."""
        symbols = list(memory.symbols.values())
        async with self.writing:
            try:
                await asyncio.to_thread(self._write, symbols, memory.pot)
            except OSError as error:
                log.warning("adaptive_ttl: what was learned is not saved", error=str(error))

    async def restore(self, memory: Memory, calendars: Calendars, now: float) -> None:
        """Fill *memory* with what was saved, less what is too old; a bad file counts as none."""
        try:
            saved = await asyncio.to_thread(self._read)
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError, cattrs.BaseValidationError) as error:
            log.warning(
                "adaptive_ttl: begins to learn anew", file=str(self._path), error=str(error)
            )
            return
        memory.pot = saved.pot
        for one in saved.symbols:
            if now - one.seen_at <= memory.forget_after and len(memory) < memory.capacity:
                try:
                    await asyncio.to_thread(calendars.of, one.name, now)
                except ConfigError:
                    continue
                memory.symbols[one.name] = _revive(one, memory, calendars, now)

    def _write(self, symbols: Sequence[Symbol], pot: Pace) -> None:
        saved = Saved(VERSION, pot, [_saved(symbol) for symbol in symbols])
        text = json.dumps(_converter.unstructure(saved), separators=(",", ":"))
        draft = self._path.with_suffix(".new")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        draft.replace(self._path)

    def _read(self) -> Saved:
        content = json.loads(self._path.read_text())
        if not isinstance(content, dict):
            msg = "the file holds no table"
            raise TypeError(msg)
        saved = _converter.structure(content, Saved)
        if saved.version != VERSION:
            msg = f"the file is of version {saved.version}, not {VERSION}"
            raise ValueError(msg)
        for one in saved.symbols:
            if not one.volatility.fits(BUCKETS):
                msg = f"what it says about {one.name!r} has the wrong size"
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
        company=symbol.company,
        pull=symbol.pull,
        evidence=symbol.evidence,
        volatility=symbol.volatility,
        pace=symbol.pace,
        detector=symbol.detector.dump() if isinstance(symbol.detector, Lasting) else {},
    )


def _revive(one: SavedSymbol, memory: Memory, calendars: Calendars, now: float) -> Symbol:
    calendar = calendars.of(one.name, now)
    day = calendar.day(one.known_until - 1.0)
    symbol = Symbol(
        one.name,
        calendar,
        day,
        _detector(one, memory),
        volatility=one.volatility,
        pace=one.pace,
        over=day.over(one.known_until),
        price=one.price,
        traded=one.traded,
        gapped=one.gapped,
        seen_at=one.seen_at,
        company=one.company,
        pull=one.pull,
        evidence=one.evidence,
    )
    symbol.shared = symbol.loading(memory.prior_loading) ** 2
    return symbol


def _detector(one: SavedSymbol, memory: Memory) -> Detector:
    """A detector that goes on where it was, unless it was another one's."""
    detector = memory.detector()
    if one.detector and isinstance(detector, Lasting):
        try:
            detector.restore(one.detector)
        except (KeyError, TypeError, ValueError):
            return memory.detector()
    return detector

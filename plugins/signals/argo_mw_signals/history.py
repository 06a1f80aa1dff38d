"""The recorded signals of an application, in the database of the plugin persist."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol, cast

from attrs import evolve

from argo_mw.plugin import (
    Action,
    Argo,
    BadParameter,
    Cell,
    Clock,
    Row,
    TimeOrderedIds,
    UpstreamError,
    context_of,
    micros,
    plugin_of,
)
from argo_mw_signals import queries, results
from argo_mw_signals.errors import UnknownSignal
from argo_mw_signals.queries import PageKey, SignalFilter, SignalQuery
from argo_mw_signals.recorded import (
    TABLE,
    RecordedSignal,
    earned,
    judged,
    signal_tags,
)
from argo_mw_signals.results import Performance, SignalPage

UPSTREAM = "recorded_signals"

MAX_ROWS = 10_000
"""Signals in a page at most."""

_AT_ONCE = 1_000
"""Signals that are made without a pause, in a millisecond or two."""


class Database(Protocol):
    """What is used of the database that the hook ``database_opened`` brings."""

    @property
    def dialect(self) -> str: ...

    async def read(
        self, sql: str, parameters: Sequence[Cell] = ()
    ) -> Sequence[tuple[Cell, ...]]: ...

    async def newest(
        self, table: str, subjects: Iterable[str], tenant: str = ""
    ) -> Mapping[str, object]: ...

    async def change(
        self, sql: str, parameters: Sequence[Cell] = (), *, tags: Collection[str] = ()
    ) -> int: ...

    async def record(self, row: Row) -> asyncio.Future[str]: ...

    async def write(self, rows: Sequence[Row]) -> Mapping[Row, str]: ...

    async def flush(self) -> None: ...


class RecordedSignals:
    """The recorded signals of one application.

    Every method raises :class:`~argo_mw.UpstreamError` where nothing records signals, and while
    the database cannot answer.
    """

    def __init__(self) -> None:
        self._database: Database | None = None

    def use(self, database: Database) -> None:
        """Read from *database* from now on."""
        self._database = database

    @property
    def database(self) -> Database:
        """The database in use."""
        if self._database is None:
            msg = (
                "no signals are recorded here: the plugin persist is not in use; install "
                "argo-mw-persist, and see `argo-mw plugins`"
            )
            raise UpstreamError(msg, upstream=UPSTREAM, action=Action.STOP)
        return self._database

    async def record(self, signal: RecordedSignal) -> asyncio.Future[str]:
        """Queue *signal*, and return its receipt.

        For programs that make signals themselves: answers of the operation ``signal`` are
        recorded by their layer. Await the receipt to know that the signal is safe.

        Raises:
            BadParameter: It cannot be kept as it is.
        """
        return await self.database.record(signal.row())

    async def latest(
        self, symbol: str, limit: int = 10, *, tenant: str = ""
    ) -> tuple[RecordedSignal, ...]:
        """Return the newest signals of *symbol*, *limit* at most, as *tenant* may see them."""
        return await self._signals(queries.latest(symbol, _checked(limit), tenant))

    async def latest_of_many(
        self, symbols: Sequence[str], limit: int = 10, *, tenant: str = ""
    ) -> dict[str, tuple[RecordedSignal, ...]]:
        """Return the newest signals of each of *symbols*, by one query.

        Args:
            symbols: Which.
            limit: Signals of each at most.
            tenant: The tenant that asks.
        """
        found: dict[str, tuple[RecordedSignal, ...]] = dict.fromkeys(symbols, ())
        if _checked(limit) == 1:
            newest = await self.database.newest(TABLE, found, tenant)
            signals = cast("Mapping[str, RecordedSignal]", newest)
            return found | {symbol: (signal,) for symbol, signal in signals.items()}
        query = queries.latest_of_many(self.database.dialect, list(found), limit, tenant)
        for signal in await self._signals(query):
            found[signal.symbol] += (signal,)
        return found

    async def strongest(
        self, symbol: str, limit: int = 10, *, tenant: str = ""
    ) -> tuple[RecordedSignal, ...]:
        """Return the open signals of *symbol*, the most confident first.

        Args:
            symbol: Which.
            limit: How many at most.
            tenant: The tenant that asks.
        """
        return await self._signals(queries.strongest(symbol, _checked(limit), tenant))

    async def history(
        self, wanted: SignalFilter, *, limit: int = 1000, after: str | None = None
    ) -> SignalPage:
        """Return the signals that *wanted* describes, newest first, a page at a time.

        Args:
            wanted: Which.
            limit: Signals in a page at most.
            after: The ``next`` of an earlier page.

        Raises:
            BadParameter: *after* is not from an earlier page.
        """
        key = None if after is None else _page_key(after)
        signals = await self._signals(queries.history(wanted, _checked(limit), key))
        return SignalPage(signals, _next(signals, limit))

    async def performance(self, wanted: SignalFilter) -> tuple[Performance, ...]:
        """Return how the closed ones of *wanted* went: the consensus first, then by voice."""
        rows = await self.database.read(*queries.performance(self.database.dialect, wanted))
        return tuple(results.performance(row) for row in rows)

    async def close(
        self,
        identifier: bytes,
        *,
        clock: Clock,
        exit_price: float | None = None,
        profit: float | None = None,
        tenant: str = "",
    ) -> RecordedSignal:
        """Record how a signal ended; closing it again replaces that.

        Args:
            identifier: Which signal.
            clock: What time it is.
            exit_price: The price at which it was left.
            profit: What acting on it earned, as a fraction of its price; by default computed
                from *exit_price*.
            tenant: The tenant that closes it.

        Raises:
            BadParameter: Neither is given, one is not a finite number, or the signal has no price
                to compare with.
            UnknownSignal: There is no such signal, or it is another tenant's.
        """
        await self.database.flush()
        found = await self._signals(queries.by_id(identifier, tenant))
        if not found:
            msg = (
                f"there is no signal {TimeOrderedIds.text(identifier)}; "
                "`argo-mw signals history` lists them"
            )
            raise UnknownSignal(msg)
        [signal] = found
        profit = _profit(signal, exit_price, profit)
        outcome = judged(profit)
        timestamp = micros(clock.time())
        query = queries.close(identifier, outcome, exit_price, profit, timestamp)
        await self.database.change(*query, tags=signal_tags(signal.symbol, outcome))
        return evolve(
            signal,
            outcome=outcome,
            is_active=False,
            exit_price=exit_price,
            profit=profit,
            exit_timestamp=timestamp,
        )

    async def _signals(self, query: SignalQuery) -> tuple[RecordedSignal, ...]:
        rows = await self.database.read(query.sql, query.parameters)
        return tuple(await _read_back(rows))


class WithRecordedSignals:
    """The base of the plugin's class, by which commands and programs find recorded signals."""

    def __init__(self) -> None:
        self.recorded = RecordedSignals()


def recorded_signals(argo: Argo) -> RecordedSignals:
    """Return the recorded signals of *argo*.

    Raises:
        PluginError: The plugin is not in use there.
    """
    return plugin_of(argo, WithRecordedSignals).recorded


async def close_signal(
    argo: Argo,
    identifier: bytes,
    *,
    exit_price: float | None = None,
    profit: float | None = None,
    tenant: str = "",
) -> RecordedSignal:
    """Record in *argo* how a signal ended; see :meth:`RecordedSignals.close`."""
    return await recorded_signals(argo).close(
        identifier,
        clock=context_of(argo).clock,
        exit_price=exit_price,
        profit=profit,
        tenant=tenant,
    )


def _profit(signal: RecordedSignal, exit_price: float | None, profit: float | None) -> float:
    if profit is None:
        if exit_price is None:
            msg = "to close a signal give its exit_price or its profit"
            raise BadParameter(msg)
        profit = earned(signal.action, signal.price, exit_price)
    if not all(math.isfinite(number) for number in (profit, exit_price or 0.0)):
        msg = f"exit_price {exit_price!r} and profit {profit!r} must be finite numbers"
        raise BadParameter(msg)
    return profit


async def _read_back(rows: Sequence[tuple[Cell, ...]]) -> list[RecordedSignal]:
    """Return the signals in *rows*; others have their turn between many of them."""
    signals = RecordedSignal.from_rows(rows[:_AT_ONCE])
    for start in range(_AT_ONCE, len(rows), _AT_ONCE):
        await asyncio.sleep(0)
        signals += RecordedSignal.from_rows(rows[start : start + _AT_ONCE])
    return signals


def _checked(limit: int) -> int:
    if not 1 <= limit <= MAX_ROWS:
        msg = f"limit is {limit}; give a number of signals from 1 to {MAX_ROWS}"
        raise BadParameter(msg)
    return limit


def _next(found: Sequence[RecordedSignal], limit: int) -> str | None:
    if len(found) < limit:
        return None
    return f"{found[-1].timestamp}:{TimeOrderedIds.text(found[-1].id)}"


def _page_key(after: str) -> PageKey:
    timestamp, _, identifier = after.partition(":")
    try:
        return int(timestamp), TimeOrderedIds.parse(identifier)
    except ValueError:
        msg = f"{after!r} is not a place in the history; give the `next` of an earlier page"
        raise BadParameter(msg) from None

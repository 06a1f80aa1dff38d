"""The store: what is recorded, closed and read, with or without a chain around it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from attrs import evolve

from argo_mw.plugin import BadParameter, Clock, Log
from argo_mw_persist import ids, queries, results
from argo_mw_persist.errors import UnknownSignal
from argo_mw_persist.queries import AnswerFilter, ChargeFilter, Filter
from argo_mw_persist.records import (
    Answer,
    Charge,
    Result,
    Signal,
    earned,
    judged,
    micros,
    signal_tags,
)
from argo_mw_persist.results import AnswerPage, Page, Performance, Spending
from argo_mw_persist.retention import Retention, RetentionOptions
from argo_mw_persist.sink import Query, Sink
from argo_mw_persist.tables import Entry
from argo_mw_persist.writer import Receipt, Writer, WriterOptions

log = Log("argo_mw_persist")

Record = Signal | Answer | Charge
Changed = Callable[[Iterable[str]], Awaitable[object]]

StoreInUse = Callable[[], "Store"]
"""Gives the store in use: after a change of the configuration, another one. Calls that began
before it record there too, for theirs is closed."""

MOST_ROWS = 10_000
"""Rows in a page at most."""

FOR_EVER = RetentionOptions()
"""Nothing is deleted."""


async def _nobody_depends(tags: Iterable[str]) -> None:
    return None


class Store:
    """Keeps records in a sink.

    Use it inside ``async with``, or call :meth:`open` and :meth:`aclose`.

    Args:
        sink: Where they are kept; opened and closed by the store.
        options: How records are queued and put together.
        clock: Where time comes from.
        changed: Awaited with tags after each commit and before its records are acknowledged.
        said: Told in one line what went wrong, and when it goes well again.
        retention: For how long records are kept.
    """

    def __init__(
        self,
        sink: Sink,
        options: WriterOptions,
        *,
        clock: Clock,
        changed: Changed = _nobody_depends,
        said: Callable[[str], None] = log.warning,
        retention: RetentionOptions = FOR_EVER,
    ) -> None:
        self.sink = sink
        self._clock = clock
        self._changed = changed
        self.writer = Writer(sink, options, clock=clock, committed=self._committed, said=said)
        self._retention = Retention(sink, retention, clock=clock, changed=changed, said=said)
        self._prunes = bool(retention.days)
        self._run: asyncio.Task[None] | None = None
        self._pruning: asyncio.Task[None] | None = None

    async def open(self, *, migrate: bool = True) -> None:
        """Open the sink and begin to write.

        Args:
            migrate: Whether tables of an older version may be changed.

        Raises:
            SinkUnavailable: It cannot be reached, and no spool bridges that.
            SchemaError: Its tables are newer than the code, or not ours.
        """
        await self.sink.open(migrate=migrate)
        self._run = asyncio.create_task(self.writer.run(), name="argo-mw:persist:writer")
        if self._prunes:
            self._pruning = asyncio.create_task(
                self._retention.run(), name="argo-mw:persist:retention"
            )

    async def aclose(self, *, timeout: float = 10.0) -> None:
        """Write what is queued, for *timeout* seconds at most, and close the sink. Idempotent."""
        run, self._run = self._run, None
        if run is None:
            return
        await self._stop_pruning()
        self.writer.close(timeout=timeout)
        try:
            await asyncio.shield(run)
        finally:
            if not run.done():
                run.cancel()
                await asyncio.gather(run, return_exceptions=True)
            await self.sink.aclose()

    async def __aenter__(self) -> Store:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def record(self, record: Record) -> Awaitable[Receipt]:
        """Queue *record*, waiting for room if it must.

        Await what this returns to know that the record is safe; it says where.

        Raises:
            BadParameter: The record cannot be kept as it is.
            QueueFull: There is no room, and ``overflow`` says to refuse.
        """
        return self.writer.put(record.entry())

    async def flush(self) -> None:
        """Return once everything recorded before is written or refused."""
        await self.writer.flush()

    async def latest(self, symbol: str, limit: int = 10, *, tenant: str = "") -> tuple[Signal, ...]:
        """The newest signals of *symbol*, *limit* at most, as *tenant* may see them."""
        return await self._signals(queries.latest(symbol, _page(limit), tenant))

    async def latest_of_many(
        self, symbols: Sequence[str], limit: int = 10, *, tenant: str = ""
    ) -> dict[str, tuple[Signal, ...]]:
        """The newest signals of each of *symbols*, by one query.

        Args:
            symbols: Which.
            limit: Signals of each at most.
            tenant: Who asks.
        """
        query = queries.latest_of_many(self.sink.dialect, symbols, _page(limit), tenant)
        found: dict[str, list[Signal]] = {symbol: [] for symbol in symbols}
        for signal in await self._signals(query):
            found[signal.symbol].append(signal)
        return {symbol: tuple(signals) for symbol, signals in found.items()}

    async def strongest(
        self, symbol: str, limit: int = 10, *, tenant: str = ""
    ) -> tuple[Signal, ...]:
        """The open signals of *symbol*, the surest first.

        Args:
            symbol: Which.
            limit: How many at most.
            tenant: Who asks.
        """
        return await self._signals(queries.strongest(symbol, _page(limit), tenant))

    async def history(self, wanted: Filter, *, limit: int = 1000, after: str | None = None) -> Page:
        """The signals that *wanted* describes, newest first, a page at a time.

        Args:
            wanted: Which.
            limit: Signals in a page at most.
            after: The ``next`` of an earlier page.

        Raises:
            BadParameter: *after* is not from an earlier page.
        """
        place = None if after is None else _place(after)
        signals = await self._signals(queries.history(wanted, _page(limit), place))
        return Page(signals, _next(signals, limit))

    async def performance(self, wanted: Filter) -> tuple[Performance, ...]:
        """How the closed ones of *wanted* went: the consensus first, then by voice."""
        rows = await self.sink.read(queries.performance(self.sink.dialect, wanted))
        return tuple(results.performance(row) for row in rows)

    async def answers(
        self, wanted: AnswerFilter, *, limit: int = 100, after: str | None = None
    ) -> AnswerPage:
        """The recorded answers that *wanted* describes, newest first, a page at a time.

        Args:
            wanted: Which.
            limit: Answers in a page at most.
            after: The ``next`` of an earlier page.

        Raises:
            BadParameter: *after* is not from an earlier page.
        """
        place = None if after is None else _place(after)
        rows = await self.sink.read(queries.answers(wanted, _page(limit), place))
        answers = tuple([Answer.from_row(row) for row in rows])
        return AnswerPage(answers, _next(answers, limit))

    async def ledger(self, wanted: ChargeFilter) -> tuple[Spending, ...]:
        """What *wanted* adds up to, by upstream and operation, the dearest first."""
        rows = await self.sink.read(queries.ledger(wanted))
        return tuple(results.spending(row) for row in rows)

    async def prune(self) -> Mapping[str, int]:
        """Delete what has been kept long enough; how many rows of each table that were.

        Raises:
            SinkUnavailable: It cannot be changed now; part of the work may be done.
        """
        return await self._retention.prune()

    async def close_signal(
        self,
        identifier: bytes,
        *,
        exit_price: float | None = None,
        profit: float | None = None,
        tenant: str = "",
    ) -> Signal:
        """Record how a signal ended; closing it again replaces that.

        Args:
            identifier: Which signal.
            exit_price: The price at which it was left.
            profit: What acting on it earned, as a fraction of its price; computed from
                *exit_price* unless told.
            tenant: Who closes it.

        Raises:
            BadParameter: Neither is given, one is no finite number, or the signal has no price to
                compare with.
            UnknownSignal: There is no such signal, or it is another tenant's.
        """
        await self.writer.flush()
        rows = await self.sink.read(queries.by_id(identifier, tenant))
        if not rows:
            msg = f"there is no signal {ids.text(identifier)}; `argo-mw signals history` lists them"
            raise UnknownSignal(msg)
        signal = Signal.from_row(rows[0])
        if profit is None:
            if exit_price is None:
                msg = "to close a signal give its exit_price or its profit"
                raise BadParameter(msg)
            profit = earned(signal.action, signal.price, exit_price)
        if not all(math.isfinite(number) for number in (profit, exit_price or 0.0)):
            msg = f"exit_price {exit_price!r} and profit {profit!r} must be finite numbers"
            raise BadParameter(msg)
        outcome: Result = judged(profit)
        timestamp = micros(self._clock.time())
        await self.sink.change(queries.close(identifier, outcome, exit_price, profit, timestamp))
        await self._changed(signal_tags(signal.symbol, closed=True))
        return evolve(
            signal,
            outcome=outcome,
            is_active=False,
            exit_price=exit_price,
            profit=profit,
            exit_timestamp=timestamp,
        )

    async def _stop_pruning(self) -> None:
        pruning, self._pruning = self._pruning, None
        if pruning is not None:
            pruning.cancel()
            await asyncio.gather(pruning, return_exceptions=True)

    async def _signals(self, query: Query) -> tuple[Signal, ...]:
        return tuple([Signal.from_row(row) for row in await self.sink.read(query)])

    async def _committed(self, entries: Sequence[Entry]) -> None:
        # Records of one symbol share one tuple of tags, so most of this is done by the outer set.
        tags = {tag for some in {entry.tags for entry in entries} for tag in some}
        if tags:
            await self._changed(tags)


def _page(limit: int) -> int:
    if not 1 <= limit <= MOST_ROWS:
        msg = f"limit is {limit}; give a number of rows from 1 to {MOST_ROWS}"
        raise BadParameter(msg)
    return limit


def _next(found: Sequence[Signal] | Sequence[Answer], limit: int) -> str | None:
    if len(found) < limit:
        return None
    return f"{found[-1].timestamp}:{ids.text(found[-1].id)}"


def _place(after: str) -> tuple[int, bytes]:
    timestamp, _, identifier = after.partition(":")
    try:
        return int(timestamp), ids.parse(identifier)
    except ValueError:
        msg = f"{after!r} is no place in the history; give the `next` of an earlier page"
        raise BadParameter(msg) from None

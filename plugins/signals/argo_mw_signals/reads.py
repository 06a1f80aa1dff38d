"""Reads of recorded signals as operations, so that they coalesce and cache like everything else.

A read names the tags of the rows it asks for. A commit replaces the versions of exactly the tags
that it touched, before anything is acknowledged: in this process no read that begins after an
acknowledgement is stale, nor joins one that began before it; in others it may be by the delay of
the Shared store's channel.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Literal, cast

from argo_mw.plugin import BadParameter, Batching, Call, Outcome, Upstream, operation, timestamp_of
from argo_mw_signals.frames import to_frame
from argo_mw_signals.history import MAX_ROWS, UPSTREAM, RecordedSignals
from argo_mw_signals.queries import SignalFilter
from argo_mw_signals.recorded import RecordedSignal
from argo_mw_signals.results import Performance, SignalPage

_MAX_SYMBOLS = 500

Form = Literal["rows", "frame"]


def _normalize(bound: dict[str, object]) -> dict[str, object]:
    limit = bound.get("limit", 1)
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MAX_ROWS:
        msg = f"limit is {limit!r}; give a number of rows from 1 to {MAX_ROWS}"
        raise BadParameter(msg)
    if bound.get("form", "rows") not in ("rows", "frame"):
        msg = f"form is {bound['form']!r}; give 'rows' or 'frame'"
        raise BadParameter(msg)
    if "symbols" in bound:
        if isinstance(bound["symbols"], str):
            msg = f"symbols is the text {bound['symbols']!r}; give a list of symbols"
            raise BadParameter(msg)
        bound["symbols"] = tuple(dict.fromkeys(cast("Sequence[str]", bound["symbols"])))
    return bound


def _signals(asked: Mapping[str, object]) -> Iterable[str]:
    return [f"signals:{asked['symbol']}" if asked["symbol"] else "signals"]


def _signals_of_many(asked: Mapping[str, object]) -> Iterable[str]:
    return [f"signals:{symbol}" for symbol in cast("tuple[str, ...]", asked["symbols"])]


def _outcomes(asked: Mapping[str, object]) -> Iterable[str]:
    return [f"outcomes:{asked['symbol']}" if asked["symbol"] else "outcomes"]


@operation(
    data_type="consensus", scope="tenant", normalize=_normalize, tags=_signals, subject="symbol"
)
def latest(symbol: str, *, limit: int = 10) -> tuple[RecordedSignal, ...]:
    """The newest recorded signals of a symbol."""
    raise AssertionError


@operation(data_type="consensus", scope="tenant", normalize=_normalize, tags=_signals_of_many)
def latest_of_many(
    symbols: Sequence[str], *, limit: int = 10
) -> dict[str, tuple[RecordedSignal, ...]]:
    """The newest recorded signals of each of many symbols, by one query."""
    raise AssertionError


@operation(
    data_type="consensus", scope="tenant", normalize=_normalize, tags=_signals, subject="symbol"
)
def strongest(symbol: str, *, limit: int = 10) -> tuple[RecordedSignal, ...]:
    """The open signals of a symbol, the most confident first."""
    raise AssertionError


@operation(
    data_type="consensus", scope="tenant", normalize=_normalize, tags=_signals, subject="symbol"
)
def history(
    symbol: str = "",
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    outcome: str | None = None,
    active: bool | None = None,
    min_confidence: float | None = None,
    limit: int = 1000,
    after: str | None = None,
    form: Form = "rows",
) -> SignalPage:
    """Recorded signals, newest first, a page at a time; as a frame with form="frame"."""
    raise AssertionError


@operation(data_type="consensus", scope="tenant", tags=_outcomes, subject="symbol")
def performance(
    symbol: str = "", *, since: datetime | None = None, until: datetime | None = None
) -> tuple[Performance, ...]:
    """How closed signals went: the consensus first, then voice by voice."""
    raise AssertionError


OPERATIONS = (latest, latest_of_many, strongest, history, performance)


class SignalReads:
    """The answers to the reading operations, from the recorded signals."""

    def __init__(self, recorded: RecordedSignals) -> None:
        self._recorded = recorded
        self._by_name: dict[str, Callable[[Call], Awaitable[object]]] = {
            latest.name: self._latest,
            latest_of_many.name: self._latest_of_many,
            strongest.name: self._strongest,
            history.name: self._history,
            performance.name: self._performance,
        }

    def upstream(self) -> Upstream:
        """Return the upstream. ``latest`` of many symbols, asked at once, is one query."""
        return Upstream(
            UPSTREAM,
            frozenset(self._by_name),
            self.fetch,
            Batching(self.fetch_many, max_size=_MAX_SYMBOLS, window=0.0),
        )

    async def fetch(self, call: Call) -> Outcome:
        """Return the answer to one reading call."""
        return Outcome(await self._by_name[call.operation.name](call))

    async def fetch_many(self, calls: Sequence[Call]) -> Sequence[Outcome | Exception]:
        """Return the answers to calls that differ in their symbol only."""
        if len(calls) == 1 or calls[0].operation.name != latest.name:
            return [await self._answer(call) for call in calls]
        limit = cast(int, calls[0].parameters["limit"])
        symbols = [call.subject for call in calls]
        found = await self._recorded.latest_of_many(symbols, limit, tenant=calls[0].tenant)
        return [Outcome(found[symbol]) for symbol in symbols]

    async def _answer(self, call: Call) -> Outcome | Exception:
        try:
            return await self.fetch(call)
        except Exception as error:
            return error

    async def _latest(self, call: Call) -> tuple[RecordedSignal, ...]:
        limit = cast(int, call.parameters["limit"])
        return await self._recorded.latest(call.subject, limit, tenant=call.tenant)

    async def _latest_of_many(self, call: Call) -> dict[str, tuple[RecordedSignal, ...]]:
        symbols = cast("tuple[str, ...]", call.parameters["symbols"])
        limit = cast(int, call.parameters["limit"])
        return await self._recorded.latest_of_many(symbols, limit, tenant=call.tenant)

    async def _strongest(self, call: Call) -> tuple[RecordedSignal, ...]:
        limit = cast(int, call.parameters["limit"])
        return await self._recorded.strongest(call.subject, limit, tenant=call.tenant)

    async def _history(self, call: Call) -> object:
        asked = call.parameters
        page = await self._recorded.history(
            _filter(call),
            limit=cast(int, asked["limit"]),
            after=cast("str | None", asked["after"]),
        )
        return to_frame(page.signals) if asked["form"] == "frame" else page

    async def _performance(self, call: Call) -> tuple[Performance, ...]:
        return await self._recorded.performance(_filter(call))


def _filter(call: Call) -> SignalFilter:
    asked = call.parameters
    return SignalFilter(
        tenant=call.tenant,
        symbol=call.subject or None,
        since=timestamp_of(asked.get("since")),
        until=timestamp_of(asked.get("until")),
        outcome=cast("str | None", asked.get("outcome")),
        active=cast("bool | None", asked.get("active")),
        min_confidence=cast("float | None", asked.get("min_confidence")),
    )

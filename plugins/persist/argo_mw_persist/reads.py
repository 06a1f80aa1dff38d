"""Reads as operations of the chain, so that they coalesce and cache like everything else.

A read names the tags of the rows it asks for. A commit replaces the stamps of exactly the tags
that it touched, before anything is acknowledged: in this process no read that begins after an
acknowledgement is stale, nor joins one that began before it; in others it may be by the delay of
the Shared store's channel.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Literal, cast

from argo_mw.plugin import (
    Action,
    BadParameter,
    Batching,
    Call,
    Outcome,
    Upstream,
    UpstreamError,
    operation,
)
from argo_mw_persist.errors import PersistError
from argo_mw_persist.frames import to_frame
from argo_mw_persist.queries import AnswerFilter, ChargeFilter, Filter
from argo_mw_persist.records import Signal, micros
from argo_mw_persist.results import AnswerPage, Page, Performance, Spending
from argo_mw_persist.store import MOST_ROWS, StoreInUse

UPSTREAM = "persist"
_MOST_SYMBOLS = 500

Form = Literal["rows", "frame"]


def _checked(bound: dict[str, object]) -> dict[str, object]:
    limit = bound.get("limit", 1)
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MOST_ROWS:
        msg = f"limit is {limit!r}; give a number of rows from 1 to {MOST_ROWS}"
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
    data_type="consensus", scope="tenant", normalize=_checked, tags=_signals, subject="symbol"
)
def latest(symbol: str, *, limit: int = 10) -> tuple[Signal, ...]:
    """The newest recorded signals of a symbol."""
    raise AssertionError


@operation(data_type="consensus", scope="tenant", normalize=_checked, tags=_signals_of_many)
def latest_of_many(symbols: Sequence[str], *, limit: int = 10) -> dict[str, tuple[Signal, ...]]:
    """The newest recorded signals of each of many symbols, by one query."""
    raise AssertionError


@operation(
    data_type="consensus", scope="tenant", normalize=_checked, tags=_signals, subject="symbol"
)
def strongest(symbol: str, *, limit: int = 10) -> tuple[Signal, ...]:
    """The open signals of a symbol, the surest first."""
    raise AssertionError


@operation(
    data_type="consensus", scope="tenant", normalize=_checked, tags=_signals, subject="symbol"
)
def history(
    symbol: str = "",
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    outcome: str | None = None,
    active: bool | None = None,
    least_confidence: float | None = None,
    limit: int = 1000,
    after: str | None = None,
    form: Form = "rows",
) -> Page:
    """Recorded signals, newest first, a page at a time; as a frame with form="frame"."""
    raise AssertionError


@operation(data_type="consensus", scope="tenant", tags=_outcomes, subject="symbol")
def performance(
    symbol: str = "", *, since: datetime | None = None, until: datetime | None = None
) -> tuple[Performance, ...]:
    """How closed signals went: the consensus first, then voice by voice."""
    raise AssertionError


@operation(
    data_type="consensus",
    scope="tenant",
    normalize=_checked,
    tags=lambda _: ["answers"],
    subject="symbol",
)
def answers(
    of: str,
    symbol: str = "",
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 100,
    after: str | None = None,
) -> AnswerPage:
    """Recorded answers to the operation *of*, newest first, a page at a time."""
    raise AssertionError


@operation(data_type="consensus", scope="tenant", tags=lambda _: ["charges"])
def ledger(
    *,
    upstream: str = "",
    of: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
) -> tuple[Spending, ...]:
    """What calls to metered upstreams cost, by upstream and operation, the dearest first."""
    raise AssertionError


OPERATIONS = (latest, latest_of_many, strongest, history, performance, answers, ledger)


class Reads:
    """Answers the reading operations from the store in use."""

    def __init__(self, store: StoreInUse) -> None:
        self._store = store
        self._by_name: dict[str, Callable[[Call], Awaitable[object]]] = {
            latest.name: self._latest,
            latest_of_many.name: self._latest_of_many,
            strongest.name: self._strongest,
            history.name: self._history,
            performance.name: self._performance,
            answers.name: self._answers,
            ledger.name: self._ledger,
        }

    def upstream(self) -> Upstream:
        """The store as an upstream. ``latest`` of many symbols, asked at once, is one query."""
        return Upstream(
            UPSTREAM,
            frozenset(self._by_name),
            self.fetch,
            Batching(self.fetch_many, max_size=_MOST_SYMBOLS, window=0.0),
        )

    async def fetch(self, call: Call) -> Outcome:
        """The answer to one reading call."""
        try:
            return Outcome(await self._by_name[call.operation.name](call))
        except PersistError as error:
            raise _unanswered(error) from error

    async def fetch_many(self, calls: Sequence[Call]) -> Sequence[Outcome | Exception]:
        """The answers to calls that differ in their symbol only."""
        if len(calls) == 1 or calls[0].operation.name != latest.name:
            return [await self._answer(call) for call in calls]
        limit = cast(int, calls[0].parameters["limit"])
        symbols = [call.subject for call in calls]
        try:
            found = await self._store().latest_of_many(symbols, limit, tenant=calls[0].tenant)
        except PersistError as error:
            raise _unanswered(error) from error
        return [Outcome(found[symbol]) for symbol in symbols]

    async def _answer(self, call: Call) -> Outcome | Exception:
        try:
            return await self.fetch(call)
        except Exception as error:
            return error

    async def _latest(self, call: Call) -> tuple[Signal, ...]:
        limit = cast(int, call.parameters["limit"])
        return await self._store().latest(call.subject, limit, tenant=call.tenant)

    async def _latest_of_many(self, call: Call) -> dict[str, tuple[Signal, ...]]:
        symbols = cast("tuple[str, ...]", call.parameters["symbols"])
        limit = cast(int, call.parameters["limit"])
        return await self._store().latest_of_many(symbols, limit, tenant=call.tenant)

    async def _strongest(self, call: Call) -> tuple[Signal, ...]:
        limit = cast(int, call.parameters["limit"])
        return await self._store().strongest(call.subject, limit, tenant=call.tenant)

    async def _history(self, call: Call) -> object:
        asked = call.parameters
        page = await self._store().history(
            _filter(call),
            limit=cast(int, asked["limit"]),
            after=cast("str | None", asked["after"]),
        )
        return to_frame(page.signals) if asked["form"] == "frame" else page

    async def _performance(self, call: Call) -> tuple[Performance, ...]:
        return await self._store().performance(_filter(call))

    async def _answers(self, call: Call) -> AnswerPage:
        asked = call.parameters
        wanted = AnswerFilter(
            cast(str, asked["of"]),
            call.tenant,
            call.subject or None,
            _moment(asked["since"]),
            _moment(asked["until"]),
        )
        limit, after = cast(int, asked["limit"]), cast("str | None", asked["after"])
        return await self._store().answers(wanted, limit=limit, after=after)

    async def _ledger(self, call: Call) -> tuple[Spending, ...]:
        asked = call.parameters
        wanted = ChargeFilter(
            call.tenant,
            cast(str, asked["upstream"]) or None,
            cast(str, asked["of"]) or None,
            _moment(asked["since"]),
            _moment(asked["until"]),
        )
        return await self._store().ledger(wanted)


def _filter(call: Call) -> Filter:
    asked = call.parameters
    return Filter(
        tenant=call.tenant,
        symbol=call.subject or None,
        since=_moment(asked.get("since")),
        until=_moment(asked.get("until")),
        outcome=cast("str | None", asked.get("outcome")),
        active=cast("bool | None", asked.get("active")),
        least_confidence=cast("float | None", asked.get("least_confidence")),
    )


def _moment(value: object) -> int | None:
    if value is None:
        return None
    if not isinstance(value, datetime) or value.tzinfo is None:
        msg = f"{value!r} is no moment; give a datetime with a time zone"
        raise BadParameter(msg)
    return micros(value.timestamp())


def _unanswered(error: PersistError) -> UpstreamError:
    return UpstreamError(str(error), upstream=UPSTREAM, action=Action.RETRY)

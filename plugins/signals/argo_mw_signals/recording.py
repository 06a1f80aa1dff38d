"""The recording of signals: their table, and the row that an answer becomes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from argo_mw.plugin import AnsweredCall, Recording, Row, micros
from argo_mw_signals.recorded import (
    COLUMNS,
    LACKS,
    TABLE,
    RecordedSignal,
    RecordedVote,
    signal_tags,
)
from argo_mw_signals.signal import Contribution, Signal

MIGRATIONS = (
    (
        """CREATE TABLE signals (
            id {id} NOT NULL UNIQUE,
            tenant {text} NOT NULL,
            symbol {text} NOT NULL,
            action {text} NOT NULL,
            confidence {real} NOT NULL,
            timestamp {int} NOT NULL,
            price {real},
            upstream {text},
            outcome {text},
            is_active {flag} NOT NULL,
            exit_price {real},
            profit {real},
            exit_timestamp {int},
            voices {text},
            detail {text})""",
        # The tenant stands last in each index: it is looked at there, without a visit to the
        # table, and the order of the plan's columns stays useful.
        """CREATE INDEX signals_by_symbol
            ON signals (symbol, timestamp DESC, confidence DESC, tenant)""",
        """CREATE INDEX signals_by_time
            ON signals (timestamp DESC, outcome, is_active, tenant)""",
        """CREATE INDEX signals_by_confidence
            ON signals (symbol, is_active, confidence DESC, tenant)""",
    ),
)

DECLARATION: Mapping[str, object] = {
    "name": TABLE,
    "columns": COLUMNS,
    "migrations": MIGRATIONS,
    "tag_columns": ("symbol", "outcome"),
    "tags": signal_tags,
    "newest": {"subject": "symbol", "tenant": "tenant", "order": ("timestamp", "confidence")},
    "make": RecordedSignal.from_rows,
}
"""The table, as the hook ``register_tables`` wants it."""


def _rows(answered: AnsweredCall) -> Iterable[Row]:
    """Return the row of a signal.

    Its time is when it was made; the moment that its prices speak for is kept in ``detail``.
    """
    signal = answered.value
    if not isinstance(signal, Signal):
        return []
    recorded = RecordedSignal(
        symbol=signal.symbol,
        action=signal.action,
        confidence=signal.confidence,
        timestamp=micros(answered.time),
        price=signal.price,
        voices=tuple(_vote(one) for one in signal.contributions),
        upstream=answered.upstream,
        tenant=answered.owner,
        detail=_detail(answered),
        # An instance that came to another action had other reasons, whatever both were computed
        # from.
        id=answered.row_id(TABLE, signal.action),
    )
    return [recorded.row()]


def _detail(answered: AnsweredCall) -> str | None:
    detail: dict[str, object] = {}
    if answered.as_of is not None:
        detail["as_of"] = answered.as_of
    if answered.lacks:
        detail[LACKS] = sorted(answered.lacks)
    return json.dumps(detail) if detail else None


def _vote(one: Contribution) -> RecordedVote:
    action = "HOLD" if not one.score else "BUY" if one.score > 0 else "SELL"
    return RecordedVote(one.voice, action, one.confidence, one.weight, one.reason)


RECORDING = Recording(TABLE, _rows)
"""How the operation ``signal`` is recorded."""

"""From an answer to a record: what a signal looks like, whoever makes it.

Plugins do not know each other, so a signal is known by its shape: an object with attributes, or a
mapping with keys, called ``action``, ``confidence`` and, where there are any, ``symbol``,
``price`` and ``voices`` or ``contributions``. A voice has a ``name``, and an ``action`` or a
``score`` whose sign is one.
"""

from __future__ import annotations

import json
import math
import numbers
from collections.abc import Iterable, Mapping
from enum import Enum

from argo_mw.plugin import Call, Outcome
from argo_mw_persist.records import Signal, Voice, micros

_MISSING = object()


def signal_of(call: Call, outcome: Outcome, now: float) -> Signal | None:
    """The signal that *outcome* holds, or ``None`` when it has not the shape of one.

    Args:
        call: The question.
        outcome: The answer to it.
        now: Seconds since the epoch: when the signal was made. What moment its data speak for is
            kept beside it, as ``as_of`` in ``detail``.
    """
    value = outcome.value
    action = _text(_get(value, "action")).upper()
    confidence = _number(_get(value, "confidence"))
    symbol = _text(_get(value, "symbol")) or call.subject
    if not action or confidence is None or not symbol:
        return None
    return Signal(
        symbol,
        action,
        confidence,
        micros(now),
        _number(_get(value, "price", "entry_price")),
        tuple(_voices(_get(value, "voices", "contributions"))),
        outcome.upstream,
        owner(call),
        None if outcome.as_of is None else json.dumps({"as_of": outcome.as_of}),
    )


def owner(call: Call) -> str:
    """Whose the answer to *call* is: "" for what is everybody's."""
    return "" if call.operation.scope == "public" else call.tenant


def _voices(found: object) -> Iterable[Voice]:
    if isinstance(found, Mapping):
        for name, voice in found.items():
            yield _voice(voice, str(name))
    elif isinstance(found, Iterable) and not isinstance(found, str | bytes):
        for voice in found:
            yield _voice(voice, _text(_get(voice, "name", "voice")))


def _voice(value: object, name: str) -> Voice:
    return Voice(
        name,
        _text(_get(value, "action")).upper() or _direction(_number(_get(value, "score"))),
        _number(_get(value, "confidence")),
        _number(_get(value, "weight")),
        _text(_get(value, "reason")),
    )


def _direction(score: float | None) -> str:
    if not score:
        return "HOLD"
    return "BUY" if score > 0 else "SELL"


def _get(value: object, *names: str) -> object:
    for name in names:
        found = (
            value.get(name, _MISSING)
            if isinstance(value, Mapping)
            else getattr(value, name, _MISSING)
        )
        if found is not _MISSING:
            return found
    return None


def _text(value: object) -> str:
    if isinstance(value, Enum):
        value = value.value
    return "" if value is None else str(value)


def _number(value: object) -> float | None:
    number = float(value) if isinstance(value, numbers.Real) else None
    return number if number is not None and math.isfinite(number) else None

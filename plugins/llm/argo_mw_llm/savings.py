"""Savings: what layers spared, learnt from what happened."""

from __future__ import annotations

from collections import Counter

from argo_mw.plugin import CallEnded, Event, LayerActed, Outcome
from argo_mw_llm.accounting import Accounting, Quote
from argo_mw_llm.answers import Usage
from argo_mw_llm.streams import AnswerStream

_SERVED = ("cache", "similarity")
_MAX_JOINED = 10_000


class Savings:
    """An observer that enters what each layer saved: the price of the answer it served."""

    kinds = (CallEnded, LayerActed)

    def __init__(self, accounting: Accounting) -> None:
        self._accounting = accounting
        self._joined: Counter[str] = Counter()

    def __call__(self, event: Event) -> None:
        """Take notice of *event*."""
        if isinstance(event, LayerActed):
            if event.action == "joined" and event.call is not None and _asks(event.call):
                self._join(event.call.key)
        elif isinstance(event, CallEnded) and _asks(event.call):
            self._end(event)

    def _join(self, key: str) -> None:
        if len(self._joined) >= _MAX_JOINED:
            self._joined.clear()
        self._joined[key] += 1

    def _end(self, event: CallEnded) -> None:
        key = event.call.key
        joined = self._joined.get(key, 0) > 0
        if joined:
            self._joined[key] -= 1
            if not self._joined[key]:
                del self._joined[key]
        if event.outcome is None:
            return
        layer = next((name for name in _SERVED if name in event.outcome.via), "")
        layer = layer or ("coalesce" if joined else "")
        if not layer:
            return
        usage, model = _worth(event.outcome)
        if usage is not None:
            quote = Quote(model, 0, 0, Usage())
            upstream = event.outcome.upstream or ""
            self._accounting.enter(
                event.call, upstream, quote, usage, model=model, status="saved", layer=layer
            )


def _asks(call: object) -> bool:
    operation = getattr(call, "operation", None)
    return operation is not None and operation.kind == "llm"


def _worth(outcome: Outcome) -> tuple[Usage | None, str]:
    value = outcome.value
    if isinstance(value, AnswerStream):
        return value.ending.usage, value.ending.model
    usage = getattr(value, "usage", None)
    return (usage if isinstance(usage, Usage) else None), str(getattr(value, "model", ""))

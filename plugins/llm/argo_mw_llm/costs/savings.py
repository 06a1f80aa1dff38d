"""Savings: the price of each answer that a layer served in place of an upstream."""

from __future__ import annotations

from collections import Counter

from argo_mw.plugin import CallEnded, Charge, Context, Event, LayerActed, Outcome
from argo_mw_llm.answers import Usage
from argo_mw_llm.bodies.streams import AnswerStream
from argo_mw_llm.costs.accounting import Accounting
from argo_mw_llm.operations import EMBEDDINGS

_SERVING = ("cache", "similarity")
_MAX_JOINED = 10_000


class Savings:
    """An observer that records what each layer saved."""

    kinds = (CallEnded, LayerActed)
    operation_kinds = ("llm",)

    def __init__(self, accounting: Accounting, context: Context) -> None:
        self._accounting = accounting
        self._context = context
        self._joined: Counter[str] = Counter()

    def __call__(self, event: Event) -> None:
        """Note calls that join a flight; when calls end, record what they saved."""
        if isinstance(event, LayerActed):
            if event.action == "joined" and event.call is not None and _is_llm(event.call):
                self._join(event.call.key)
        elif isinstance(event, CallEnded) and _is_llm(event.call):
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
        layer = next((name for name in _SERVING if name in event.outcome.via), "")
        layer = layer or ("coalesce" if joined else "")
        if layer:
            self._record(event, event.outcome, layer)

    def _record(self, event: CallEnded, outcome: Outcome, layer: str) -> None:
        usage, model = _usage(outcome)
        if usage is None:
            return
        call = event.call
        self._context.record_charge(
            Charge(
                self._context.clock.time(),
                call.tenant,
                call.operation.name,
                call.subject,
                outcome.upstream or "",
                "saved",
                self._accounting.price(usage, _provider(outcome), model),
                layer=layer,
            )
        )


def _provider(outcome: Outcome) -> str:
    return (outcome.upstream or "").removesuffix(EMBEDDINGS)


def _is_llm(call: object) -> bool:
    operation = getattr(call, "operation", None)
    return operation is not None and operation.kind == "llm"


def _usage(outcome: Outcome) -> tuple[Usage | None, str]:
    value = outcome.value
    if isinstance(value, AnswerStream):
        return value.ending.usage, value.ending.model
    usage = getattr(value, "usage", None)
    return (usage if isinstance(usage, Usage) else None), str(getattr(value, "model", ""))

"""The layer: what really came from an upstream is recorded on its way out."""

from __future__ import annotations

import asyncio

from argo_mw.plugin import (
    AnyOperation,
    BadParameter,
    Call,
    Closed,
    Context,
    LayerActed,
    Next,
    NotEncodable,
    Outcome,
    Stream,
)
from argo_mw_persist.config import PersistConfig
from argo_mw_persist.errors import PersistError
from argo_mw_persist.extract import owner, signal_of
from argo_mw_persist.records import Answer, micros
from argo_mw_persist.store import Record, StoreInUse

NAME = "persist"

RECEIPTS = "persist.receipts"
"""An extension: a list of the caller's, to which the receipt of each recorded answer is added."""


class Recorder:
    """Records the answers of the configured operations."""

    def __init__(self, store: StoreInUse, config: PersistConfig, context: Context) -> None:
        self._store = store
        self._config = config
        self._context = context
        self._signals = frozenset(config.signals)
        self._kept = self._signals | frozenset(config.answers)

    def serves(self, operation: AnyOperation) -> bool:
        """Whether answers to *operation* are recorded."""
        return operation.name in self._kept

    async def __call__(self, call: Call, call_next: Next) -> Outcome:
        """The answer to *call*, recorded; safe already when ``durable`` says so."""
        outcome = await call_next(call)
        if isinstance(outcome.value, Stream):
            outcome.value.on_done(lambda stream: self._when_complete(call, outcome, stream))
            return outcome
        try:
            record = self._record(call, outcome)
        except NotEncodable as error:
            return self._left_out(call, outcome, str(error))
        try:
            await self._keep(call, record)
        except (PersistError, BadParameter, Closed) as error:
            if self._config.durable:
                raise
            return self._left_out(call, outcome, str(error))
        return outcome

    def explain(self, call: Call) -> str:
        """Where an answer to *call* would be kept, and how full the queue is."""
        table = "signals" if call.operation.name in self._signals else "answers"
        store = self._store()
        held = store.writer.held
        return f"would record to {table} in {store.sink.place}; {held} records wait now"

    async def _keep(self, call: Call, record: Record) -> None:
        store = self._store()
        receipt = await store.record(record)
        receipts = call.extensions.get(RECEIPTS)
        if isinstance(receipts, list):
            receipts.append(receipt)
        if self._config.durable:
            store.writer.hurry()
            # A caller who leaves takes nobody's record along.
            await asyncio.shield(receipt)
        if self._context.events.active:
            self._context.events.emit(LayerActed(NAME, "recorded", call))

    def _record(self, call: Call, outcome: Outcome) -> Record:
        now = self._context.clock.time()
        if call.operation.name in self._signals:
            signal = signal_of(call, outcome, now)
            if signal is not None:
                return signal
            self._context.warn_once(
                NAME,
                f"answers to {call.operation.name} have no action and confidence, so they are kept "
                "as answers, not signals; take it out of [plugins.persist] signals",
            )
        return Answer(
            operation=call.operation.name,
            key=call.key,
            subject=call.subject,
            upstream=outcome.upstream,
            tenant=owner(call),
            timestamp=micros(now if outcome.as_of is None else outcome.as_of),
            value=self._context.codecs.encode(outcome.value),
        )

    def _when_complete(self, call: Call, outcome: Outcome, stream: Stream[object]) -> None:
        if not stream.complete:
            return
        whole = outcome.evolve(value=list(stream.chunks))
        self._context.tasks.spawn("persist:stream", self._keep_whole(call, whole))

    async def _keep_whole(self, call: Call, whole: Outcome) -> None:
        try:
            await self._keep(call, self._record(call, whole))
        except (PersistError, BadParameter, Closed, NotEncodable) as error:
            self._left_out(call, whole, str(error))

    def _left_out(self, call: Call, outcome: Outcome, why: str) -> Outcome:
        self._context.warn_once(NAME, f"answers to {call.operation.name} are not recorded: {why}")
        if self._context.events.active:
            self._context.events.emit(LayerActed(NAME, "left out", call, why))
        return outcome.shaped_by(NAME, f"not recorded: {why}")

"""The layer: records answers that came from an upstream."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextvars import copy_context

from argo_mw.plugin import (
    AnsweredCall,
    AnyOperation,
    BadParameter,
    Call,
    Closed,
    ConfigError,
    Context,
    Next,
    NotEncodable,
    Outcome,
    Row,
    Stream,
    fingerprint,
    micros,
)
from argo_mw_persist.config import PersistConfig
from argo_mw_persist.database import NAME
from argo_mw_persist.errors import NotRecorded, PersistError
from argo_mw_persist.records import Answer, place_of
from argo_mw_persist.store import StoreInUse
from argo_mw_persist.tables import ANSWERS

RECEIPTS = "persist.receipts"
"""The extension with a list of the caller, to which the receipt of each recorded row is added."""

_OP = "op:"
_NOT_KEPT = (PersistError, BadParameter, ConfigError, Closed, NotEncodable)


class Recorder:
    """Records answers as their operations declare and as configured."""

    def __init__(self, store: StoreInUse, config: PersistConfig, context: Context) -> None:
        self._store = store
        self._config = config
        self._context = context
        self._answers = frozenset(config.answers)
        self._keeping: set[asyncio.Task[None]] = set()

    def serves(self, operation: AnyOperation) -> bool:
        """Return whether answers to *operation* are recorded."""
        return operation.record is not None or operation.name in self._answers

    async def __call__(self, call: Call, call_next: Next) -> Outcome:
        """Return the answer to *call* and record it; if ``durable``, return once it is safe."""
        outcome = await call_next(call)
        if isinstance(outcome.value, Stream):
            outcome.value.on_done(lambda stream: self._when_complete(call, outcome, stream))
            return outcome
        try:
            if rows := self._rows(call, outcome):
                await self._keep(call, rows)
        except _NOT_KEPT as error:
            # An answer that cannot be encoded is never kept, so its caller need not wait.
            if self._config.durable and not isinstance(error, NotEncodable):
                raise
            return self._left_out(call, outcome, str(error))
        return outcome

    async def close(self) -> None:
        """Wait for the rows of streams that have just ended, since the store is closed next."""
        if self._keeping:
            await asyncio.wait(self._keeping)

    def explain(self, call: Call) -> str:
        """Describe where an answer to *call* would be kept, and how full the queue is."""
        store = self._store()
        tables = " and ".join(self._tables(call.operation))
        return f"would record to {tables} in {store.sink.place}; {store.writer.held} rows wait now"

    def _tables(self, operation: AnyOperation) -> list[str]:
        tables = [] if operation.record is None else [operation.record.table]
        return [*tables, ANSWERS.name] if operation.name in self._answers else tables

    async def _keep(self, call: Call, rows: Sequence[Row]) -> None:
        store = self._store()
        # Unless `durable` is configured, answers do not wait for a sink that cannot write.
        hasty = not self._config.durable
        receipts = [store.try_record(row) or await store.record(row, hasty=hasty) for row in rows]
        wanted = call.extensions.get(RECEIPTS)
        if isinstance(wanted, list):
            wanted += receipts
        if self._config.durable and receipts:
            store.writer.flush_soon()
            for receipt in receipts:
                # Copied, so that a caller that leaves does not cancel the rows of another.
                await asyncio.shield(receipt)
        self._context.announce(NAME, "recorded", call)

    def _rows(self, call: Call, outcome: Outcome) -> list[Row]:
        answered = self._answered(call, outcome)
        rows = self._by_recording(call, answered)
        if call.operation.name in self._answers:
            rows.append(self._answer(call, answered).row())
        return rows

    def _answered(self, call: Call, outcome: Outcome) -> AnsweredCall:
        return AnsweredCall(
            value=outcome.value,
            subject=call.subject,
            parameters=call.parameters,
            owner=call.owner,
            upstream=outcome.upstream,
            as_of=outcome.as_of,
            time=self._context.clock.time(),
            lacks=outcome.lacks,
            identity=self._identity(call, outcome) if call.operation.kind == "compute" else "",
        )

    def _identity(self, call: Call, outcome: Outcome) -> str:
        """Return the identity of a computed answer; answers of equal identity are kept once."""
        made_of = {tag.removeprefix(_OP) for tag in outcome.tags if tag.startswith(_OP)}
        configured = self._context.configuration_of(made_of | {call.operation.name})
        return fingerprint((call.key, outcome.as_of, configured, outcome.lacks))

    def _by_recording(self, call: Call, answered: AnsweredCall) -> list[Row]:
        recording = call.operation.record
        if recording is None:
            return []
        try:
            return list(recording.rows(answered))
        except BadParameter:
            raise
        except Exception as error:
            msg = f"the recording of {call.operation.name} failed: {type(error).__name__}: {error}"
            raise NotRecorded(msg) from error

    def _answer(self, call: Call, answered: AnsweredCall) -> Answer:
        moment = answered.time if answered.as_of is None else answered.as_of
        return Answer(
            operation=call.operation.name,
            key=call.key,
            subject=call.subject,
            upstream=answered.upstream,
            tenant=call.owner,
            timestamp=micros(moment),
            value=self._context.codecs.encode(
                answered.value, place_of(call.operation.name, call.key)
            ),
            lacks=tuple(sorted(answered.lacks)),
            id=answered.row_id(ANSWERS.name),
        )

    def _when_complete(self, call: Call, outcome: Outcome, stream: Stream[object]) -> None:
        if not stream.complete:
            return
        whole = outcome.evolve(value=list(stream.chunks))
        keeping = self._context.tasks.spawn(
            "persist:stream", self._keep_whole(call, whole), context=copy_context()
        )
        self._keeping.add(keeping)
        keeping.add_done_callback(self._keeping.discard)

    async def _keep_whole(self, call: Call, whole: Outcome) -> None:
        try:
            if rows := self._rows(call, whole):
                await self._keep(call, rows)
        except _NOT_KEPT as error:
            self._left_out(call, whole, str(error))

    def _left_out(self, call: Call, outcome: Outcome, why: str) -> Outcome:
        self._context.warn_once(NAME, f"answers to {call.operation.name} are not recorded: {why}")
        self._context.announce(NAME, "left out", call, why)
        return outcome.shaped_by(NAME, f"not recorded: {why}")

"""The ledger: what each request to a metered upstream cost, kept where it is settled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from attrs import evolve

from argo_mw.plugin import Call, Clock, Closed, Cost, Outcome, Refusal, Request, Result, Stream
from argo_mw_persist.errors import QueueFull
from argo_mw_persist.records import Charge
from argo_mw_persist.store import StoreInUse
from argo_mw_persist.timestamps import micros

_UNKNOWN = Cost(usd=None, requests=1.0, estimated=True)


class Ledger:
    """A guard that refuses nothing and writes down what was spent.

    A request that failed may have cost something all the same; its price is then unknown, not 0.
    """

    name = "persist"

    def __init__(self, store: StoreInUse, clock: Clock, on_warning: Callable[[str], None]) -> None:
        self._store = store
        self._clock = clock
        self._on_warning = on_warning
        self._sent: dict[Request, float] = {}

    async def reserve(self, request: Request) -> None:
        """Remember when *request* went out."""
        self._sent[request] = self._clock.monotonic()

    def settle(self, request: Request, result: Result) -> None:
        """Write down what each of its calls cost."""
        latency = self._clock.monotonic() - self._sent.pop(request)
        for call, answer in zip(request.calls, result, strict=True):
            charge = self._charge(request, call, answer, latency)
            if isinstance(answer, Outcome) and isinstance(answer.value, Stream):
                answer.value.on_done(partial(self._ended, charge))
            else:
                self._write(charge)

    async def release(self, request: Request) -> None:
        """Forget *request*: it was never sent."""
        self._sent.pop(request, None)

    def _ended(self, charge: Charge, stream: Stream[object]) -> None:
        # In the next turn: the guard that works out the cost may be notified after this ledger.
        asyncio.get_running_loop().call_soon(self._write_stream, charge, stream)

    def _write_stream(self, charge: Charge, stream: Stream[object]) -> None:
        cost = stream.cost
        if cost is not None:
            charge = evolve(
                charge,
                usd=cost.usd,
                tokens_in=cost.tokens_in,
                tokens_out=cost.tokens_out,
                estimated=cost.estimated,
            )
        self._write(charge)

    def _write(self, charge: Charge) -> None:
        try:
            # Never waits: the answer is paid for, and must not be late for its own bill.
            self._store().writer.offer(charge.row())
        except (QueueFull, Closed) as error:
            self._on_warning(f"not in the ledger: {charge}: {error}")

    def _charge(
        self, request: Request, call: Call, answer: Outcome | BaseException, latency: float
    ) -> Charge:
        cost = answer.cost if isinstance(answer, Outcome) else _UNKNOWN
        return Charge(
            tenant=call.tenant,
            operation=call.operation.name,
            subject=call.subject,
            upstream=request.upstream.name,
            timestamp=micros(self._clock.time()),
            status=_status(answer),
            latency=latency,
            usd=cost.usd,
            tokens_in=cost.tokens_in,
            tokens_out=cost.tokens_out,
            requests=cost.requests,
            estimated=cost.estimated,
        )


def _status(answer: Outcome | BaseException) -> str:
    match answer:
        case Outcome():
            return "ok"
        case Refusal():
            return "refused"
        case Exception():
            return "failed"
        case _:
            return "cancelled"

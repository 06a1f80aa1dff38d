"""Operations for tests of fleets, in the workers' processes too."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from argo_mw.plugin import (
    AnyOperation,
    Batching,
    Call,
    Limits,
    Log,
    NotFound,
    Outcome,
    Upstream,
    hookimpl,
    operation,
)


@operation(subject="symbol", scope="public")
def price(symbol: str, *, days: int = 1) -> object: ...


@operation(subject="symbol", scope="public", timeout=120.0)
def slow(symbol: str, *, seconds: float = 0.1) -> object: ...


@operation(subject="symbol", scope="public")
def scarce(symbol: str) -> object: ...


@operation(scope="public")
def whole() -> object: ...


class Toys:
    """Upstreams that say which process answered, and write down what they were asked."""

    @hookimpl
    def register_operations(self) -> Iterable[AnyOperation]:
        return [price, slow, scarce, whole]

    @hookimpl
    def register_upstreams(self) -> Iterable[Upstream]:
        gathering = Batching(self._many, max_size=50, window=0.1)
        return [
            Upstream("toys", frozenset({"price"}), self._one, gathering),
            Upstream("sloth", frozenset({"slow"}), self._slow, timeout=120.0),
            Upstream("miser", frozenset({"scarce"}), self._one, limits=Limits(per_day=5)),
        ]

    async def _one(self, call: Call) -> Outcome:
        _note("asked", call.subject)
        if call.subject == "BAD":
            msg = "there is no BAD; check the symbol"
            raise NotFound(msg, upstream="toys")
        if call.subject == "ODD":
            Log("argo_mw").warning("an odd symbol", symbol=call.subject)
        return Outcome({"symbol": call.subject, "pid": os.getpid()})

    async def _many(self, calls: Sequence[Call]) -> Sequence[Outcome | Exception]:
        _note("batch", str(len(calls)))
        found: list[Outcome | Exception] = []
        for call in calls:
            try:
                found.append(await self._one(call))
            except NotFound as error:
                found.append(error)
        return found

    async def _slow(self, call: Call) -> Outcome:
        _note("begun", call.subject)
        try:
            await asyncio.sleep(call.parameters["seconds"])  # type: ignore[arg-type]
        except asyncio.CancelledError:
            _note("cancelled", call.subject)
            raise
        return Outcome({"symbol": call.subject, "pid": os.getpid()})


def _note(what: str, subject: str) -> None:
    with Path("notes.txt").open("a") as notes:
        notes.write(f"{what} {subject} {os.getpid()}\n")


plugin = Toys()

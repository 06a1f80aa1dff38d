"""What tests of the cache need: a clock, no chance, and an application that is open."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator

import pytest
from attrs import define

from argo_mw import Argo, Outcome
from argo_mw.plugin import Call, Context, context_of, operation
from argo_mw.testing import FakeClock, FakePlugin, Scripted
from argo_mw_cache import CachePlugin, entry, loader
from argo_mw_cache.stored_answer import AnswerCodec, store_key

_names = itertools.count()


@operation(subject="symbol")
def bars(symbol: str) -> object:
    """Price bars."""


@define
class Opened:
    """An application that keeps answers in a store that others could share."""

    argo: Argo
    context: Context
    call: Call

    async def encoded(self, *, ttl: float, as_of: float | None = None, key: str = "") -> bytes:
        """Return the bytes of an answer with that time to live."""
        tag_snapshot = await self.context.tag_versions.load(self.call.tags)
        outcome = Outcome("bars", expires_at=self.context.clock.time() + ttl, as_of=as_of)
        return AnswerCodec(self.context).write(
            outcome, tag_snapshot, 0.0, key or store_key(self.call)
        )


@pytest.fixture
async def opened(clock: FakeClock) -> AsyncIterator[Opened]:
    asked = FakePlugin(operations=[bars], upstreams=[Scripted("a", ["bars"])])
    argo = Argo.open(
        {"argo": {"shared": f"memory://opened-{next(_names)}", "strict": True}},
        clock=clock,
        plugins={"cache": CachePlugin(), "asked": asked},
        installed=False,
    )
    async with argo:
        context = context_of(argo)
        yield Opened(argo, context, context.make_call("bars", "", {"symbol": "AAPL"}))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(start=0.1)


@pytest.fixture
def no_luck(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let jitter take nothing off, and draw no reader to refresh early."""
    monkeypatch.setattr(loader.random, "uniform", lambda low, high: high)
    monkeypatch.setattr(entry.random, "random", lambda: 0.0)

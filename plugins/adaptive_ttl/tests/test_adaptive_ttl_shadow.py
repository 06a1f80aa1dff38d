"""In shadow the layer says what would still live, how far that is off, and what it would save."""

# ruff: noqa: F811 - fixtures of another module are named as parameters
from __future__ import annotations

from collections.abc import Callable

import pytest

from argo_mw import Argo, Outcome
from argo_mw.plugin import LayerBypassed, Shadowed, context_of
from argo_mw.testing import capture_events
from argo_mw.testing.clock import FakeClock, settle
from argo_mw_adaptive_ttl import shadow

from .test_adaptive_ttl_layer import (  # noqa: F401 - fixtures
    Exchange,
    clock,
    exchange,
    layer_of,
    open_argo,
)

pytestmark = pytest.mark.filterwarnings("ignore:Series.values returning")

OpenArgo = Callable[..., Argo]


async def ask(argo: Argo, symbol: str) -> Outcome:
    outcome = await argo.outcome("bars", symbol=symbol)
    await settle()
    return outcome


@pytest.fixture
def in_shadow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARGO_MW_FLAG_ADAPTIVE_TTL", "shadow")


@pytest.mark.usefixtures("in_shadow")
async def test_an_answer_would_live_as_long_as_the_policy_decides(
    open_argo: OpenArgo,
    clock: FakeClock,
) -> None:
    async with open_argo({"policy": "multipliers"}) as argo:
        events = capture_events(argo)
        for wait in (0.0, 119.0, 2.0, 1.0):
            await clock.advance(wait)
            outcome = await ask(argo, "BTC-USD")
            assert outcome.expires_at is None
            assert () == outcome.via
        seen = events.of(Shadowed)
        result = context_of(argo).counters.shadow("adaptive_ttl", "bars")
        assert [] == events.of(LayerBypassed)
    assert [False, True, False, True] == [event.would_hit for event in seen]
    assert seen[1].why.endswith("→ 120 s")
    assert (4, 2, 2.0) == (result.calls, result.hits, result.requests)


@pytest.mark.usefixtures("in_shadow")
async def test_what_peers_move_would_not_live_on(
    open_argo: OpenArgo,
    clock: FakeClock,
    exchange: Exchange,
) -> None:
    """The layer learns from what it is shown, and would have expired a kept price early."""
    async with open_argo() as argo:
        events = capture_events(argo)
        kept = layer_of(argo)._in_shadow
        for _ in range(3):
            for symbol in ("AAA-USD", "BBB-USD"):
                await ask(argo, symbol)
            await clock.advance(60.0)
        assert 2 == len(kept)
        kept.expire("AAA-USD")
        await clock.advance(0.001)
        before = len(events.of(Shadowed))
        for symbol in ("AAA-USD", "BBB-USD"):
            await ask(argo, symbol)
        assert not events.of(Shadowed)[before].would_hit
        await argo.call("mood")
        await settle()
        assert [] == events.of(LayerBypassed)


@pytest.mark.usefixtures("in_shadow")
async def test_what_it_keeps_is_bounded(
    open_argo: OpenArgo,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_argo({"policy": "multipliers", "max_symbols": 3}) as argo:
        for letter in "ABCDE":
            await ask(argo, f"{letter}{letter}{letter}-USD")
        kept = layer_of(argo)._in_shadow
        assert 3 == len(kept)
        monkeypatch.setattr(shadow, "MAX_BYTES", 1)
        await ask(argo, "FFF-USD")
        assert (0, 0) == (len(kept), kept._bytes)


@pytest.mark.usefixtures("in_shadow")
async def test_the_limits_of_upstream_and_caller_hold_in_shadow_too(
    open_argo: OpenArgo,
    clock: FakeClock,
    exchange: Exchange,
) -> None:
    exchange.expires_at = clock.time() + 10.0
    async with open_argo({"policy": "multipliers"}) as argo:
        events = capture_events(argo)
        await ask(argo, "BTC-USD")
        await clock.advance(11.0)
        await ask(argo, "BTC-USD")
    assert [False, False] == [event.would_hit for event in events.of(Shadowed)]

"""What the policy decides, alone and in a chain."""

from __future__ import annotations

import pytest
from argo_mw import Argo
from argo_mw.testing import FakeClock
from argo_mw_adaptive_ttl import AdaptiveTtlPlugin, Situation

from argo_mw_bar_close import BarClose, Config, Plugin
from argo_mw_bar_close.plugin import NAME

MINUTE = 60.0
MIDNIGHT = 1_750_032_000.0
TEN_O_CLOCK = MIDNIGHT + 36_000


def ttl(now: float, **config: float) -> float:
    policy = BarClose(lambda: Config(**config))
    return policy.decide(Situation("market_data", "", now)).ttl


@pytest.mark.parametrize(
    ("second", "expected"), [(0.0, 2.0), (2.0, 60.0), (42.0, 20.0), (59.9, 2.1)]
)
def test_an_answer_lives_until_the_next_bar(second: float, expected: float) -> None:
    assert ttl(TEN_O_CLOCK + second, bar=MINUTE, settle=2) == pytest.approx(expected)


async def test_the_layer_uses_the_policy() -> None:
    clock = FakeClock()
    clock.set_wall(TEN_O_CLOCK + 42)
    settings = {
        "argo": {"shared": "memory://", "strict": True},
        "plugins": {"adaptive_ttl": {"policy": NAME}, NAME: {"bar": MINUTE}},
    }
    plugins = {"adaptive_ttl": AdaptiveTtlPlugin, NAME: Plugin}
    argo = Argo.open(settings, plugins=plugins, installed=False, clock=clock)

    @argo.wrap(name="quote", subject="symbol")
    async def quote(symbol: str) -> float:
        return 190.5

    async with argo:
        outcome = await argo.outcome("quote", symbol="BTC-USD")
        assert outcome.expires_at == pytest.approx(TEN_O_CLOCK + 62)

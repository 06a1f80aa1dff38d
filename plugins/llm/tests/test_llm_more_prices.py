"""Prices of genai-prices, for models that no table has."""

from __future__ import annotations

import socket
import sys
from datetime import UTC, datetime

import pytest

from argo_mw import Argo, ConfigError
from argo_mw.testing import FakeClock
from argo_mw_llm import LlmPlugin, Usage
from argo_mw_llm.config import LlmConfig
from argo_mw_llm.costs.genai import GenaiPrices
from argo_mw_llm.costs.price_sources import more_prices, prices_of
from argo_mw_llm.costs.prices import Price

genai_prices = pytest.importorskip("genai_prices")

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC).timestamp()
URLS = {name: profile.url for name, profile in LlmConfig().profiles.items()}
MILLION = 1_000_000


def found(model: str, provider: str) -> Price | None:
    return GenaiPrices(FakeClock(wall=NOW), URLS, update=False)(model, provider)


@pytest.mark.parametrize(
    ("model", "provider", "genai", "usage"),
    [
        ("gpt-6-astra", "openai", "openai", {"input_tokens": 1_000, "output_tokens": 500}),
        ("gpt-6-astra", "openai", "openai", {"input_tokens": 500_000, "output_tokens": 500}),
        ("o1", "openai", "openai", {"input_tokens": 9_000, "cache_read_tokens": 8_000}),
        ("claude-opus-4-5", "claude", "anthropic", {"input_tokens": 9, "cache_write_tokens": 9}),
        ("claude-sonnet-4-0", "claude", "anthropic", {"input_tokens": 300_000}),
    ],
)
def test_a_price_comes_to_what_the_package_says(
    model: str, provider: str, genai: str, usage: dict[str, int]
) -> None:
    price = found(model, provider)
    assert price is not None
    expected = genai_prices.calc_price(
        genai_prices.Usage(**usage),
        model,
        provider_id=genai,
        genai_request_timestamp=datetime.fromtimestamp(NOW, UTC),
    )
    read, written = usage.get("cache_read_tokens", 0), usage.get("cache_write_tokens", 0)
    fresh = usage["input_tokens"] - read - written
    took = Usage(fresh, usage.get("output_tokens", 0), written, 0, read)
    assert float(expected.total_price) == pytest.approx(price.usd(took, NOW))


def test_tiers_and_searches_have_prices_too() -> None:
    price = found("gpt-6-astra", "openai")
    assert price is not None
    assert 20.0 == price.usd(Usage(MILLION // 10, tiers=("priority",)), NOW) * 10.0 / 1.0
    assert 0.01 == pytest.approx(price.usd(Usage(searches=1), NOW))
    assert price.usd(Usage(1, tiers=("ultrafast",)), NOW) is None


@pytest.mark.parametrize(
    ("model", "provider"), [("nobody-knows-it", "openai"), ("gpt-6-astra", "house")]
)
def test_what_the_package_does_not_know_stays_unknown(model: str, provider: str) -> None:
    assert found(model, provider) is None


def test_our_own_table_goes_before_the_package() -> None:
    config = LlmConfig(more_prices="genai-prices")
    prices = prices_of(config, more_prices(config, FakeClock(wall=NOW)))
    bare = prices_of(LlmConfig(), None)
    assert bare.of("claude-sonnet-5-5", "claude") == prices.of("claude-sonnet-5-5", "claude")
    assert bare.of("claude-opus-4-5", "claude") is None
    assert prices.of("claude-opus-4-5", "claude") is not None


def test_without_the_package_the_table_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    with pytest.raises(ConfigError, match="pip install genai-prices"):
        more_prices(LlmConfig(more_prices="genai-prices"), FakeClock())


def test_there_is_nothing_to_update_without_it() -> None:
    with pytest.raises(ValueError, match="update_prices"):
        LlmConfig(update_prices=True)


@pytest.mark.parametrize("update", [False, True])
async def test_the_network_is_asked_only_where_that_is_configured(
    update: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    monkeypatch.setattr(genai_prices.UpdatePrices, "start", lambda _: started.append("start"))
    monkeypatch.setattr(genai_prices.UpdatePrices, "stop", lambda _: started.append("stop"))
    monkeypatch.setattr(socket, "create_connection", _forbidden)
    table = {"more_prices": "genai-prices", "update_prices": update}
    config = {"argo": {"shared": "memory://"}, "plugins": {"llm": table}}
    async with Argo.open(config, plugins={"llm": LlmPlugin}, installed=False):
        assert ["start"] * update == started
    assert ["start", "stop"] * update == started


def _forbidden(*_: object, **__: object) -> None:
    raise AssertionError("nothing is fetched")

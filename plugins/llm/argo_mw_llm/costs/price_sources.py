"""Sources of prices: providers' own tables, the dated table, and genai-prices."""

from __future__ import annotations

from attrs import evolve

from argo_mw.plugin import Clock
from argo_mw_llm.config import LlmConfig
from argo_mw_llm.costs.genai import GenaiPrices
from argo_mw_llm.costs.prices import Prices, load_prices


def prices_of(config: LlmConfig, more: GenaiPrices | None) -> Prices:
    """Return the prices that *config* names.

    Args:
        config: The plugin's table.
        more: The source of prices that no table has.

    Raises:
        ConfigError: A table cannot be read.
    """
    own = {name: profile.prices for name, profile in config.profiles.items() if profile.prices}
    table = evolve(load_prices(config.prices), providers=own)
    return table if more is None else evolve(table, more=more)


def more_prices(config: LlmConfig, clock: Clock) -> GenaiPrices | None:
    """Return the source of prices that no table has, if *config* names one.

    Raises:
        ConfigError: The package that it names is not installed.
    """
    if not config.more_prices:
        return None
    urls = {name: profile.url for name, profile in config.profiles.items()}
    return GenaiPrices(clock, urls, update=config.update_prices)

"""Sources of prices: the dated table, those of providers' own tables, and genai-prices."""

from __future__ import annotations

from attrs import evolve

from argo_mw_llm.config import LlmConfig
from argo_mw_llm.prices import Prices, load_prices


def prices_of(config: LlmConfig) -> Prices:
    """Return the prices that *config* names.

    Raises:
        ConfigError: A table cannot be read, or a package is not installed.
    """
    own = {name: profile.prices for name, profile in config.profiles.items() if profile.prices}
    return evolve(load_prices(config.prices), providers=own)

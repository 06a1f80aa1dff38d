"""Prices and news: the operations ``bars`` and ``news``, and the vendors that answer them."""

from argo_mw_market.config import AlpacaConfig, AlphaVantageConfig, MarketConfig, MassiveConfig
from argo_mw_market.frames import COLUMNS, make_frame
from argo_mw_market.news import Article
from argo_mw_market.operations import bars, recent_news
from argo_mw_market.plugin import MarketPlugin
from argo_mw_market.symbols import Symbol, read_symbol
from argo_mw_market.timeframes import TIMEFRAMES, Timeframe

__all__ = [
    "COLUMNS",
    "TIMEFRAMES",
    "AlpacaConfig",
    "AlphaVantageConfig",
    "Article",
    "MarketConfig",
    "MarketPlugin",
    "MassiveConfig",
    "Symbol",
    "Timeframe",
    "bars",
    "make_frame",
    "read_symbol",
    "recent_news",
]

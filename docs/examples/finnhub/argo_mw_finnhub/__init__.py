"""Quotes from Finnhub."""

from argo_mw_finnhub.plugin import Config, Finnhub, Plugin

__all__ = ["Config", "Finnhub", "Plugin"]

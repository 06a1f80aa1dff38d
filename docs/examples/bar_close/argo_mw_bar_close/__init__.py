"""Answers live until the bar that they belong to has closed."""

from argo_mw_bar_close.plugin import BarClose, Config, Plugin

__all__ = ["BarClose", "Config", "Plugin"]

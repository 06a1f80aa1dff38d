"""Spaces out what each upstream is asked, instead of refusing it."""

from argo_mw_pace.plugin import Config, Pace, Plugin

__all__ = ["Config", "Pace", "Plugin"]

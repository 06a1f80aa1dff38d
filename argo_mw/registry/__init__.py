"""The registry: plugins are found, checked, loaded and called, each apart from the others."""

from argo_mw.registry.loading import Plugins
from argo_mw.registry.report import BrokenPlugin
from argo_mw.registry.template import PluginTemplate

__all__ = ["BrokenPlugin", "PluginTemplate", "Plugins"]

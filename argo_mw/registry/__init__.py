"""The registry: plugins found, checked, loaded, and asked, each apart from the others."""

from argo_mw.registry.loading import Plugins
from argo_mw.registry.report import BrokenPlugin

__all__ = ["BrokenPlugin", "Plugins"]

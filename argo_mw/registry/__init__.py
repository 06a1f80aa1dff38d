"""The registry: plugins found, checked, loaded, and asked, each apart from the others."""

from argo_mw.registry.manager import Plugins
from argo_mw.registry.report import Broken

__all__ = ["Broken", "Plugins"]

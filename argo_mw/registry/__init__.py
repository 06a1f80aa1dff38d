"""The registry: plugins are found, checked, loaded and called, each apart from the others."""

from typing import TYPE_CHECKING

from argo_mw.base.lazy import lazily

if TYPE_CHECKING:
    from argo_mw.registry.loading import Plugins
    from argo_mw.registry.report import BrokenPlugin
    from argo_mw.registry.template import PluginTemplate
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "loading": ("Plugins",),
            "report": ("BrokenPlugin",),
            "template": ("PluginTemplate",),
        },
    )

__all__ = ["BrokenPlugin", "PluginTemplate", "Plugins"]

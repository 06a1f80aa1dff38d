"""What the plugin registers."""

from __future__ import annotations

from argo_mw.plugin import hookimpl
from argo_mw_rollout.config import RolloutConfig


class RolloutPlugin:
    """The plugin: the plans that are configured."""

    @hookimpl
    def register_config(self) -> type:
        """Return the class of the table ``[plugins.rollout]``."""
        return RolloutConfig

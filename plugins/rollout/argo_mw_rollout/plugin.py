"""What the plugin registers."""

from __future__ import annotations


class RolloutPlugin:
    """The plugin; until plans are configured it registers nothing."""

"""Plugins that cannot be used, and why."""

from __future__ import annotations

from attrs import frozen


@frozen
class BrokenPlugin:
    """A plugin that was left out.

    Attributes:
        plugin: Its name.
        stage: What failed: ``import``, ``hooks``, ``config``, or the hook's name.
        error: What happened and what to do.
    """

    plugin: str
    stage: str
    error: str

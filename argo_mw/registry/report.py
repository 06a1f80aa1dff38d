"""Plugins that have failed, and why."""

from __future__ import annotations

from attrs import frozen


@frozen
class BrokenPlugin:
    """A plugin that has failed.

    Attributes:
        plugin: Its name.
        stage: What failed: ``import``, ``hooks``, ``config``, or the hook's name.
        error: What happened and what to do.
        left_out: Whether the application goes on without it; if not, it stays in use in spite of
            its failure, as after a change of its configuration that it could not follow.
    """

    plugin: str
    stage: str
    error: str
    left_out: bool = True

    @property
    def what(self) -> str:
        """What has become of it, in a word or two."""
        return "left out" if self.left_out else "failed, still in use"

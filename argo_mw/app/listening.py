"""Listening: which observers of plugins events go to."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from argo_mw.flags import Flag
from argo_mw.model.events import Events, Observer


class Listening:
    """The observers of the plugins of one application.

    Args:
        events: Delivers events to those that listen.
    """

    def __init__(self, events: Events) -> None:
        self._events = events
        self._observers: dict[str, Sequence[Observer]] = {}

    def offer(self, plugin: str, observers: Sequence[Observer]) -> None:
        """Take the *observers* of *plugin*, which do not listen yet."""
        self._observers[plugin] = observers

    def follow(self, plugins: Collection[str], flags: Mapping[str, Flag]) -> None:
        """Let the observers of *plugins* listen, less those of plugins whose flag is off for good.

        Args:
            plugins: The names of the plugins in use.
            flags: The flags in use.
        """
        for name, observers in self._observers.items():
            off = name not in plugins or (name in flags and flags[name].rule.idle)
            for observer in observers:
                self._events.remove(observer)
                if not off:
                    self._events.add(observer)

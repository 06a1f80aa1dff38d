"""Discovery: installed plugins by entry point, judged before anything of theirs is imported."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.metadata import EntryPoint, entry_points

from attrs import frozen

from argo_mw.hooks import HOOK_API, OLDEST_HOOK_API, PROJECT

API_GROUP = f"{PROJECT}.hook_api"
"""Entry points of this group, named like the plugin, hold the hook API it was written for:
``3``, or ``2.4`` for any from 2 to 4."""


@frozen
class Found:
    """An installed plugin.

    Attributes:
        name: The name of its entry point.
        entry_point: What to import.
        distribution: The name and version of what was installed.
    """

    name: str
    entry_point: EntryPoint
    distribution: str


def discover() -> Sequence[Found]:
    """The installed plugins, sorted by name, so that every start sees one order."""
    return sorted(_found(), key=lambda found: (found.name, found.distribution))


def _found() -> Iterator[Found]:
    for entry_point in entry_points(group=PROJECT):
        dist = entry_point.dist
        name = f"{dist.name} {dist.version}" if dist is not None else "unknown distribution"
        yield Found(entry_point.name, entry_point, name)


def incompatible(name: str) -> str | None:
    """Why plugin *name* was written for another hook API, or ``None`` when it fits.

    A plugin that does not say is taken for one of today's.
    """
    for entry_point in entry_points(group=API_GROUP, name=name):
        first, _, last = entry_point.value.partition(".")
        try:
            oldest, newest = int(first), int(last or first)
        except ValueError:
            return f"its hook API is {entry_point.value!r}; write a number, or FIRST.LAST"
        if newest < OLDEST_HOOK_API or oldest > HOOK_API:
            return (
                f"it is written for hook API {entry_point.value}, and this argo-mw speaks "
                f"{OLDEST_HOOK_API} to {HOOK_API}; upgrade "
                f"{'argo-mw' if oldest > HOOK_API else name}"
            )
    return None

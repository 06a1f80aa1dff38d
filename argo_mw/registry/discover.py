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
        api: The hook API that it says it was written for, or ``None`` when it does not say.
    """

    name: str
    entry_point: EntryPoint
    distribution: str
    api: str | None = None


def discover() -> Sequence[Found]:
    """The installed plugins, sorted by name, so that every start sees one order."""
    return sorted(_found(), key=lambda found: (found.name, found.distribution))


def _found() -> Iterator[Found]:
    # One look for all: each reads the metadata of everything that is installed.
    installed = entry_points()
    apis = {point.name: point.value for point in installed.select(group=API_GROUP)}
    for entry_point in installed.select(group=PROJECT):
        dist = entry_point.dist
        name = f"{dist.name} {dist.version}" if dist is not None else "unknown distribution"
        yield Found(entry_point.name, entry_point, name, apis.get(entry_point.name))


def incompatible(found: Found) -> str | None:
    """Why the plugin *found* was written for another hook API, or ``None`` when it fits.

    A plugin that does not say is taken for one of today's.
    """
    if found.api is None:
        return None
    first, _, last = found.api.partition(".")
    try:
        oldest, newest = int(first), int(last or first)
    except ValueError:
        return f"its hook API is {found.api!r}; write a number, or FIRST.LAST"
    if newest < OLDEST_HOOK_API or oldest > HOOK_API:
        return (
            f"it is written for hook API {found.api}, and this argo-mw speaks "
            f"{OLDEST_HOOK_API} to {HOOK_API}; upgrade "
            f"{'argo-mw' if oldest > HOOK_API else found.name}"
        )
    return None

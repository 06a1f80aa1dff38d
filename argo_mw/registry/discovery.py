"""Discovery: installed plugins by entry point, found before any of them is imported."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.metadata import EntryPoint, entry_points

from attrs import frozen

from argo_mw.registry.hooks import PROJECT


@frozen
class InstalledPlugin:
    """An installed plugin.

    Attributes:
        name: The name of its entry point.
        entry_point: The entry point, to import it by.
        distribution: The name and version of its distribution.
    """

    name: str
    entry_point: EntryPoint
    distribution: str


def discover() -> Sequence[InstalledPlugin]:
    """Return the installed plugins, sorted by name, so that every start sees one order."""
    return sorted(_installed(), key=lambda found: (found.name, found.distribution))


def _installed() -> Iterator[InstalledPlugin]:
    for entry_point in entry_points(group=PROJECT):
        dist = entry_point.dist
        name = f"{dist.name} {dist.version}" if dist is not None else "unknown distribution"
        yield InstalledPlugin(entry_point.name, entry_point, name)

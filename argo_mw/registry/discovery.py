"""Discovery: installed plugins by entry point, found before any of them is imported."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from importlib.metadata import EntryPoint, entry_points

from attrs import frozen

from argo_mw.registry.hooks import PROJECT

_PREFIX = "argo-mw-"
_SEPARATORS = re.compile("[-_.]+")


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

    @property
    def by_right(self) -> bool:
        """Return whether the name is its own: that of its distribution, ``argo-mw-NAME``.

        No two distributions of one name can be installed, so at most one has the name by right.
        """
        project, _, _ = self.distribution.rpartition(" ")
        return _normalized(project) == _normalized(f"{_PREFIX}{self.name}")


def discover() -> Sequence[InstalledPlugin]:
    """Return the installed plugins, sorted by name, so that every start sees one order."""
    return sorted(_installed(), key=lambda found: (found.name, found.distribution))


def _installed() -> Iterator[InstalledPlugin]:
    for entry_point in entry_points(group=PROJECT):
        dist = entry_point.dist
        name = f"{dist.name} {dist.version}" if dist is not None else "unknown distribution"
        yield InstalledPlugin(entry_point.name, entry_point, name)


def _normalized(project: str) -> str:
    """Return *project* as indexes compare it."""
    return _SEPARATORS.sub("-", project).lower()

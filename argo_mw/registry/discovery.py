"""Discovery: installed plugins, commands and flags, found before anything is imported."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from attrs import frozen

PROJECT: Final = "argo_mw"
"""The entry-point group of plugins, and the project that hooks belong to."""
COMMANDS: Final = f"{PROJECT}.commands"
"""The entry-point group of commands."""
NO_COMMANDS: Final = "argo_mw.cli:no_commands"
"""The value of an entry point by which a distribution says that its plugins add no command."""
FLAGS: Final = f"{PROJECT}.flags"
"""The entry-point group of what knows the flags of a plugin without importing it."""
OWN_FLAG: Final = "argo_mw.cli:own_flag"
"""The value of an entry point by which a plugin says that its only flag is its layer's."""
NO_FLAGS: Final = "argo_mw.cli:no_flags"
"""The value of an entry point by which a plugin says that it brings no flag."""

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
    return sorted(_installed(PROJECT), key=lambda found: (found.name, found.distribution))


def _installed(group: str) -> Iterator[InstalledPlugin]:
    for entry_point in entry_points(group=group):
        dist = entry_point.dist
        name = f"{dist.name} {dist.version}" if dist is not None else "unknown distribution"
        yield InstalledPlugin(entry_point.name, entry_point, name)


def rightful(rivals: Sequence[InstalledPlugin]) -> InstalledPlugin | None:
    """Return which of the *rivals* for a name owns it, or the only one."""
    by_right = next((one for one in rivals if one.by_right), None)
    return rivals[0] if by_right is None and len(rivals) == 1 else by_right


@frozen
class InstalledCommands:
    """The commands of installed plugins.

    Attributes:
        declared: The entry points of commands, by name. Those of one name are of distributions
            that do not know of each other.
        hooked: The plugins that may add commands by their hook: those of distributions that
            declare none.
    """

    declared: Mapping[str, Sequence[InstalledPlugin]]
    hooked: Sequence[InstalledPlugin]


def discover_commands(block: Collection[str] = ()) -> InstalledCommands:
    """Return the commands of installed plugins, less those of plugins in *block*."""
    by_name: dict[str, list[InstalledPlugin]] = {}
    for one in discover():
        if one.name not in block:
            by_name.setdefault(one.name, []).append(one)
    chosen = [rightful(rivals) for rivals in by_name.values()]
    plugins = [one for one in chosen if one is not None]
    from_plugins = {one.distribution for one in plugins}
    found = list(_installed(COMMANDS))
    declared: dict[str, list[InstalledPlugin]] = {}
    for one in found:
        if one.distribution in from_plugins and one.entry_point.value != NO_COMMANDS:
            declared.setdefault(one.name, []).append(one)
    declaring = {one.distribution for one in found}
    return InstalledCommands(declared, [p for p in plugins if p.distribution not in declaring])


def discover_flags() -> Mapping[str, EntryPoint | None]:
    """Return what knows the flags of each installed plugin, by plugin.

    ``None`` where a plugin declares nothing of that kind, or is one of several of its name.
    """
    declared = {(one.distribution, one.name): one.entry_point for one in _installed(FLAGS)}
    found: dict[str, EntryPoint | None] = {}
    for plugin in discover():
        knowing = declared.get((plugin.distribution, plugin.name))
        found[plugin.name] = None if plugin.name in found else knowing
    return found


def _normalized(project: str) -> str:
    """Return *project* as indexes compare it."""
    return _SEPARATORS.sub("-", project).lower()

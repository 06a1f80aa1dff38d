"""The flags of the plugin, without importing it: this module is read alone by listings of flags."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def flags(table: Mapping[str, object]) -> Iterable[str]:
    """Return the flags of the plugin, which do not depend on *table*."""
    return ["persist", "upstream.persist"]

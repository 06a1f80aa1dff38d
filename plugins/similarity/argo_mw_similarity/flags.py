"""The flags of the plugin, without importing it: this module is read alone by listings of flags."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def flags(table: Mapping[str, object]) -> Iterable[str]:
    """Return the flags of the plugin with its *table*: a judge has one where it is named."""
    judge = ["upstream.similarity_judge"] if table.get("judge_model") else []
    return ["similarity", *judge]

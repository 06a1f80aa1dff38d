"""The flags of the plugin, without importing it: this module is read alone by listings of flags."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, cast

_BETWEEN_WORDS: Final = re.compile(r"[^A-Za-z0-9]+")


def flags(table: Mapping[str, object]) -> Iterable[str]:
    """Return the flags of the plugin with its *table*: one for each service that a route names."""
    routes = cast("Iterable[Mapping[str, str]]", table.get("routes", ()))
    names = [one.get("api") or upstream_of(one["host"]) for one in routes]
    return [f"upstream.{name}" for name in dict.fromkeys(names)]


def upstream_of(host: str) -> str:
    """Return the name of the upstream for *host*, where a route gives it none."""
    return f"http_{slug(host)}"


def slug(text: str) -> str:
    """Return *text* as a name: its letters and digits in lower case, joined by ``_``."""
    return _BETWEEN_WORDS.sub("_", text).strip("_").lower()
